# Runs generators to their end, and ends them early.
import os
import sys


def two():
    yield 1
    yield 2


def delegates():
    yield from two()


def never_started():
    yield 1


def closed():
    yield 1
    yield 2


def thrown_into():
    try:
        yield 1
    except ValueError:
        yield 2


def sent_to():
    received = yield 1
    while received:
        received = yield received


os.write(1, b"ready\n")
while os.read(0, 64):
    for _ in range(int(sys.argv[1])):
        for _ in two():
            pass
        list(delegates())
        never_started()
        one = closed()
        next(one)
        one.close()
        one = thrown_into()
        next(one)
        one.throw(ValueError())
        del one
        one = sent_to()
        next(one)
        one.send(3)
        one.send(2)
        next(one, None)
        sum(x for x in (1, 2, 3))
    os.write(1, b"done\n")
