# Awaits coroutines, and asks asynchronous generators, without an event loop.
import os
import sys


class Pause:
    def __await__(self):
        yield


async def pauses():
    await Pause()


async def outer():
    await pauses()
    async for _ in numbers():
        pass


async def numbers():
    yield 1
    yield 2


def run(coroutine):
    try:
        while True:
            coroutine.send(None)
    except StopIteration:
        pass


os.write(1, b"ready\n")
while os.read(0, 64):
    for _ in range(int(sys.argv[1])):
        run(outer())
    os.write(1, b"done\n")
