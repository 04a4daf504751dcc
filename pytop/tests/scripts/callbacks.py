# Has functions called by C code, lambdas and comprehensions among them.
import functools
import os
import sys


def key(item):
    return -item


def add(left, right):
    return left + right


@functools.lru_cache(maxsize=None)
def cached(item):
    return item


@functools.wraps(key)
def wrapped(item):
    return key(item)


square = lambda item: item * item


class Compared:
    def __init__(self, value):
        self.value = value

    def __lt__(self, other):
        return self.value < other.value


os.write(1, b"ready\n")
while os.read(0, 64):
    for _ in range(int(sys.argv[1])):
        sorted([3, 1, 2], key=key)
        functools.reduce(add, (1, 2, 3, 4, 5))
        list(map(square, range(7)))
        [cached(item) for item in (1, 1, 2, 2)]
        {wrapped(item) for item in (1, 2, 3)}
        sorted([Compared(1), Compared(2)])
    os.write(1, b"done\n")
