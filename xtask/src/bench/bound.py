"""Does nothing but call functions, for so many seconds as each line of its input says; prints how
often it has called each of them, and the processor time in nanoseconds that this took.

The arguments are the body of each function, how many functions there are, and after how many
nanoseconds it looks at the clock."""

import sys
import time

BODY = sys.argv[1]
FUNCTIONS = int(sys.argv[2])
READING = int(sys.argv[3])
ROUNDS = 1

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
    readings = 0
    end = time.monotonic() + float(line)
    before = time.process_time_ns()
    while time.monotonic() < end:
        rounds()
        readings += 1
    used = time.process_time_ns() - before
    print(*[readings * ROUNDS * number for number in numbers], used, flush=True)
