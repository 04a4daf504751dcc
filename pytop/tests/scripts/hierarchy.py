# Enters and leaves functions in every way there is. With an argument it keeps its own record of
# that, by sys.setprofile, and prints it: thread, sign, how many frames there are, how many functions
# were entered and not left, name.
import asyncio
import functools
import itertools
import sys
import threading


def leaf():
    return 1


def down(left):
    if left:
        return down(left - 1)
    return leaf()


def raises():
    raise ValueError


def passes():
    raises()


def catches():
    try:
        passes()
    except ValueError:
        leaf()
    return leaf()


def cleans_up():
    try:
        raises()
    finally:
        leaf()


def climbs(left):
    if not left:
        raises()
    climbs(left - 1)


def exceptions():
    catches()
    for function in cleans_up, passes, functools.partial(climbs, 80):
        try:
            function()
        except ValueError:
            pass
    for key in -1, 1:
        try:
            list(map(lambda value: raises() if value > 0 else leaf(), [key, key]))
        except ValueError:
            leaf()
    try:
        sorted([1, 2], key=lambda value: [leaf(), climbs(3)])
    except ValueError:
        return


def numbers(count):
    for number in range(count):
        leaf()
        yield number


def delegates():
    yield from numbers(2)
    result = yield from returns_at_once()
    yield result


def returns_at_once():
    return 5
    yield


def takes():
    value = 0
    while value is not None:
        try:
            value = yield value
            leaf()
        except KeyError:
            leaf()
            value = 7


def fails():
    leaf()
    yield 1
    passes()


def tree(depth):
    if depth:
        yield from tree(depth - 1)
        yield depth
        for value in tree(depth - 1):
            yield value


def holds(generator):
    try:
        yield from generator
    finally:
        leaf()


def ends():
    try:
        yield 1
    except KeyError:
        leaf()
    return 5


def follows():
    value = yield from ends()
    leaf()
    yield value
    yield from ends()


def generators():
    list(numbers(3))
    list(delegates())
    sum(number for number in numbers(2))
    list(tree(3))
    taking = takes()
    next(taking)
    taking.send(1)
    taking.throw(KeyError)
    taking.send(2)
    try:
        taking.send(None)
    except StopIteration:
        leaf()
    try:
        list(fails())
    except ValueError:
        leaf()
    thrown = takes()
    next(thrown)
    try:
        thrown.throw(IndexError)
    except IndexError:
        leaf()
    held = holds(holds(takes()))
    next(held)
    held.throw(KeyError)
    held.send(3)
    held.close()
    # A generator that waits outside of a try is closed without running, but not under a profile.
    closed = holds(takes())
    next(closed)
    closed.close()
    if sys.version_info[:2] != (3, 11):
        # What is thrown makes the inner one return, and the outer one goes on. 3.11 tells of no
        # entry then, to a profile neither.
        following = follows()
        next(following)
        following.throw(KeyError)
        next(following)
        try:
            following.throw(KeyError)
        except StopIteration:
            leaf()
    fresh = holds(numbers(5))
    try:
        fresh.throw(KeyError)
    except KeyError:
        leaf()


class Base:
    total = 0

    def __init__(self, value):
        self.value = value

    @property
    def double(self):
        return self.value * 2 + leaf()

    def __lt__(self, other):
        return self.double < other.double

    def __enter__(self):
        return self

    def __exit__(self, *error):
        leaf()
        return True


class Derived(Base):
    def __init__(self, value):
        super().__init__(value)
        leaf()

    def __getattr__(self, name):
        return leaf()


class Refuses:
    def __init__(self):
        raises()


def make():
    class Local:
        size = leaf()

        def method(self):
            return [value for value in range(2)]

    return Local().method()


def objects():
    for value in range(40):
        Base(value)
        Derived(value).missing
    sorted([Derived(3), Derived(1), Derived(2)])
    with Base(1):
        raises()
    for _ in range(30):
        try:
            Refuses()
        except ValueError:
            pass
    make()


def calls_back(left):
    leaf()
    if left:
        return sorted([2, 1], key=lambda value: calls_back(left - 1))
    return [0]


@functools.lru_cache(maxsize=None)
def cached(left):
    return cached(left - 1) + 1 if left else leaf()


def from_c():
    calls_back(3)
    cached(20)
    list(map(down, range(3)))
    functools.reduce(lambda left, right: left + right, [1, 2, 3])
    eval("leaf() + down(1)")


async def waits(count):
    for _ in range(count):
        await asyncio.sleep(0)
        leaf()
    return count


async def ticks(count):
    for number in range(count):
        await asyncio.sleep(0)
        yield number


class Guard:
    async def __aenter__(self):
        await waits(1)

    async def __aexit__(self, *error):
        leaf()


async def is_cancelled():
    try:
        await asyncio.sleep(3600)
    finally:
        leaf()


async def talks():
    async for number in ticks(3):
        await waits(number)
    async with Guard():
        leaf()
    task = asyncio.ensure_future(is_cancelled())
    await asyncio.gather(waits(2), waits(3))
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        leaf()
    try:
        await asyncio.wait_for(is_cancelled(), 0.001)
    except asyncio.TimeoutError:
        leaf()


def coroutines():
    loop = asyncio.new_event_loop()
    loop.run_until_complete(talks())
    loop.close()


def in_thread():
    down(3)
    catches()
    list(delegates())


def threads():
    for _ in range(3):
        thread = threading.Thread(target=in_thread)
        thread.start()
        thread.join()


LEFT = 0


def sinks():
    # A frame without variables, of which each page of the stack that is new holds another part.
    global LEFT
    LEFT -= 1
    if LEFT:
        sinks()


def deep():
    global LEFT
    LEFT = 600
    sinks()


def hot():
    # Long enough for every specialisation of the bytecode.
    for number in range(300):
        leaf()
        catches()
        Base(number).double


def workload():
    down(5)
    down(150)
    exceptions()
    generators()
    objects()
    from_c()
    coroutines()
    threads()
    deep()
    hot()


FILE = __file__
record = []
local = threading.local()
thread_numbers = itertools.count()


def depth(frame):
    deep = 0
    while frame is not None:
        deep += 1
        frame = frame.f_back
    return deep


def note(frame, event, argument):
    if event not in ("call", "return"):
        return
    if not hasattr(local, "number"):
        local.number = next(thread_numbers)
        local.entered = depth(frame) - 1
    local.entered += event == "call"
    if frame.f_code.co_filename == FILE:
        sign = "=>" if event == "call" else "<="
        name = frame.f_code.co_name
        record.append((local.number, sign, depth(frame), local.entered, name))
    local.entered -= event == "return"


if len(sys.argv) > 1:
    threading.setprofile(note)
    sys.setprofile(note)
    workload()
    sys.setprofile(None)
    for entry in record:
        print(*entry)
else:
    workload()
