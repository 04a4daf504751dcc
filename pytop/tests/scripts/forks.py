# Makes children by os.fork, which call functions while their parent does, and prints their pids.
import os
import sys


def in_parent():
    pass


def in_child():
    pass


def in_both():
    pass


def make_child(number):
    pid = os.fork()
    if pid == 0:
        for _ in range(int(sys.argv[1]) + number):
            in_child()
            in_both()
        os._exit(0)
    return pid


os.write(1, b"ready\n")
while os.read(0, 64):
    children = [make_child(number) for number in (1, 2, 3)]
    for _ in range(int(sys.argv[1])):
        in_parent()
        in_both()
    for child in children:
        os.waitpid(child, 0)
    os.write(1, " ".join(map(str, children)).encode() + b"\n")
