"""gather and wait: failures, a cancelled child, and their own cancellation."""

import asyncio

from turns import say, turns
from words import Marks, why


async def main():
    loop = asyncio.get_running_loop()
    m = Marks(loop)

    def futures():
        return [m.watch(name, loop.create_future()) for name in "abc"]

    async def tried(call):
        try:
            m.mark("gives", await call)
        except (asyncio.CancelledError, RuntimeError) as e:
            m.mark("fails with", why(e))

    async def gathered(*fs):
        await tried(asyncio.gather(*fs))

    m.start("results in the order of the arguments")
    a, b, c = futures()
    task = loop.create_task(gathered(a, b, c))
    await turns(1)
    c.set_result(3)
    a.set_result(1)
    await turns(1)
    b.set_result(2)
    await task

    m.start("the first failure ends the wait, not the others")
    a, b, c = futures()
    task = loop.create_task(gathered(a, b, c))
    await turns(1)
    b.set_exception(RuntimeError("boom"))
    await task
    say("a:", a.done(), "c:", c.done())
    a.set_exception(RuntimeError("late"))
    c.set_result(3)
    await turns(2)

    m.start("a cancelled child is a failure")
    a, b, c = futures()
    task = loop.create_task(gathered(a, b, c))
    await turns(1)
    b.cancel()
    await task
    say("a:", a.done(), "c:", c.done())

    m.start("failures as results")
    a, b, c = futures()

    async def all_of():
        return [why(r) if isinstance(r, BaseException) else str(r) for r in await asyncio.gather(a, b, c, return_exceptions=True)]

    task = loop.create_task(all_of())
    await turns(1)
    b.cancel()
    c.set_exception(RuntimeError("boom"))
    a.set_result(1)
    say("gives", *await task)

    m.start("its task is cancelled")
    a, b, c = futures()
    task = loop.create_task(gathered(a, b, c))
    await turns(1)
    c.set_result(3)
    await turns(1)
    m.start("now")
    task.cancel()
    say("a:", a.cancelled(), "b:", b.cancelled(), "c:", c.cancelled())
    await task

    m.start("children with a clean-up are waited for")

    async def tidy(name):
        try:
            await asyncio.sleep(3600)
        finally:
            await turns(3)
            m.mark(name, "has cleaned up")

    task = loop.create_task(gathered(loop.create_task(tidy("one")), loop.create_task(tidy("two"))))
    await turns(2)
    m.start("now")
    task.cancel()
    await task

    m.start("wait leaves what it waits for alone")
    a, b, c = futures()

    async def waits():
        try:
            await asyncio.wait([a, b])
        except asyncio.CancelledError as e:
            m.mark("wait fails with", why(e))

    task = loop.create_task(waits())
    await turns(1)
    task.cancel()
    await task
    say("a:", a.done(), "b:", b.done())

    m.start("wait for the first")
    task = loop.create_task(asyncio.wait([a, b], return_when=asyncio.FIRST_COMPLETED))
    await turns(1)
    b.set_result(None)
    done, pending = await task
    say("b done:", b in done, "a pending:", a in pending)
    m.end()


asyncio.run(main())
