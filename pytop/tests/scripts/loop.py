# Calls one function.
import os
import sys


def called():
    pass


os.write(1, b"ready\n")
while os.read(0, 64):
    for _ in range(int(sys.argv[1])):
        called()
    os.write(1, b"done\n")
