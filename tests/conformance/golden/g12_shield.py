"""A shield: its own end, that of what it protects, and a failure behind it."""

import asyncio

from turns import say, turns
from words import Marks, why


async def main():
    loop = asyncio.get_running_loop()
    m = Marks(loop)
    reports = []
    loop.set_exception_handler(lambda _, c: reports.append(c))

    m.start("the outer one is cancelled")
    inner = m.watch("inner", loop.create_future())
    outer = m.watch("outer", asyncio.shield(inner))
    say("cancel:", outer.cancel())
    await turns(2)
    say("inner done:", inner.done())
    inner.set_result(None)
    await turns(2)

    m.start("a task waits at it and is cancelled")
    inner = m.watch("inner", loop.create_future())

    async def waits():
        try:
            await asyncio.shield(inner)
        except asyncio.CancelledError as e:
            m.mark("hears", why(e))
        m.mark("inner gives", await inner)

    task = m.watch("task", loop.create_task(waits()))
    await turns(1)
    task.cancel()
    await turns(3)
    inner.set_result(5)
    await turns(3)

    m.start("the inner one is cancelled")
    inner = m.watch("inner", loop.create_future())
    outer = m.watch("outer", asyncio.shield(inner))
    inner.cancel()
    await turns(4)

    m.start("the inner one fails, and the outer one hears")
    inner = m.watch("inner", loop.create_future())
    outer = m.watch("outer", asyncio.shield(inner))
    inner.set_exception(RuntimeError("boom"))
    await turns(4)

    m.start("the inner one fails, and nobody hears any more")
    inner = m.watch("inner", loop.create_future())
    outer = m.watch("outer", asyncio.shield(inner))
    outer.cancel()
    await turns(1)
    inner.set_exception(RuntimeError("boom"))
    await turns(2)
    say("reports:", len(reports))

    m.start("what is done is given back")
    inner = loop.create_future()
    inner.set_result(1)
    say("the same:", asyncio.shield(inner) is inner)
    m.end()


asyncio.run(main())
