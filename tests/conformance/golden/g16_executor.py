"""Functions in a pool of one thread: order, failure, cancelled while queued and while running."""

import asyncio
import concurrent.futures
import threading

from turns import say, turns
from words import quiet, why


async def main():
    loop = asyncio.get_running_loop()
    quiet(loop)
    pool = concurrent.futures.ThreadPoolExecutor(1)
    told = []

    def watch(name, future):
        future.add_done_callback(lambda f: told.append((name, "cancelled" if f.cancelled() else why(f.exception()))))
        return future

    say("-- one after the other")
    order = []
    futures = [watch(i, loop.run_in_executor(pool, order.append, i)) for i in range(4)]
    await asyncio.wait(futures)
    say(*order)
    say("told in the order", *[name for name, _ in told])

    say("-- a failure")

    def fails():
        raise RuntimeError("boom")

    try:
        await loop.run_in_executor(pool, fails)
    except RuntimeError as e:
        say("fails with", why(e))

    say("-- cancelled")
    del told[:]
    started, go, ended = (threading.Event() for _ in range(3))

    def slow():
        started.set()
        go.wait()
        ended.set()
        return 1

    running = watch("running", loop.run_in_executor(pool, slow))
    queued = watch("queued", loop.run_in_executor(pool, order.append, "never"))
    last = watch("last", loop.run_in_executor(pool, order.append, "last"))
    await loop.run_in_executor(None, started.wait)
    say("cancel running:", running.cancel(), "queued:", queued.cancel())
    await turns(2)
    say("told:", *[" ".join(t) for t in told])
    say("the running one has ended:", ended.is_set())
    go.set()
    await last
    say("and now:", ended.is_set())
    say("last ran:", "last" in order, "cancelled one ran:", "never" in order)
    await turns(1)
    say("told:", *[" ".join(t) for t in told])

    say("-- a task that waits is cancelled")
    started.clear(), go.clear(), ended.clear()

    async def waits():
        try:
            await loop.run_in_executor(pool, slow)
        except asyncio.CancelledError as e:
            say("hears", why(e))

    task = loop.create_task(waits())
    await loop.run_in_executor(None, started.wait)
    task.cancel()
    await task
    say("the function has ended:", ended.is_set())
    go.set()

    say("-- shut down")
    await loop.run_in_executor(None, pool.shutdown)
    try:
        await loop.run_in_executor(pool, order.append, "never")
    except RuntimeError:
        say("refused")


asyncio.run(main())
