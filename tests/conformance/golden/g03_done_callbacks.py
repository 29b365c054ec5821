"""The callbacks of a future: their order, and one that is added by another."""

import asyncio

from turns import say, turns


async def main():
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    def one(f):
        say("one")
        f.add_done_callback(lambda _: say("late"))

    future.add_done_callback(one)
    future.add_done_callback(lambda _: say("two"))
    future.add_done_callback(lambda _: say("three"))
    future.set_result(None)
    say("after set_result")
    loop.call_soon(say, "soon")
    await turns(2)


asyncio.run(main())
