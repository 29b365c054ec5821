"""Closing a connection that has nothing left to send."""

import asyncio
import socket

from turns import Turns, say, turns


async def main():
    loop = asyncio.get_running_loop()
    count = Turns(loop)
    ours, theirs = socket.socketpair()

    class Quiet(asyncio.Protocol):
        def connection_lost(self, exc):
            say("connection_lost", exc, count.now - zero)

    transport, _ = await loop.create_connection(Quiet, sock=ours)
    await turns(2)
    zero = count.now
    transport.close()
    say("close returned", count.now - zero)
    say("closing:", transport.is_closing())
    await turns(3)
    transport.close()
    await turns(2)
    theirs.close()
    count.end()


asyncio.run(main())
