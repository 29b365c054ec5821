"""What awaiting costs, in turns of the loop."""

import asyncio

from turns import Turns, say, turns


async def main():
    loop = asyncio.get_running_loop()
    count = Turns(loop)
    await turns(1)

    async def ready():
        return 1

    async def price(name, make):
        before = count.now
        await make()
        say(name, count.now - before)

    def done():
        f = loop.create_future()
        f.set_result(1)
        return f

    await price("call", ready)
    await price("done future", done)
    await price("sleep 0", lambda: asyncio.sleep(0))
    await price("task", lambda: loop.create_task(ready()))
    await price("gather", lambda: asyncio.gather(ready(), ready()))
    await price("wait", lambda: asyncio.wait([loop.create_task(ready())]))
    await price("shield", lambda: asyncio.shield(ready()))
    await price("wait_for", lambda: asyncio.wait_for(ready(), 10))
    count.end()


asyncio.run(main())
