"""Everything is due at once: a readable socket, a late timer, callbacks, a post."""

import asyncio
import socket
import time

from turns import say

loop = asyncio.new_event_loop()
ours, theirs = socket.socketpair()
ours.setblocking(False)
theirs.send(b"x")


def readable():
    say("readable")
    loop.remove_reader(ours)


loop.add_reader(ours, readable)
loop.call_later(0.001, say, "timer")
time.sleep(0.01)
loop.call_soon(say, "soon 1")
loop.call_soon_threadsafe(say, "posted")
loop.call_soon(say, "soon 2")
loop.stop()
loop.run_forever()
loop.close()
ours.close()
theirs.close()
