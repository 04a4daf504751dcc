# Does nothing but call functions in one loop, without a look at a clock: as many times round as each line
# of its input says, and then anew as often as that says. Prints how often it has called each of them, and
# the processor time that this took in nanoseconds.
import os
import time


def first():
    pass


def second():
    pass


def third():
    pass


def rounds(number):
    for _ in range(number):
        first()
        first()
        first()
        second()
        second()
        third()


os.write(1, b"ready\n")
while True:
    line = os.read(0, 64)
    if not line:
        break
    number, times = map(int, line.split())
    before = time.process_time()
    for _ in range(times):
        rounds(number)
    nanoseconds = int((time.process_time() - before) * 1e9)
    number *= times
    numbers = (3 * number, 2 * number, number, nanoseconds)
    os.write(1, " ".join(map(str, numbers)).encode() + b"\n")
