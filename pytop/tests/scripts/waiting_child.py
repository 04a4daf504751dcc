# Makes a child that calls a function when it is told to, and prints its pid.
import os
import sys


def in_child():
    pass


from_parent, to_child = os.pipe()
child = os.fork()
if child == 0:
    os.close(to_child)
    os.read(from_parent, 64)
    for _ in range(int(sys.argv[1])):
        in_child()
    os._exit(0)
os.write(1, b"ready\n%d\n" % child)
os.read(0, 64)
os.write(to_child, b"go\n")
os.waitpid(child, 0)
os.write(1, b"done\n")
os.read(0, 64)
