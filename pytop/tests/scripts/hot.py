# Does nothing but call functions, for so many seconds as each line of its input says; prints how
# often it has called each of them, and the processor time that this took in nanoseconds. Each does
# as much work as the first argument says.
import os
import sys
import time

WORK = range(int(sys.argv[1]))


def first():
    for _ in WORK:
        pass


def second():
    for _ in WORK:
        pass


def third():
    for _ in WORK:
        pass


def rounds(seconds):
    number = 0
    thousand = range(1000)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in thousand:
            first()
            first()
            first()
            second()
            second()
            third()
        number += 1000
    return number


os.write(1, b"ready\n")
while True:
    line = os.read(0, 64)
    if not line:
        break
    before = time.process_time()
    number = rounds(float(line))
    nanoseconds = int((time.process_time() - before) * 1e9)
    numbers = (3 * number, 2 * number, number, nanoseconds)
    os.write(1, " ".join(map(str, numbers)).encode() + b"\n")
