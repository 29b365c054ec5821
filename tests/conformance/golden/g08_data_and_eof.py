"""Bytes and the end of the stream are both there before reading goes on."""

import asyncio
import socket

from turns import Turns, say, turns


async def main():
    loop = asyncio.get_running_loop()
    count = Turns(loop)
    ours, theirs = socket.socketpair()
    zero = None

    class Ends(asyncio.Protocol):
        def data_received(self, data):
            nonlocal zero
            zero = count.now
            say("data_received", data.decode(), 0)

        def eof_received(self):
            say("eof_received", count.now - zero)

        def connection_lost(self, exc):
            say("connection_lost", exc, count.now - zero)

    transport, _ = await loop.create_connection(Ends, sock=ours)
    transport.pause_reading()
    await turns(2)
    theirs.send(b"last")
    theirs.shutdown(socket.SHUT_WR)
    transport.resume_reading()
    await turns(6)
    theirs.close()
    count.end()


asyncio.run(main())
