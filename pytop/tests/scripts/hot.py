# Does nothing but call functions, for so many seconds as each line of its input says; prints how
# often it has called each of them, and the processor time that this took in nanoseconds. Each does
# as much work as the first argument says. A second argument has another thread do something else by the
# clock.
import os
import sys
import threading
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


def beside():
    while True:
        time.sleep(0.001)
        for _ in "twenty begins of a loop":
            {letter: 0.5 for letter in ()}


if len(sys.argv) > 2:
    threading.Thread(target=beside, daemon=True).start()
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
