"""How errors and turns are told: shared by the scenarios of this folder."""

import asyncio
import errno

from turns import Turns, say


def quiet(loop):
    """A machine that is busy is no slow callback."""
    loop.slow_callback_duration = 3600


def why(error):
    """One word for an error, the same in every language."""
    if error is None:
        return "None"
    if isinstance(error, asyncio.CancelledError):
        return " ".join(["cancelled", *filter(None, error.args)])
    if isinstance(error, ExceptionGroup):
        return "group of " + ", ".join(why(e) for e in error.exceptions)
    if isinstance(error, BrokenPipeError):
        return "EPIPE"  # asyncio makes some without a number
    if isinstance(error, OSError) and error.errno:
        return errno.errorcode[error.errno]
    if isinstance(error, TimeoutError):
        return "timeout"
    return str(error)


class Marks(Turns):
    """Tells things with the turn they happen in."""

    zero = 0

    def __init__(self, loop):
        quiet(loop)
        super().__init__(loop)

    def start(self, part):
        say("--", part)
        self.zero = self.now

    def mark(self, *words):
        say(*words, self.now - self.zero)

    def watch(self, name, future):
        """Marks the end of a future."""

        def done(f):
            error = "cancelled" if f.cancelled() else why(f.exception())
            self.mark(name, "done", error)

        future.add_done_callback(done)
        return future

    async def sleeper(self, name, seconds=3600):
        """Sleeps and tells when it starts, ends, or is cancelled."""
        self.mark(name, "starts")
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError as e:
            self.mark(name, "hears", why(e))
            raise
        self.mark(name, "ends")
        return name
