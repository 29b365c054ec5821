"""Child processes: the order of what is told, exit codes, signals, and what goes wrong."""

import asyncio
import logging
import signal
import subprocess

from sides import Party, tell
from words import quiet, why


class Child(asyncio.SubprocessProtocol):
    """Each pipe is a party of its own: there is no order between them."""

    def __init__(self):
        self.process = Party("process")
        self.pipes = [Party(name) for name in ("stdin", "stdout", "stderr")]
        self.over = 0

    def connection_made(self, transport):
        self.transport = transport
        self.process.say("connection_made")

    def pipe_data_received(self, fd, data):
        self.pipes[fd].data(data.strip())

    def pipe_connection_lost(self, fd, exc):
        self.pipes[fd].say("lost", why(exc))
        self.over += 1

    def process_exited(self):
        self.process.say("process_exited", self.transport.get_returncode())

    def connection_lost(self, exc):
        self.process.say("connection_lost", why(exc), "pipes that have ended:", self.over)

    async def lost(self, part, pipes=3):
        await self.process.until("connection_lost None pipes that have ended: %d" % pipes)
        tell(part, self.process, *self.pipes)


async def main():
    loop = asyncio.get_running_loop()
    quiet(loop)
    logging.disable()  # debug mode tells that it kills a child

    t, c = await loop.subprocess_exec(Child, "/bin/cat")
    c.process.say("has a number:", t.get_pid() > 0)
    t.get_pipe_transport(0).write(b"hello")
    await c.pipes[1].until("data hello")
    t.get_pipe_transport(0).write(b"_again")
    t.get_pipe_transport(0).write_eof()
    await c.process.until("process_exited 0")
    await c.process.until("connection_lost None pipes that have ended: 3")
    try:
        t.send_signal(signal.SIGTERM)
    except ProcessLookupError:
        c.process.say("no signal for the dead")
    t.close()
    t.close()
    await c.lost("cat")

    t, c = await loop.subprocess_exec(Child, "/bin/cat")
    t.kill()
    await c.lost("killed")
    t.close()

    t, c = await loop.subprocess_exec(Child, "/bin/cat")
    t.terminate()
    await c.lost("terminated")
    t.close()

    t, c = await loop.subprocess_exec(Child, "/bin/cat")
    t.close()
    await c.lost("closed while it runs")

    t, c = await loop.subprocess_shell(Child, "echo out; echo err >&2; exit 7", stdin=subprocess.DEVNULL)
    await c.lost("a shell's exit code", 2)
    t.close()

    t, c = await loop.subprocess_shell(Child, "printf out; printf err >&2", stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    await c.lost("one pipe for both", 1)
    t.close()

    t, c = await loop.subprocess_shell(Child, "no-such-program-here 2>/dev/null")
    await c.lost("what the shell does not find")
    t.close()

    nobody = Party("nobody")
    try:
        await loop.subprocess_exec(Child, "/nowhere/at/all")
    except OSError as e:
        nobody.say(why(e))
    tell("no such program", nobody)


asyncio.run(main())
