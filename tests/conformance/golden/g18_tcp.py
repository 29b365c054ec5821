"""TCP: data both ways, the client closes, the server closes at once, nobody listens."""

import asyncio

from sides import Party, Side, echo, failure, listen, tell
from words import quiet


async def main():
    loop = asyncio.get_running_loop()
    quiet(loop)

    server, client = Party("server"), Party("client")
    there = Side(server, data=echo)
    s, address = await listen(lambda: there)
    here, protocol = await loop.create_connection(lambda: Side(client), *address)
    client.say("connected")
    await server.until("connection_made")
    client.say("peer:", here.get_extra_info("peername") == there.transport.get_extra_info("sockname"))
    server.say("peer:", there.transport.get_extra_info("peername") == here.get_extra_info("sockname"))
    client.say("can end its output:", here.can_write_eof(), "reads:", here.is_reading())
    here.write(b"hello ")
    here.writelines([b"wor", b"ld"])
    await client.until("data HELLO WORLD")
    here.close()
    client.say("closing:", here.is_closing(), "reads:", here.is_reading())
    await client.until("connection_lost None")
    await server.until("connection_lost None")
    server.say("closing:", there.transport.is_closing())
    tell("the client closes", server, client)
    s.close()

    server, client = Party("server"), Party("client")
    s, address = await listen(lambda: Side(server, made=lambda side: side.transport.close()))
    await loop.create_connection(lambda: Side(client), *address)
    await client.until("connection_lost None")
    await server.until("connection_lost None")
    s.close()
    tell("the server closes at once", server, client)

    server, client = Party("server"), Party("client")

    def answer(side, data):
        side.transport.write(b"x" * 500000)
        side.transport.close()
        server.say("closing:", side.transport.is_closing())

    s, address = await listen(lambda: Side(server, data=answer))
    here, _ = await loop.create_connection(lambda: Side(client), *address)
    here.write(b"get")
    await client.until("connection_lost None")
    await server.until("connection_lost None")
    server.lines = [line for line in server.lines if "_writing" not in line]  # as the kernel takes it
    s.close()
    tell("what is queued leaves before the end", server, client)

    client = Party("client")
    client.say(await failure(loop.create_connection(lambda: Side(client), *address)))
    tell("nobody listens", client)


asyncio.run(main())
