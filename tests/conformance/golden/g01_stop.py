"""A stop in the middle of a batch: what still runs, and what waits for the next run."""

import asyncio

from turns import say

loop = asyncio.new_event_loop()


def first():
    say("first")
    loop.stop()
    loop.call_soon(say, "by first")


def second():
    say("second")
    loop.call_soon(say, "by second")


loop.call_soon(first)
loop.call_soon(second)
loop.run_forever()
say("-- stopped")
loop.call_soon(loop.stop)
loop.run_forever()
say("-- stopped")

# A stop that comes before the run: one turn, and what it schedules waits.
loop.stop()
loop.call_soon(lambda: (say("third"), loop.call_soon(say, "by third")))
loop.run_forever()
say("-- stopped")
loop.stop()
loop.run_forever()
loop.close()
