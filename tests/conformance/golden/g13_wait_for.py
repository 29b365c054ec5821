"""A time limit: kept, exceeded, over a clean-up, cancelled from outside, zero, and around others."""

import asyncio

from turns import say, turns
from words import quiet, why


async def main():
    loop = asyncio.get_running_loop()
    quiet(loop)

    async def tried(name, call):
        try:
            say(name, "gives", await call)
        except (TimeoutError, asyncio.CancelledError, RuntimeError) as e:
            say(name, "fails with", why(e))

    async def tidy(name, end=None):
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError as e:
            say(name, "is cancelled")
            await turns(2)
            say(name, "has cleaned up")
            if end is not None:
                return end()
            raise

    def fail():
        raise RuntimeError("boom")

    say("-- in time")

    async def quick():
        await turns(2)
        return 1

    await tried("wait_for", asyncio.wait_for(quick(), 3600))
    await tried("wait_for", asyncio.wait_for(quick(), None))

    say("-- too slow")
    await tried("wait_for", asyncio.wait_for(tidy("sleep"), 0.02))

    say("-- too slow, and fails when it is cancelled")
    await tried("wait_for", asyncio.wait_for(tidy("sleep", fail), 0.02))

    say("-- a future is cancelled by the limit")
    future = loop.create_future()
    await tried("wait_for", asyncio.wait_for(future, 0.02))
    say("cancelled:", future.cancelled())

    say("-- no time at all")
    future = loop.create_future()
    await tried("wait_for", asyncio.wait_for(future, 0))
    say("cancelled:", future.cancelled())
    future = loop.create_future()
    future.set_result(3)
    await tried("wait_for", asyncio.wait_for(future, 0))

    say("-- cancelled from outside")
    task = loop.create_task(tried("wait_for", asyncio.wait_for(tidy("sleep"), 3600)))
    await turns(2)
    task.cancel("out")
    await task

    say("-- timeout scopes, the inner one first")

    async def scopes():
        async with asyncio.timeout(3600) as outer:
            try:
                async with asyncio.timeout(0.02) as inner:
                    await asyncio.sleep(3600)
            except TimeoutError:
                say("inner expired:", inner.expired(), "outer:", outer.expired())
            await turns(1)
            return "on"

    await tried("scopes", scopes())

    say("-- timeout scopes, the outer one first")

    async def crossed():
        try:
            async with asyncio.timeout(0.02) as outer:
                try:
                    async with asyncio.timeout(3600) as inner:
                        await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    say("inner expired:", inner.expired())
                    raise
        finally:
            say("outer expired:", outer.expired(), "open requests:", asyncio.current_task().cancelling())

    await tried("scopes", crossed())

    say("-- the limit is over and the task is cancelled, too")

    async def both():
        async with asyncio.timeout(0):
            asyncio.current_task().cancel("else")
            await asyncio.sleep(3600)

    task = loop.create_task(tried("scope", both()))
    await task


asyncio.run(main())
