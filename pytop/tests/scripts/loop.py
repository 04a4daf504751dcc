# Calls one function as often as it is told.
import os
import sys


def called():
    pass


os.write(1, b"ready\n")
os.read(0, 64)
for _ in range(int(sys.argv[1])):
    called()
os.write(1, b"done\n")
os.read(0, 64)
