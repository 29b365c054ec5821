"""Counts the turns of a loop: shared by the scenarios of this folder."""

import asyncio


class Turns:
    """now is the number of the current turn, 0 in the turn that made this.

    The counter is the first callback of every turn, because it schedules
    itself before anything else can.
    """

    def __init__(self, loop):
        self.loop = loop
        self.now = -1
        self.handle = None
        self._count()

    def _count(self):
        self.now += 1
        self.handle = self.loop.call_soon(self._count)

    def end(self):
        self.handle.cancel()


async def turns(n):
    """Lets n turns pass."""
    for _ in range(n):
        await asyncio.sleep(0)


def say(*words):
    print(*words, flush=True)
