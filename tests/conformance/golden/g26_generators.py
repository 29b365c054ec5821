"""Asynchronous generators: turns, waits, cancellation, two tasks, time-outs, closing, shutdown."""

import asyncio

from turns import say, turns
from words import Marks, why


def left(e):
    return "exit" if isinstance(e, GeneratorExit) else why(e)


async def main():
    loop = asyncio.get_running_loop()
    m = Marks(loop)

    async def numbers(name, before=0, after=0):
        """Yields 1, 2, 3; waits some turns before each, and some when it is told to leave."""
        try:
            for i in (1, 2, 3):
                await turns(before)
                yield i
        except BaseException as e:
            m.mark(name, "hears", left(e))
            try:
                await turns(after)
            except asyncio.CancelledError as e:
                m.mark(name, "hears in its clean-up", why(e))
                raise
            m.mark(name, "leaves")
            raise

    async def ask(name, g):
        try:
            m.mark(name, "gets", await anext(g, "nothing"))
        except asyncio.CancelledError as e:
            m.mark(name, "hears", why(e))
            raise
        except RuntimeError:
            m.mark(name, "hears busy")
        except TimeoutError:
            m.mark(name, "hears timeout")

    async def close(name, g):
        try:
            await g.aclose()
            m.mark(name, "closed")
        except asyncio.CancelledError as e:
            m.mark(name, "hears", why(e))
            raise
        except RuntimeError:
            m.mark(name, "hears ignored")

    m.start("a body that does not wait")
    g = numbers("body")
    for _ in range(5):
        await ask("main", g)

    m.start("a body that waits")
    g = numbers("body", before=2)
    for _ in range(4):
        await ask("main", g)

    m.start("whose task")

    async def current():
        yield asyncio.current_task().get_name()

    async def tell():
        async for name in current():
            m.mark("the body is in", name)

    await loop.create_task(tell(), name="asker")

    m.start("cancelled")
    g = numbers("body", before=9)
    task = m.watch("task", loop.create_task(ask("task", g)))
    await turns(2)
    task.cancel("enough")
    await turns(4)
    await ask("main", g)

    m.start("two tasks, no wait")
    g = numbers("body")
    for name in "abcd":
        m.watch(name, loop.create_task(ask(name, g)))
    await turns(3)

    m.start("two tasks, waits")
    g = numbers("body", before=2)
    for name in "ab":
        m.watch(name, loop.create_task(ask(name, g)))
    await turns(5)
    await close("main", g)

    m.start("no time, no wait")
    g = numbers("body")
    async with asyncio.timeout(0):
        await ask("main", g)
    async with asyncio.timeout(0):
        await close("main", g)

    m.start("no time, waits")
    g = numbers("body", before=2)
    try:
        async with asyncio.timeout(0):
            await ask("main", g)
    except TimeoutError:
        m.mark("timeout")

    m.start("no time to clean up")
    g = numbers("body", after=2)
    await ask("main", g)
    try:
        async with asyncio.timeout(0):
            await close("main", g)
    except TimeoutError:
        m.mark("timeout")

    m.start("cleans up")
    g = numbers("body", after=2)
    await ask("main", g)
    await close("main", g)
    await ask("main", g)

    m.start("cancelled while it cleans up")
    g = numbers("body", after=9)
    await ask("main", g)
    task = m.watch("task", loop.create_task(close("task", g)))
    await turns(2)
    task.cancel()
    await turns(3)

    m.start("yields on")

    async def stubborn():
        try:
            yield 1
        except GeneratorExit:
            yield 2

    g = stubborn()
    await ask("main", g)
    await close("main", g)

    m.start("one in the other")

    async def outer():
        async for i in numbers("inner", before=1):
            await turns(1)
            yield i * 10

    g = outer()
    for _ in range(4):
        await ask("main", g)

    m.start("shutdown")
    gs = [numbers("a", after=2), numbers("b", after=1), numbers("fresh")]
    for g in gs[:2]:
        await ask("main", g)
    await loop.shutdown_asyncgens()
    m.mark("shut down")
    await ask("main", gs[0])
    m.end()


asyncio.run(main())
