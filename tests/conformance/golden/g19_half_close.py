"""One end ends its output and reads on."""

import asyncio

from sides import Party, Side, pair, tell
from words import quiet


async def main():
    loop = asyncio.get_running_loop()
    quiet(loop)

    server, client = Party("server"), Party("client")
    there, here = Side(server, keep=True), Side(client)
    await pair(there, here)
    here.transport.write(b"question")
    here.transport.write_eof()
    here.transport.write_eof()
    try:
        here.transport.write(b"more")
    except RuntimeError:
        client.say("a write behind the end is refused")
    client.say("closing:", here.transport.is_closing(), "reads:", here.transport.is_reading())
    await server.until("eof_received")
    server.say("closing:", there.transport.is_closing())
    there.transport.write(b"the answer ")
    there.transport.write(b"comes behind the end")
    await client.until("data the answer comes behind the end")
    there.transport.close()
    await client.until("connection_lost None")
    await server.until("connection_lost None")
    tell("the server keeps its half", server, client)

    server, client = Party("server"), Party("client")
    there, here = Side(server), Side(client)
    await pair(there, here)
    here.transport.write(b"question")
    here.transport.write_eof()
    await client.until("connection_lost None")
    await server.until("connection_lost None")
    tell("the server does not keep it", server, client)

    server, client = Party("server"), Party("client")
    there, here = Side(server, keep=True), Side(client, keep=True)
    await pair(there, here)
    here.transport.write_eof()
    await server.until("eof_received")
    there.transport.write_eof()
    await client.until("eof_received")
    client.say("closing:", here.transport.is_closing())
    here.transport.close()
    there.transport.close()
    await client.until("connection_lost None")
    await server.until("connection_lost None")
    tell("both keep it", server, client)

    server, client = Party("server"), Party("client")
    there, here = Side(server, keep=True), Side(client)
    await pair(there, here)
    there.transport.pause_reading()
    here.transport.write(b"x" * 8_000_000)
    client.say("waits:", here.transport.get_write_buffer_size() > 0)
    here.transport.write_eof()
    client.say("still waits:", here.transport.get_write_buffer_size() > 0)
    there.transport.resume_reading()
    await server.until("eof_received")
    there.transport.close()
    await client.until("connection_lost None")
    await server.until("connection_lost None")
    tell("the end comes behind what is queued", server, client)


asyncio.run(main())
