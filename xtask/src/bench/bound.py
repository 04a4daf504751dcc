"""Does nothing but call functions, for so many seconds as each line of its input says; prints how
often it has called each of them, and the processor time in nanoseconds that this took.

The arguments are the body of each function and how many functions there are."""

import sys
import time

BODY = sys.argv[1]
FUNCTIONS = int(sys.argv[2])
ROUNDS = 100

numbers = range(1, FUNCTIONS + 1)
# The calls are written out, so that next to nothing is done between them: each function is called as
# often in a round as its number says.
source = ["def function_%d():\n    %s\n" % (number, BODY) for number in numbers]
source += ["def rounds():\n    for _ in range(ROUNDS):\n"]
source += ["        function_%d()\n" % number * number for number in numbers]
exec("".join(source))

print("ready", flush=True)
for line in sys.stdin:
    done = 0
    end = time.monotonic() + float(line)
    before = time.process_time()
    while time.monotonic() < end:
        rounds()
        done += ROUNDS
    nanoseconds = int((time.process_time() - before) * 1e9)
    print(*[done * number for number in numbers], nanoseconds, flush=True)
