"""Runs the programs that come as JSON lines on stdin and prints their logs, each
followed by a line "=". See interpret.go, which does the same."""
import asyncio
import json
import sys
import warnings

# Programs leave things unfinished on purpose.
warnings.simplefilter("ignore")
sys.unraisablehook = lambda *_: None

UNIT = 1.0 / 512
MOST = 40  # tasks, and callbacks: bodies start each other


class Deadlock(BaseException):
    pass


class Failure(Exception):
    pass


class Clock:
    """A selector without descriptors that does not wait: time jumps."""

    now = 0.0

    def select(self, timeout=None):
        if timeout is None:
            raise Deadlock()
        if timeout > 0:
            self.now += timeout
        return []


class Loop(asyncio.BaseEventLoop):
    def __init__(self):
        super().__init__()
        self._selector = Clock()
        self._clock_resolution = 1e-6  # times are large here: now + 1e-9 may be now

    def time(self):
        return self._selector.now

    def _process_events(self, events):
        pass

    def _write_to_self(self):
        pass


class Ordered(dict):
    """A set in the order of insertion."""

    def add(self, x):
        self[x] = None

    def discard(self, x):
        self.pop(x, None)


class TaskGroup(asyncio.TaskGroup):
    """Cancels its tasks in the order in which they were made; CPython's set has
    another order in every run."""

    def __init__(self):
        super().__init__()
        self._tasks = Ordered()


def word(e):
    if e is None:
        return "ok"
    if isinstance(e, BaseExceptionGroup):
        return "group(" + ",".join(word(x) for x in e.exceptions) + ")"
    if isinstance(e, asyncio.CancelledError):
        return "cancelled"
    if isinstance(e, TimeoutError):
        return "timeout"
    if isinstance(e, Failure):
        return "failure%d" % e.args
    if isinstance(e, asyncio.InvalidStateError):
        return "state"
    if isinstance(e, asyncio.BrokenBarrierError):
        return "broken barrier"
    if isinstance(e, asyncio.QueueEmpty):
        return "empty"
    if isinstance(e, asyncio.QueueFull):
        return "full"
    if isinstance(e, ValueError):
        return "state"
    if isinstance(e, RuntimeError):
        return "state"
    return repr(e)


class Awaitable:
    def __init__(self, future, low):
        self.future, self.low = future, low


