"""Coroutines and asynchronous generators, driven by hand and by asyncio."""
import asyncio
import sys
import threading

from expected import expect, nested


class Pause:
    body = sys._getframe().f_code

    def __await__(self):
        yield


async def pauses():
    await Pause()


async def outer():
    await pauses()
    return 1


async def numbers():
    for number in range(3):
        yield number


async def listens():
    try:
        received = yield 1
        while received:
            received = yield received
    finally:
        await pauses()


class Asked:
    body = sys._getframe().f_code

    def __init__(self):
        self.left = 3

    def __aiter__(self):
        return self

    async def __anext__(self):
        self.left -= 1
        if self.left < 0:
            raise StopAsyncIteration

    async def __aenter__(self):
        await pauses()
        return self

    async def __aexit__(self, *arguments):
        return True


async def asks():
    async for _ in numbers():
        pass
    async for _ in Asked():
        pass
    async with Asked():
        raise ValueError
    [number async for number in numbers()]
    [await outer() for _ in range(2)]


def run(coroutine):
    try:
        while True:
            coroutine.send(None)
    except StopIteration:
        return


def by_hand():
    for _ in range(7):
        run(outer())
        run(asks())
    expect(by_hand)
    expect(run, 14)
    # outer: 1 by itself, 2 by asks. Each pauses once.
    expect(outer, 7 * 3 * 2, made=7 * 3)
    # One more by __aenter__.
    expect(pauses, 7 * 4 * 2, made=7 * 4)
    expect(Pause.__await__, 7 * 4 * 2, made=7 * 4)
    expect(numbers, 7 * 2 * 4, made=7 * 2)
    expect(Asked.__init__, 14)
    expect(Asked.__aiter__, 7)
    expect(Asked.__anext__, 7 * 4, made=7 * 4)
    expect(Asked.__aenter__, 7 * 2, made=7)
    expect(Asked.__aexit__, 7, made=7)
    # The pauses of __aenter__ and of two outer.
    expect(asks, 7 * 4, made=7)
    codes = []
    for code in asks.__code__.co_consts:
        if getattr(code, "co_name", None) == "<listcomp>":
            codes.append(code)
    if codes:
        # A coroutine before 3.12, and no function after.
        expect(codes[0], 7, made=7)
        expect(codes[1], 7 * 3, made=7)


async def asynchronous_generators():
    for _ in range(5):
        generator = listens()
        await generator.asend(None)
        await generator.asend(2)
        try:
            await generator.athrow(ValueError())
        except ValueError:
            pass
        generator = listens()
        await generator.__anext__()
        await generator.aclose()


def sent_to():
    run(asynchronous_generators())
    expect(sent_to)
    expect(run)
    # It pauses in its finally, twice a round.
    expect(asynchronous_generators, 11, made=1)
    expect(listens, 5 * (2 + 1 + 1 + 1), made=10, thrown=10)
    expect(pauses, 20, made=10)
    expect(Pause.__await__, 20, made=10)


def closed_and_thrown():
    for _ in range(3):
        coroutine = outer()
        coroutine.send(None)
        coroutine.close()
        coroutine = outer()
        coroutine.send(None)
        try:
            coroutine.throw(ValueError())
        except ValueError:
            pass
        outer().close()
    expect(closed_and_thrown)
    expect(outer, 6, made=9, thrown=9)
    expect(pauses, 6, made=6, thrown=6)
    expect(Pause.__await__, 6, made=6, thrown=6)


async def sleeper(times):
    for _ in range(times):
        await asyncio.sleep(0)


async def waiter(event):
    await event.wait()


async def cancelled(event):
    try:
        await event.wait()
    except asyncio.CancelledError:
        pass


async def concurrent():
    event = asyncio.Event()
    tasks = []
    for times in (2, 3, 5):
        tasks.append(asyncio.ensure_future(sleeper(times)))
    tasks.append(asyncio.ensure_future(waiter(event)))
    never = asyncio.Event()
    victim = asyncio.ensure_future(cancelled(never))
    await asyncio.sleep(0)
    event.set()
    victim.cancel()
    # By then all are done.
    for _ in range(7):
        await asyncio.sleep(0)
    for task in tasks + [victim]:
        await task
    asyncio.get_event_loop().call_soon(called_soon)
    # It is not done before it is awaited, so that there is a pause on every version.
    lock = threading.Lock()
    lock.acquire()
    asyncio.get_event_loop().call_soon(lock.release)
    await asyncio.get_event_loop().run_in_executor(None, in_executor, lock)


def called_soon():
    pass


def in_executor(lock):
    lock.acquire()


def by_asyncio():
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(concurrent())
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    expect(by_asyncio)
    expect(called_soon)
    expect(in_executor)
    # Once more after each pause.
    expect(sleeper, 3 + 2 + 3 + 5, made=3)
    expect(waiter, 2, made=1)
    expect(cancelled, 1, made=1, thrown=1)
    # It pauses in each sleep, and for the executor.
    expect(concurrent, 1 + 8 + 1, made=1)


def coroutines():
    expect(coroutines)
    by_hand()
    sent_to()
    closed_and_thrown()
    by_asyncio()


expect(sys._getframe().f_code)
expect(Pause.body)
expect(Asked.body)
