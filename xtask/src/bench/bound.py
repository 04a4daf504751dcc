"""Does nothing but call functions, for so many seconds as each line of its input says; prints how
often it has called each of them, the processor time in nanoseconds that this took, and what it would
have taken at the usual speed: that of at least half of each tenth of a second.

The arguments are the body of each function and how many functions there are."""

import statistics
import sys
import time

BODY = sys.argv[1]
FUNCTIONS = int(sys.argv[2])
ROUNDS = 1
# Nanoseconds of a reading, and readings that have one usual speed.
READING = 100000
READINGS = 1000

numbers = range(1, FUNCTIONS + 1)
# The calls are written out, so that next to nothing is done between them: each function is called as
# often in a round as its number says.
source = ["def function_%d():\n    %s\n" % (number, BODY) for number in numbers]
source += ["def rounds():\n    for _ in range(ROUNDS):\n"]
source += ["        function_%d()\n" % number * number for number in numbers]
exec("".join(source))

shortest = None
for _ in range(100):
    before = time.process_time_ns()
    rounds()
    took = time.process_time_ns() - before
    shortest = took if shortest is None else min(took, shortest)
ROUNDS = max(READING // max(shortest, 1), 1)

print("ready", flush=True)
for line in sys.stdin:
    readings = []
    end = time.monotonic() + float(line)
    before = time.process_time_ns()
    while time.monotonic() < end:
        rounds()
        now = time.process_time_ns()
        readings.append(now - before)
        before = now
    done = len(readings) * ROUNDS
    usual = 0
    for start in range(0, len(readings), READINGS):
        part = readings[start : start + READINGS]
        usual += len(part) * int(statistics.median(part))
    print(*[done * number for number in numbers], sum(readings), usual, flush=True)