class Run:
    def __init__(self, p, loop):
        self.p, self.loop, self.lines = p, loop, []
        self.vars = [Awaitable(loop.create_future(), 1 << 30) for _ in range(p["Futures"])]
        self.events = [asyncio.Event() for _ in range(p["Events"])]
        self.locks = [asyncio.Lock() for _ in range(p["Locks"])]
        self.conditions = [asyncio.Condition(lock) for lock in self.locks]
        self.semaphores = [asyncio.Semaphore(n) for n in p["Semaphores"] or []]
        self.queues = [asyncio.Queue(n) for n in p["Queues"] or []]
        self.barriers = [asyncio.Barrier(n) for n in p["Barriers"] or []]
        self.handles, self.tasks, self.seq, self.timed = [], [], 0, 0

    def log(self, who, step, what):
        self.lines.append("%d %s %d %s" % (round(self.loop.time() / UNIT), who, step["ID"], what))

    def block_of(self, who, name):
        return self.p[name]

    def time(self, s):
        """How long a step takes: sums of such times are next to never equal."""
        if not s.get("D", 0):
            return 0
        self.timed += 1
        return (s["D"] * 1000000 + self.timed**3 * 7919 % 999983) * UNIT

    # --- tasks

    def spawn(self, body, group=None):
        self.seq += 1
        me = self.seq
        coro = self.body(me, body)
        task = group.create_task(coro) if group else self.loop.create_task(coro)
        self.tasks.append(task)
        self.vars.append(Awaitable(task, me))
        return me

    async def body(self, me, body):
        who = "t%d" % me
        await self.block(me, who, self.p["Tasks"][body], None)
        return me

    async def block(self, me, who, block, group):
        for s in block or []:
            await self.step(me, who, s, group)

    async def step(self, me, who, s, group):
        try:
            what = await self.do(me, who, s, group)
        except Deadlock:
            raise
        except BaseException as e:
            self.log(who, s, word(e))
            catch = s.get("Catch", "")
            if catch == "all" or catch == "errors" and isinstance(e, Exception):
                return
            raise
        self.log(who, s, what)

    def named(self, me, n):
        if n >= len(self.vars) or self.vars[n].low <= me:
            return None
        return self.vars[n]

    def some(self, me, s):
        found = [self.named(me, n) for n in s.get("Vars") or []]
        return [v for v in found if v is not None]

    async def do(self, me, who, s, group):
        op, n, a = s["Op"], s.get("N", 0), s.get("A", 0)
        if op == "sleep":
            await asyncio.sleep(self.time(s))
        elif op == "spawn" and group and self.seq < MOST:
            self.spawn(n, group)
        elif op == "await":
            v = self.named(me, a)
            if v is None:
                return "none"
            return "got %d" % await v.future
        elif op == "gather":
            vs = self.some(me, s)
            got = await asyncio.gather(*[v.future for v in vs], return_exceptions=n == 1)
            return "got " + ",".join(word(g) if isinstance(g, BaseException) else str(g) for g in got)
        elif op == "wait":
            vs = self.some(me, s)
            if not vs:
                return "none"
            when = [asyncio.ALL_COMPLETED, asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION][n]
            fs = [v.future for v in vs]
            done, pending = await asyncio.wait(fs, timeout=self.time(s) or None, return_when=when)
            return "done %s" % ",".join("%d" % (f in done) for f in fs)
        elif op == "timeout":
            async with asyncio.timeout(self.time(s)):
                await self.block(me, who, s.get("Block"), group)
        elif op == "group":
            async with TaskGroup() as g:
                await self.block(me, who, s.get("Block"), g)
        elif op == "finally":
            try:
                await self.block(me, who, s.get("Block"), group)
            finally:
                await self.block(me, who, s.get("Other"), group)
        elif op == "event" and n == 0:
            await self.events[a].wait()
        elif op == "lock":
            async with self.locks[a]:
                await self.block(me, who, s.get("Block"), group)
        elif op == "condition":
            async with self.conditions[a]:
                await self.conditions[a].wait()
                await self.block(me, who, s.get("Block"), group)
        elif op == "semaphore":
            async with self.semaphores[a]:
                await self.block(me, who, s.get("Block"), group)
        elif op == "queue" and n == 0:
            return "got %d" % await self.queues[a].get()
        elif op == "queue" and n == 1:
            await self.queues[a].put(s["ID"])
        elif op == "queue" and n == 5:
            await self.queues[a].join()
        elif op == "barrier":
            return "got %d" % await self.barriers[a].wait()
        elif op == "cancelling":
            return "%d" % asyncio.current_task().cancelling()
        elif op == "uncancel":
            if asyncio.current_task().cancelling():
                return "%d" % asyncio.current_task().uncancel()
            return "none"
        elif op == "generate":
            return await self.generate(me, who, s, group)
        else:
            return self.simple(me, who, s)
        return "ok"

    async def generate(self, me, who, s, group):
        async def items():
            for i, step in enumerate(s.get("Block") or []):
                await self.step(me, who, step, group)
                yield i

        g, got = items(), []
        try:
            for _ in range(s.get("N", 0)):
                try:
                    got.append(str(await g.__anext__()))
                except StopAsyncIteration:
                    got.append("end")
        finally:
            await g.aclose()
        return "got " + ",".join(got)

    # --- what does not wait, in tasks and callbacks

    def simple(self, me, who, s):
        op, n, a = s["Op"], s.get("N", 0), s.get("A", 0)
        if op == "log":
            pass
        elif op == "spawn":
            if self.seq >= MOST:
                return "none"
            self.spawn(n)
        elif op == "cancel":
            if a >= len(self.vars):
                return "none"
            return "%d" % self.vars[a].future.cancel()
        elif op in ("set", "fail"):
            if a >= self.p["Futures"]:
                return "none"
            if op == "set":
                self.vars[a].future.set_result(n)
            else:
                self.vars[a].future.set_exception(Failure(n))
        elif op == "shield":
            if a >= len(self.vars):
                return "none"
            v = self.vars[a]
            self.vars.append(Awaitable(asyncio.shield(v.future), v.low))
        elif op == "state":
            if a >= len(self.vars):
                return "none"
            f = self.vars[a].future
            if not f.done():
                return "pending"
            if f.cancelled():
                return "cancelled"
            return "done " + (word(f.exception()) if f.exception() else str(f.result()))
        elif op == "event":
            self.events[a].set() if n == 1 else self.events[a].clear()
        elif op == "notify":
            c = self.conditions[a]
            c.notify_all() if n == 0 else c.notify(n)
        elif op == "queue":
            q = self.queues[a]
            if n == 2:
                return "got %d" % q.get_nowait()
            if n == 3:
                q.put_nowait(s["ID"])
            if n == 4:
                q.task_done()
        elif op in ("soon", "later"):
            if len(self.handles) >= MOST:
                return "none"
            self.schedule(s)
        elif op == "unschedule":
            if a >= len(self.handles):
                return "none"
            self.handles[a].cancel()
        elif op == "done":
            if a >= len(self.vars):
                return "none"
            self.vars[a].future.add_done_callback(lambda f: self.log("d", s, word_of(f)))
        elif op == "raise":
            raise Failure(n)
        else:
            raise AssertionError(op)
        return "ok"

    def schedule(self, s):
        n = s.get("N", 0)
        call = lambda: self.callback(n)
        if s["Op"] == "later":
            self.handles.append(self.loop.call_later(self.time(s), call))
        elif s.get("A", 0):
            self.handles.append(self.loop.call_soon_threadsafe(call))
        else:
            self.handles.append(self.loop.call_soon(call))

    def callback(self, n):
        who = "c%d" % n
        for s in self.p["Callbacks"][n] or []:
            try:
                what = self.simple(0, who, s)
            except Exception as e:
                self.log(who, s, word(e))
                if s.get("Catch", "") == "":
                    raise
            else:
                self.log(who, s, what)


