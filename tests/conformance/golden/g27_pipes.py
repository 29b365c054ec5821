"""Pipes: the end of one that is read, and the reader of another going away."""

import asyncio
import os

from sides import Party, Side, tell
from words import quiet


async def main():
    loop = asyncio.get_running_loop()
    quiet(loop)

    async def reading(party):
        r, w = os.pipe()
        t, _ = await loop.connect_read_pipe(lambda: Side(party), os.fdopen(r, "rb", 0))
        return t, w

    async def writing(party):
        r, w = os.pipe()
        t, _ = await loop.connect_write_pipe(lambda: Side(party), os.fdopen(w, "wb", 0))
        return t, r

    reader = Party("reader")
    t, w = await reading(reader)
    os.write(w, b"bytes")
    await reader.until("data bytes")
    os.close(w)
    await reader.until("connection_lost None")
    reader.say("closing:", t.is_closing())
    tell("the writer ends", reader)

    reader = Party("reader")
    t, w = await reading(reader)
    t.pause_reading()
    os.write(w, b"bytes")
    os.close(w)
    reader.say("resumes")
    t.resume_reading()
    await reader.until("connection_lost None")
    tell("bytes and the end at once", reader)

    reader = Party("reader")
    t, w = await reading(reader)
    t.close()
    await reader.until("connection_lost None")
    os.close(w)
    tell("the reader closes", reader)

    writer = Party("writer")
    t, r = await writing(writer)
    writer.say("can end its output:", t.can_write_eof())
    t.write(b"bytes")
    t.write_eof()
    writer.say("closing:", t.is_closing())
    await writer.until("connection_lost None")
    writer.say("the pipe has", os.read(r, 99).decode())
    os.close(r)
    tell("the end of the output is the end", writer)

    writer = Party("writer")
    t, r = await writing(writer)
    os.close(r)
    await writer.until("connection_lost None")
    tell("the reader goes while nothing waits", writer)

    writer = Party("writer")
    t, r = await writing(writer)
    t.write(b"x" * 1_000_000)
    writer.say("waits:", t.get_write_buffer_size() > 0)
    os.close(r)
    await writer.until("connection_lost EPIPE")
    tell("the reader goes while bytes wait", writer)


asyncio.run(main())
