"""Signal handlers: when they run, replaced, merged, removed, and the one that cannot be."""

import asyncio
import os
import signal

from turns import say, turns
from words import quiet


async def main():
    loop = asyncio.get_running_loop()
    quiet(loop)
    news = asyncio.Event()

    def handler(name):
        say("handler", name)
        news.set()

    async def send(sig):
        news.clear()
        os.kill(os.getpid(), sig)
        say("sent")
        await news.wait()

    say("-- one after the other")
    loop.add_signal_handler(signal.SIGUSR1, handler, "one")
    loop.add_signal_handler(signal.SIGUSR2, handler, "two")
    await send(signal.SIGUSR2)
    await send(signal.SIGUSR1)

    say("-- it wakes a loop that sleeps")
    task = loop.create_task(asyncio.sleep(3600))
    loop.add_signal_handler(signal.SIGUSR1, lambda: (say("wakes"), task.cancel()))
    os.kill(os.getpid(), signal.SIGUSR1)
    await asyncio.wait([task])
    say("cancelled:", task.cancelled())

    say("-- replaced")
    loop.add_signal_handler(signal.SIGUSR1, handler, "new")
    await send(signal.SIGUSR1)

    say("-- a handler that fails")
    loop.set_exception_handler(lambda _, c: (say("reported:", c["exception"]), news.set()))

    def fails():
        raise RuntimeError("boom")

    loop.add_signal_handler(signal.SIGUSR1, fails)
    await send(signal.SIGUSR1)
    loop.add_signal_handler(signal.SIGUSR1, handler, "still here")
    await send(signal.SIGUSR1)

    say("-- removed")
    say("removed:", loop.remove_signal_handler(signal.SIGUSR1))
    say("again:", loop.remove_signal_handler(signal.SIGUSR1))
    await send(signal.SIGUSR2)
    say("removed:", loop.remove_signal_handler(signal.SIGUSR2))

    say("-- refused")
    for sig in signal.SIGKILL, signal.SIGSTOP:
        try:
            loop.add_signal_handler(sig, fails)
        except RuntimeError:
            say("cannot be caught")
    try:
        loop.add_signal_handler(99, fails)
    except ValueError:
        say("no signal")
    await turns(1)


asyncio.run(main())
