"""Echoes on asyncio, or on uvloop when it is named as the first argument."""
import asyncio
import sys


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)

    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0, backlog=1024)
    print("%s:%d" % server.sockets[0].getsockname(), flush=True)
    await server.serve_forever()


if sys.argv[1:] == ["uvloop"]:
    import uvloop

    uvloop.install()
asyncio.run(main())
