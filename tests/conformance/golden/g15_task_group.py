"""A group of tasks: all end well, one fails, the body fails, the parent is cancelled."""

import asyncio

from turns import say, turns
from words import Marks, why


async def main():
    loop = asyncio.get_running_loop()
    m = Marks(loop)

    async def fails(name, after):
        m.mark(name, "starts")
        await turns(after)
        m.mark(name, "fails")
        raise RuntimeError(name + " failed")

    async def group(body):
        try:
            async with asyncio.TaskGroup() as g:
                await body(g)
                m.mark("the body ends")
        except (RuntimeError, ExceptionGroup, asyncio.CancelledError) as e:
            m.mark("the group fails with", why(e))
        else:
            m.mark("the group ends well")

    async def and_after(body):
        await group(body)
        try:
            await turns(1)
            say("the next wait is not cancelled")
        except asyncio.CancelledError:
            say("the next wait is cancelled")
        say("open requests:", asyncio.current_task().cancelling())

    m.start("all end well")

    async def well(g):
        m.watch("one", g.create_task(m.sleeper("one", 0)))
        m.watch("two", g.create_task(m.sleeper("two", 0)))

    await group(well)

    m.start("one fails while the group waits")

    async def one_fails(g):
        m.watch("sleeper", g.create_task(m.sleeper("sleeper")))
        m.watch("bad", g.create_task(fails("bad", 2)))

    await group(one_fails)

    m.start("one fails while the body waits")

    async def body_waits(g):
        m.watch("bad", g.create_task(fails("bad", 1)))
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError as e:
            m.mark("the body hears", why(e))
            raise

    await group(body_waits)

    m.start("two fail in one turn")

    async def two_fail(g):
        m.watch("bad", g.create_task(fails("bad", 1)))
        m.watch("worse", g.create_task(fails("worse", 1)))

    await group(two_fail)

    m.start("another fails in its clean-up")

    async def clean_up():
        try:
            await asyncio.sleep(3600)
        finally:
            await turns(2)
            raise RuntimeError("clean-up failed")

    async def both(g):
        m.watch("tidy", g.create_task(clean_up()))
        m.watch("bad", g.create_task(fails("bad", 1)))

    await group(both)

    m.start("the body fails")

    async def body_fails(g):
        m.watch("sleeper", g.create_task(m.sleeper("sleeper")))
        await turns(2)
        raise RuntimeError("body failed")

    await group(body_fails)

    m.start("a task that is cancelled is no failure")

    async def one_cancelled(g):
        t = m.watch("one", g.create_task(m.sleeper("one")))
        m.watch("two", g.create_task(m.sleeper("two", 0)))
        await turns(1)
        t.cancel()

    await group(one_cancelled)

    m.start("the parent is cancelled")

    async def sleeps(g):
        m.watch("one", g.create_task(m.sleeper("one")))

    parent = loop.create_task(and_after(sleeps))
    await turns(2)
    m.start("now")
    parent.cancel("stop")
    await parent

    m.start("the parent is cancelled and a task fails")
    parent = loop.create_task(and_after(both))
    await turns(2)
    m.start("now")
    parent.cancel("stop")
    await parent
    m.end()


asyncio.run(main())
