"""Twelve timers with one deadline."""

import asyncio

from turns import say

loop = asyncio.new_event_loop()
deadline = loop.time() + 0.001
for i in range(12):
    loop.call_at(deadline, say, i)
loop.call_at(deadline + 0.01, loop.stop)
loop.run_forever()
loop.close()
