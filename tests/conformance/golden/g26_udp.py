"""Datagrams: both ways, empty ones, nobody there, and a wrong address."""

import asyncio
import socket

from sides import Party, tell
from words import quiet, why


class Packets(asyncio.DatagramProtocol):
    """data is called with it and the sender, too."""

    def __init__(self, party, data=None):
        self.party, self.data = party, data

    def connection_made(self, transport):
        self.transport = transport
        self.party.say("connection_made")

    def datagram_received(self, data, addr):
        self.party.say("datagram '%s'" % data.decode())
        if self.data:
            self.data(self, data, addr)

    def error_received(self, exc):
        self.party.say("error_received", why(exc))

    def connection_lost(self, exc):
        self.party.say("connection_lost", why(exc))


async def main():
    loop = asyncio.get_running_loop()
    quiet(loop)

    server, client = Party("server"), Party("client")
    there, _ = await loop.create_datagram_endpoint(
        lambda: Packets(server, lambda p, data, addr: p.transport.sendto(data.upper(), addr)), local_addr=("127.0.0.1", 0))
    address = there.get_extra_info("sockname")
    here, _ = await loop.create_datagram_endpoint(lambda: Packets(client), remote_addr=address)
    client.say("peer:", here.get_extra_info("peername") == address, "the server has one:", there.get_extra_info("peername") is not None)
    here.sendto(b"one")
    await client.until("datagram 'ONE'")
    here.sendto(b"two", address)
    await client.until("datagram 'TWO'")
    try:
        here.sendto(b"three", ("127.0.0.1", 9))
    except ValueError:
        client.say("only the peer's address")
    here.close()
    client.say("closing:", here.is_closing())
    await client.until("connection_lost None")
    tell("both ways", server, client)

    server.lines.clear()
    with socket.socket(type=socket.SOCK_DGRAM) as peer:
        peer.sendto(b"", address)
        peer.sendto(b"behind", address)
    await server.until("datagram 'behind'")
    there.abort()
    server.say("aborted, waits:", there.get_write_buffer_size())
    await server.until("connection_lost None")
    tell("an empty one arrives", server)

    client = Party("client")
    with socket.socket(type=socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        here, _ = await loop.create_datagram_endpoint(lambda: Packets(client), remote_addr=peer.getsockname())
        here.sendto(b"")
        here.sendto(b"end")
        client.say("the peer gets '%s' first" % peer.recv(9).decode())
    tell("an empty one leaves", client)

    client.lines.clear()
    here.sendto(b"anybody?")
    await client.until("error_received ECONNREFUSED")
    client.say("closing:", here.is_closing())
    here.close()
    await client.until("connection_lost None")
    tell("nobody is there", client)


asyncio.run(main())
