# Calls one function all the time for a while, computes in another one for a while, and sleeps between the
# calls of a third one, several times; prints how often it has called each of them.
import os
import time


def first():
    pass


def second():
    sum(range(200_000))


def third():
    pass


os.write(1, b"ready\n")
os.read(0, 64)
calls = [0, 0, 0]
for _ in range(3):
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        for _ in range(1000):
            first()
        calls[0] += 1000
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        second()
        calls[1] += 1
    end = time.monotonic() + 1
    while time.monotonic() < end:
        time.sleep(0.01)
        third()
        calls[2] += 1
os.write(1, " ".join(map(str, calls)).encode() + b"\n")
os.read(0, 64)
