# Calls functions of all kinds in several threads until its input ends, and looks whether each call
# had the result that it should have.
import functools
import os
import threading


def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def squares(n):
    for number in range(n):
        received = yield number * number
        if received:
            yield received


def delegates(n):
    return (yield from squares(n))


class Number:
    def __init__(self, value):
        self.value = value

    def __add__(self, other):
        return Number(self.value + other.value)

    def __lt__(self, other):
        return self.value < other.value

    @property
    def half(self):
        return self.value // 2

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        return kind is KeyError


async def answers(n):
    return n + await answers(n - 1) if n else 0


def run(coroutine):
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value


def raises(n):
    if n == 0:
        raise KeyError(n)
    raises(n - 1)


def check(number):
    assert fibonacci(10) == 55
    assert sum(delegates(20)) == 2470
    generator = squares(3)
    assert next(generator) == 0
    assert generator.send(number + 1) == number + 1
    assert list(generator) == [1, 4]
    numbers = [Number(value) for value in (5, 3, 4)]
    assert [one.value for one in sorted(numbers)] == [3, 4, 5]
    assert functools.reduce(lambda a, b: a + b, numbers).half == 6
    with Number(number) as same:
        raises(5)
        assert False, "it was left"
    assert same.value == number
    assert run(answers(10)) == 55
    namespace = {}
    exec("def made(a):\n return a + %d" % number, namespace)
    assert namespace["made"](1) == number + 1


def work():
    number = 0
    while not ENDED:
        check(number)
        number += 1
    FINISHED.append(number)


# It uses all processors, and leaves them to whoever puts the probes there.
os.nice(19)
ENDED = []
FINISHED = []
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
os.write(1, b"ready\n")
os.read(0, 64)
ENDED.append(True)
for thread in threads:
    thread.join()
# One that failed has not finished.
assert len(FINISHED) == 2 and min(FINISHED) > 0
os.write(1, b"done\n")
os.read(0, 64)
