"""UNIX sockets: a server at a path, its file, a dead one, a half-close."""

import asyncio
import os
import socket
import tempfile

from sides import Party, Side, failure, tell
from words import quiet


async def main(folder):
    loop = asyncio.get_running_loop()
    quiet(loop)
    path = folder + "/s"

    server, client = Party("server"), Party("client")
    client.say("nothing there:", await failure(loop.create_unix_connection(lambda: Side(client), path)))
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(path)
    dead.close()
    client.say("a dead one:", await failure(loop.create_unix_connection(lambda: Side(client), path)))
    there, here = Side(server, keep=True), Side(client)
    s = await loop.create_unix_server(lambda: there, path)
    server.say("in the dead one's place")
    await loop.create_unix_connection(lambda: here, path)
    await server.until("connection_made")
    client.say("peer:", here.transport.get_extra_info("peername") == path)
    server.say("address:", there.transport.get_extra_info("sockname") == path)
    here.transport.write(b"question")
    here.transport.write_eof()
    await server.until("eof_received")
    there.transport.write(b"answer")
    there.transport.close()
    await client.until("connection_lost None")
    await server.until("connection_lost None")
    s.close()
    await s.wait_closed()
    server.say("the file stays:", os.path.exists(path))
    tell("a life", server, client)

    server = Party("server")
    with open(folder + "/file", "w"):
        pass
    server.say(await failure(loop.create_unix_server(lambda: Side(server), folder + "/file")))
    tell("another file is in the way", server)


with tempfile.TemporaryDirectory() as folder:
    asyncio.run(main(folder))
