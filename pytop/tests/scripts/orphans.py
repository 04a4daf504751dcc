# Makes processes whose parents end at once, each on another processor than its parent: a child makes
# a grandchild, which calls a function so many times as the first argument says. Prints their pids.
import os
import sys

processors = sorted(os.sched_getaffinity(0))


def called():
    pass


def make_orphan(number):
    reader, writer = os.pipe()
    os.sched_setaffinity(0, {processors[number % len(processors)]})
    child = os.fork()
    if child == 0:
        os.sched_setaffinity(0, {processors[(number + 1) % len(processors)]})
        if os.fork() == 0:
            for _ in range(int(sys.argv[1])):
                called()
            os.write(writer, str(os.getpid()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    pid = os.read(reader, 64)
    os.close(reader)
    os.close(writer)
    return pid


os.write(1, b"ready\n")
while os.read(0, 64):
    orphans = [make_orphan(number) for number in range(40)]
    os.write(1, b" ".join(orphans) + b"\n")
