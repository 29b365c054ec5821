"""A connection whose peer has written before it is made."""

import asyncio
import socket

from turns import Turns, say, turns


async def main():
    loop = asyncio.get_running_loop()
    count = Turns(loop)
    ours, theirs = socket.socketpair()
    theirs.send(b"early")

    class Early(asyncio.Protocol):
        def connection_made(self, transport):
            say("connection_made", count.now - zero)

        def data_received(self, data):
            say("data_received", data.decode(), count.now - zero)

    await turns(1)
    zero = count.now
    transport, _ = await loop.create_connection(Early, sock=ours)
    say("returned", count.now - zero)
    await turns(3)
    transport.abort()
    await turns(2)
    theirs.close()
    count.end()


asyncio.run(main())
