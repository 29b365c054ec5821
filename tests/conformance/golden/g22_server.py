"""A server that closes while it has a client, and one that starts late."""

import asyncio

from sides import Party, Side, echo, failure, listen, tell
from turns import turns
from words import quiet


async def main():
    loop = asyncio.get_running_loop()
    quiet(loop)

    server, client = Party("server"), Party("client")
    s, address = await listen(lambda: Side(server, data=echo))
    server.say("serving:", s.is_serving(), "sockets:", len(s.sockets))
    here, _ = await loop.create_connection(lambda: Side(client), *address)
    await server.until("connection_made")
    s.close()
    s.close()
    server.say("serving:", s.is_serving(), "sockets:", len(s.sockets))
    closed = loop.create_task(s.wait_closed())
    client.say("another one:", await failure(loop.create_connection(lambda: Side(client), *address)))
    here.write(b"still here")
    await client.until("data STILL HERE")
    server.say("closed:", closed.done())
    here.close()
    await closed
    await client.until("connection_lost None")
    await server.until("connection_lost None")
    tell("closed with a client", server, client)

    server, client = Party("server"), Party("client")
    s, address = await listen(lambda: Side(server), start_serving=False)
    server.say("serving:", s.is_serving())
    client.say(await failure(loop.create_connection(lambda: Side(client), *address)))
    await s.start_serving()
    await s.start_serving()
    server.say("serving:", s.is_serving())
    here, _ = await loop.create_connection(lambda: Side(client), *address)
    await server.until("connection_made")
    here.close()
    await client.until("connection_lost None")
    await server.until("connection_lost None")
    task = loop.create_task(s.serve_forever())
    await turns(2)
    try:
        await s.serve_forever()
    except RuntimeError:
        server.say("one at a time")
    task.cancel()
    await asyncio.wait([task])
    server.say("cancelled:", task.cancelled(), "serving:", s.is_serving())
    try:
        await s.start_serving()
    except (RuntimeError, TypeError):  # the latter is a slip of CPython's
        server.say("it cannot start again")
    tell("started late", server, client)


asyncio.run(main())
