"""How many turns a result needs to climb from a future up to a grandparent."""

import asyncio

from turns import Turns, say, turns


async def main():
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    count = None
    zero = 0

    def mark(what):
        say(what, count.now - zero)

    async def child():
        await future
        mark("child wakes")

    async def parent(task):
        await task
        mark("parent wakes")

    c = loop.create_task(child())
    p = loop.create_task(parent(c))
    c.add_done_callback(lambda _: mark("child's callback"))
    await turns(2)
    count = Turns(loop)
    await turns(1)
    zero = count.now
    future.set_result(None)
    mark("set_result")
    say("child done at once:", c.done())
    await p
    mark("grandparent wakes")
    count.end()


asyncio.run(main())
