"""The parties of a scenario, and the protocols that tell them what happens."""

import asyncio

from turns import say
from words import why


class Party:
    """Who told what. The lines of a party come out together, because the order
    between the ends of a connection is the kernel's."""

    def __init__(self, name):
        self.name, self.lines = name, []
        self.bytes = None  # of the last line, when that is data
        self.news = None

    def say(self, *words):
        self._add(" ".join(str(w) for w in words))
        self.bytes = None

    def data(self, data):
        """Pieces that follow each other count as one: how they are cut is the
        kernel's."""
        if self.bytes is not None:
            self.lines.pop()
            data = self.bytes + data
        self._add("data " + (data.decode() if len(data) <= 40 else "of %d bytes" % len(data)))
        self.bytes = data

    def _add(self, line):
        self.lines.append(line)
        if self.news is not None and not self.news.done():
            self.news.set_result(None)

    async def until(self, *lines):
        """Waits until the party has told these lines."""
        while not set(lines) <= set(self.lines):
            self.news = asyncio.get_running_loop().create_future()
            await self.news


def tell(part, *parties):
    say("--", part)
    for p in parties:
        for line in p.lines:
            say(p.name + ":", line)


class Side(asyncio.Protocol):
    """One end of a connection; made and data are called with it, too."""

    def __init__(self, party, keep=False, made=None, data=None):
        self.party, self.keep, self.made, self.data = party, keep, made, data

    def connection_made(self, transport):
        self.transport = transport
        self.party.say("connection_made")
        if self.made:
            self.made(self)

    def data_received(self, data):
        self.party.data(data)
        if self.data:
            self.data(self, data)

    def eof_received(self):
        self.party.say("eof_received")
        return self.keep

    def connection_lost(self, exc):
        self.party.say("connection_lost", why(exc))

    def pause_writing(self):
        self.party.say("pause_writing")

    def resume_writing(self):
        self.party.say("resume_writing")


def echo(side, data):
    side.transport.write(data.upper())


async def listen(factory, **options):
    """A TCP server on a free port, and its address."""
    s = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0, **options)
    return s, s.sockets[0].getsockname()


async def pair(server, client):
    """A TCP connection between two sides; the server of it is closed."""
    loop = asyncio.get_running_loop()
    s, address = await listen(lambda: server)
    await loop.create_connection(lambda: client, *address)
    await server.party.until("connection_made")
    s.close()


async def failure(call):
    """Why a call fails."""
    try:
        await call
    except OSError as e:
        return why(e)
