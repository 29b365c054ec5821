"""TLS: the order of a connection's life, both ends closing, a large echo, start_tls, who is not trusted.

The folder with cert.pem and key.pem is the argument.
"""

import asyncio
import logging
import ssl
import sys

from sides import Party, Side, echo, listen, pair, tell
from words import quiet


async def main():
    loop = asyncio.get_running_loop()
    quiet(loop)
    logging.disable()
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.load_cert_chain(sys.argv[1] + "/cert.pem", sys.argv[1] + "/key.pem")
    trusting = ssl.create_default_context(cafile=sys.argv[1] + "/cert.pem")

    async def connected(server, client, context=trusting, name="localhost"):
        s, address = await listen(lambda: server, ssl=ours)
        try:
            await loop.create_connection(lambda: client, *address, ssl=context, server_hostname=name)
            await server.party.until("connection_made")
        except ssl.SSLCertVerificationError:
            client.party.say("not trusted")
        s.close()

    server, client = Party("server"), Party("client")
    there, here = Side(server, data=echo), Side(client)
    await connected(there, here)
    t = here.transport
    client.say("cipher:", t.get_extra_info("cipher") is not None, "certificate:", t.get_extra_info("peercert") is not None)
    server.say("certificate:", bool(there.transport.get_extra_info("peercert")))
    client.say("can end its output:", t.can_write_eof())
    try:
        t.write_eof()
    except NotImplementedError:
        client.say("it cannot")
    t.write(b"hello ")
    t.writelines([b"wor", b"ld"])
    await client.until("data HELLO WORLD")
    t.close()
    client.say("closing:", t.is_closing())
    await client.until("connection_lost None")
    await server.until("connection_lost None")
    tell("the client closes", server, client)

    server, client = Party("server"), Party("client")
    there, here = Side(server, made=lambda side: side.transport.close()), Side(client)
    await connected(there, here)
    await client.until("connection_lost None")
    await server.until("connection_lost None")
    tell("the server closes at once", server, client)

    server, client = Party("server"), Party("client")

    def answer(side, data):
        side.transport.write(b"x" * 500000)
        side.transport.close()

    there, here = Side(server, data=answer), Side(client)
    await connected(there, here)
    here.transport.write(b"get")
    await client.until("connection_lost None")
    await server.until("connection_lost None")
    server.lines = [line for line in server.lines if "_writing" not in line]
    tell("what is queued leaves before the end", server, client)

    for part, context, name in ("a stranger's certificate", ssl.create_default_context(), "localhost"), ("another name", trusting, "elsewhere"):
        server, client = Party("server"), Party("client")
        await connected(Side(server), Side(client), context, name)
        tell(part, server, client)

    server, client = Party("server"), Party("client")

    async def upgrade(side, context, **options):
        side.transport = await loop.start_tls(side.transport, side, context, **options)
        side.party.say("secure")

    tasks = []

    def starts(side, data):
        if data == b"STARTTLS":
            side.transport.write(b"go")
            tasks.append(loop.create_task(upgrade(side, ours, server_side=True)))
        else:
            echo(side, data)

    there, here = Side(server, data=starts), Side(client)
    await pair(there, here)
    here.transport.write(b"STARTTLS")
    await client.until("data go")
    await upgrade(here, trusting, server_hostname="localhost")
    await server.until("secure")
    here.transport.write(b"hello")
    await client.until("data HELLO")
    here.transport.close()
    await client.until("connection_lost None")
    await server.until("connection_lost None")
    tell("start_tls", server, client)


asyncio.run(main())
