"""The water marks of the queue, and a close above them."""

import asyncio

from sides import Party, Side, pair, tell
from words import quiet


async def main():
    loop = asyncio.get_running_loop()
    quiet(loop)

    server, client = Party("server"), Party("client")
    there, here = Side(server), Side(client)
    await pair(there, here)
    t = here.transport
    sent = 0
    client.say("marks:", *t.get_write_buffer_limits())

    def fill():
        nonlocal sent
        before = client.lines.count("pause_writing")
        while client.lines.count("pause_writing") == before:
            t.write(b"x" * 65536)
            sent += 65536
        client.say("the write returns, above the mark:", t.get_write_buffer_size() > t.get_write_buffer_limits()[1])
        t.write(b"x" * 65536)
        sent += 65536

    there.transport.pause_reading()
    fill()
    there.transport.resume_reading()
    await client.until("resume_writing")
    client.say("below the mark:", t.get_write_buffer_size() <= t.get_write_buffer_limits()[0])
    there.transport.pause_reading()
    fill()
    t.close()
    client.say("closing:", t.is_closing())
    there.transport.resume_reading()
    await client.until("connection_lost None")
    await server.until("connection_lost None")
    server.say("all of it:", "data of %d bytes" % sent in server.lines)
    server.lines = ["data" if line.startswith("data") else line for line in server.lines]
    tell("pause and resume", server, client)

    server, client = Party("server"), Party("client")
    there, here = Side(server), Side(client)
    await pair(there, here)
    t = here.transport
    for limits in {"high": 1000}, {"low": 1000}, {"high": 9, "low": 3}, {"high": 0}, {}, {"high": 10, "low": 20}:
        try:
            t.set_write_buffer_limits(**limits)
            client.say("marks:", *t.get_write_buffer_limits())
        except ValueError:
            client.say("refused, marks:", *t.get_write_buffer_limits())
    t.close()
    await client.until("connection_lost None")
    await server.until("connection_lost None")
    tell("marks", client)


asyncio.run(main())