def word_of(f):
    if f.cancelled():
        return "cancelled"
    return word(f.exception()) if f.exception() else "ok"


async def main(run):
    run.spawn(0)
    for _ in range(20):
        alive = [t for t in run.tasks if not t.done()]
        if not alive:
            break
        await asyncio.wait(alive, timeout=run.p["End"] * UNIT)
        for t in alive:
            t.cancel()
    for i, v in enumerate(run.vars):
        f = v.future
        run.lines.append("end %d %s" % (i, "pending" if not f.done() else word_of(f)))


def interpret(p):
    loop = Loop()
    asyncio.set_event_loop(loop)
    run = Run(p, loop)

    def handler(loop, c):
        if "never retrieved" in c["message"] or "was destroyed" in c["message"]:
            return
        run.lines.append("handler %s" % word(c.get("exception")))

    loop.set_exception_handler(handler)
    try:
        loop.run_until_complete(main(run))
    except Deadlock:
        run.lines.append("deadlock")
    loop.set_exception_handler(lambda *_: None)
    return run.lines


def log_of(line):
    asyncio._set_running_loop(None)  # a browser's Python has one of its own
    return "".join(out + "\n" for out in interpret(json.loads(line))) + "=\n"


if __name__ == "__main__":
    for line in sys.stdin:
        print(log_of(line), end="", flush=True)
