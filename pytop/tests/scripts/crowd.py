# Makes children by os.fork, each with functions of its own, and prints their pids. In each round, of
# which there are two, all children call their functions: once to three times, by their number.
#
# Arguments: the number of children, and of the functions of each.
import gc
import os
import sys

CHILDREN, FUNCTIONS = int(sys.argv[1]), int(sys.argv[2])


def live(child):
    names = {}
    source = "".join("def f%d(): pass\n" % number for number in range(FUNCTIONS))
    exec(compile(source, "/crowd/%d.py" % child, "exec"), names)
    functions = [names["f%d" % number] for number in range(FUNCTIONS)]
    os.write(done, b".")
    for begins in rounds:
        os.read(begins, 1)
        for number, function in enumerate(functions):
            for _ in range(number % 3 + 1):
                function()
        os.write(done, b".")
    os.read(end, 1)


def wait():
    waiting = CHILDREN
    while waiting:
        waiting -= len(os.read(is_done, waiting))


# What is not written to is shared.
gc.disable()
is_done, done = os.pipe()
# Each of these begins for all children at once, when its other end is closed.
begin = [os.pipe() for _ in range(3)]
*rounds, end = [reader for reader, _ in begin]
children = []
for child in range(CHILDREN):
    pid = os.fork()
    if pid == 0:
        for _, writer in begin:
            os.close(writer)
        live(child)
        os._exit(0)
    children.append(pid)
wait()
os.write(1, b"ready\n")
os.write(1, " ".join(map(str, children)).encode() + b"\n")
for _, writer in begin[:2]:
    os.read(0, 64)
    os.close(writer)
    wait()
    os.write(1, b"done\n")
os.read(0, 64)
os.close(begin[2][1])
for child in children:
    os.waitpid(child, 0)
