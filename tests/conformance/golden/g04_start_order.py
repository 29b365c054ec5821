"""Two new tasks with a callback between them; each task yields once."""

import asyncio

from turns import say, turns


async def twice(name):
    say(name, "starts")
    await asyncio.sleep(0)
    say(name, "goes on")


async def main():
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(twice("task 1"))]
    loop.call_soon(say, "soon")
    tasks.append(loop.create_task(twice("task 2")))
    say("created")
    await turns(3)
    assert all(t.done() for t in tasks)


asyncio.run(main())
