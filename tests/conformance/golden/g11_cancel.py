"""Cancelling a task: early, asleep, while it cleans up, by itself, in a chain, and one that refuses."""

import asyncio

from turns import say, turns
from words import Marks, why


async def main():
    loop = asyncio.get_running_loop()
    m = Marks(loop)

    m.start("before its first step")
    task = m.watch("task", loop.create_task(m.sleeper("task")))
    say("cancel:", task.cancel())
    await turns(3)

    m.start("asleep")
    task = m.watch("task", loop.create_task(m.sleeper("task")))
    await turns(1)
    say("cancel:", task.cancel("enough"))
    say("open requests:", task.cancelling(), "done:", task.done())
    await turns(3)
    say("cancel again:", task.cancel())

    m.start("twice")

    async def tidy():
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError as e:
            m.mark("hears", why(e))
            try:
                await turns(5)
            except asyncio.CancelledError as e:
                m.mark("hears in its clean-up", why(e))
                raise

    task = m.watch("task", loop.create_task(tidy()))
    await turns(1)
    task.cancel("one")
    await turns(2)
    task.cancel("two")
    await turns(3)

    m.start("refused")

    async def stubborn():
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError as e:
            m.mark("hears", why(e))
        await asyncio.sleep(0)
        m.mark("goes on")
        return 7

    task = m.watch("task", loop.create_task(stubborn()))
    await turns(1)
    task.cancel()
    say("result:", await task, "cancelled:", task.cancelled(), "open requests:", task.cancelling())

    m.start("by itself")

    async def itself():
        ready = loop.create_future()
        ready.set_result(None)
        asyncio.current_task().cancel("me")
        m.mark("asked")
        await ready
        m.mark("a done future does not wait")
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError as e:
            m.mark("hears", why(e))
            raise

    m.watch("task", loop.create_task(itself()))
    await turns(3)

    m.start("a chain")
    future = m.watch("future", loop.create_future())

    async def waits(name, on):
        try:
            await on
        except asyncio.CancelledError as e:
            m.mark(name, "hears", why(e))
            raise

    child = m.watch("child", loop.create_task(waits("child", future)))
    parent = m.watch("parent", loop.create_task(waits("parent", child)))
    await turns(2)
    m.start("cancel")
    parent.cancel("top")
    say("future cancelled:", future.cancelled(), "child:", child.done())
    await turns(5)

    m.start("withdrawn")

    async def forgiving():
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            m.mark("open requests:", asyncio.current_task().uncancel())
        await turns(1)
        m.mark("goes on")

    task = m.watch("task", loop.create_task(forgiving()))
    await turns(1)
    task.cancel()
    await turns(4)
    say("cancelled:", task.cancelled())
    m.end()


asyncio.run(main())
