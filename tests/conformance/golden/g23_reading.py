"""Reading pauses in the middle; the end of the stream waits, too."""

import asyncio

from sides import Party, Side, pair, tell
from turns import turns
from words import quiet


async def main():
    loop = asyncio.get_running_loop()
    quiet(loop)

    server, client = Party("server"), Party("client")

    def pause(side, data):
        if data == b"one":
            side.transport.pause_reading()
            side.transport.pause_reading()
            server.say("reads:", side.transport.is_reading())

    there, here = Side(server, keep=True, data=pause), Side(client)
    await pair(there, here)
    here.transport.write(b"one")
    await server.until("reads: False")
    here.transport.write(b"two")
    here.transport.write_eof()
    await turns(20)
    server.say("resumes")
    there.transport.resume_reading()
    there.transport.resume_reading()
    server.say("reads:", there.transport.is_reading())
    await server.until("eof_received")
    there.transport.close()
    await client.until("connection_lost None")
    await server.until("connection_lost None")
    there.transport.pause_reading()
    there.transport.resume_reading()
    server.say("reads:", there.transport.is_reading())
    tell("paused in the middle", server, client)

    server, client = Party("server"), Party("client")
    there, here = Side(server, made=lambda side: side.transport.pause_reading()), Side(client)
    await pair(there, here)
    here.transport.write(b"never read")
    here.transport.close()
    await client.until("connection_lost None")
    await turns(20)
    there.transport.close()
    await server.until("connection_lost None")
    tell("closed while it was paused", server, client)

    server, client, new = Party("server"), Party("client"), Party("new")

    def other(side, data):
        side.transport.set_protocol(Side(new))
        side.transport.write(b"go on")

    there, here = Side(server, data=other), Side(client)
    await pair(there, here)
    here.transport.write(b"one")
    await client.until("data go on")
    here.transport.write(b"two")
    await new.until("data two")
    here.transport.close()
    await client.until("connection_lost None")
    await new.until("connection_lost None")
    tell("another protocol in the middle", server, new, client)


asyncio.run(main())
