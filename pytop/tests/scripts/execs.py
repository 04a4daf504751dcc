# Calls a function, and then becomes another interpreter, which calls it in the other branch.
import os
import sys


def before():
    pass


def after():
    pass


if len(sys.argv) == 2:
    os.write(1, b"ready\n")
    os.read(0, 64)
    for _ in range(int(sys.argv[1])):
        before()
    os.execv(sys.executable, [sys.executable, __file__, sys.argv[1], "again"])
for _ in range(int(sys.argv[1])):
    after()
os.write(1, b"done\n")
os.read(0, 64)
