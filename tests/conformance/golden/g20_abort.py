"""Aborts with bytes in the queue, and resets by the peer."""

import asyncio
import socket
import struct

from sides import Party, Side, listen, pair, tell
from turns import turns
from words import quiet


async def main():
    loop = asyncio.get_running_loop()
    quiet(loop)

    server, client = Party("server"), Party("client")
    there, here = Side(server), Side(client)
    await pair(there, here)
    there.transport.pause_reading()
    here.transport.write(b"x" * 16_000_000)
    client.say("waits:", here.transport.get_write_buffer_size() > 0)
    here.transport.abort()
    client.say("aborted, waits:", here.transport.get_write_buffer_size(), "closing:", here.transport.is_closing())
    await client.until("connection_lost None")
    here.transport.abort()
    here.transport.close()
    await turns(3)
    there.transport.resume_reading()
    await server.until("connection_lost None")
    server.lines = ["data" if line.startswith("data") else line for line in server.lines]
    tell("abort", server, client)

    server, client = Party("server"), Party("client")
    there, here = Side(server), Side(client)
    await pair(there, here)
    there.transport.pause_reading()
    here.transport.write(b"x" * 16_000_000)
    here.transport.close()
    client.say("closing, waits:", here.transport.get_write_buffer_size() > 0)
    await turns(3)
    client.say("and now abort")
    here.transport.abort()
    await client.until("connection_lost None")
    there.transport.abort()
    await server.until("connection_lost None")
    tell("a close that waits is aborted", server, client)

    server = Party("server")
    s, address = await listen(lambda: Side(server))
    peer = socket.create_connection(address)
    await server.until("connection_made")
    peer.send(b"last words")
    await server.until("data last words")
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    await server.until("connection_lost ECONNRESET")
    s.close()
    tell("the peer resets", server)


asyncio.run(main())
