"""Is in the middle of two calls when it says `ready`, and makes others when it is told to go on."""

import sys
import time


def called():
    time.sleep(0.002)


def again(depth):
    if depth:
        again(depth - 1)


def fails(depth):
    if depth:
        fails(depth - 1)
    raise ValueError


def inner():
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(5):
        called()


def outer():
    inner()
    called()
    again(299)
    try:
        fails(299)
    except ValueError:
        called()


outer()
print("done", flush=True)
sys.stdin.readline()
