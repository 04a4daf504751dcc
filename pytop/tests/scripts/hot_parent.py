# Calls a function for so many seconds as its input says, and makes children meanwhile, each of which
# calls another one so many times as the first argument says. Prints the pids of the children.
import os
import sys
import time


def in_parent():
    pass


def in_child():
    pass


def make_child():
    pid = os.fork()
    if pid == 0:
        for _ in range(int(sys.argv[1])):
            in_child()
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


os.write(1, b"ready\n")
children = []
end = time.monotonic() + float(os.read(0, 64))
while time.monotonic() < end:
    next_child = time.monotonic() + 0.05
    while time.monotonic() < next_child:
        for _ in range(1000):
            in_parent()
    children.append(make_child())
os.write(1, " ".join(map(str, children)).encode() + b"\n")
os.read(0, 64)
