"""Makes processes that each have functions of their own, and call each of these once a second, as
long as stdin is open: python3 -c SCRIPT PROCESSES FUNCTIONS"""

import gc
import os
import select
import sys

PROCESSES, FUNCTIONS = int(sys.argv[1]), int(sys.argv[2])


def live(number):
    name = "function_%d_%%d" % number
    source = "".join("def %s():\n    pass\n" % (name % n) for n in range(FUNCTIONS))
    names = {}
    exec(compile(source, "/srv/application/service_%d/handlers.py" % number, "exec"), names)
    functions = [names[name % n] for n in range(FUNCTIONS)]
    os.write(ready, b".")
    # Spread over the second, as those of programs that know nothing of each other are.
    pause = number / PROCESSES
    while not select.select([sys.stdin], [], [], pause)[0]:
        pause = 1.0
        for function in functions:
            function()


# What is not written to is shared.
gc.disable()
is_ready, ready = os.pipe()
for number in range(1, PROCESSES):
    if os.fork() == 0:
        live(number)
        os._exit(0)
os.write(ready, b"")
waiting = PROCESSES - 1
while waiting:
    waiting -= len(os.read(is_ready, waiting))
print("ready", flush=True)
live(0)
