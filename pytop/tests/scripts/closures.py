# Makes closures and calls them.
import os
import sys


def make(step):
    total = 0

    def add(_):
        nonlocal total
        total += step
        return total

    return add


def plain(add):
    return add(1) + add(2)


os.write(1, b"ready\n")
while os.read(0, 64):
    for _ in range(int(sys.argv[1])):
        plain(make(3))
    os.write(1, b"done\n")
