# Calls one function some hundred times a second, for ever, or the number of rounds that is told.
import os
import sys
import time


def called():
    pass


os.write(1, b"ready\n")
rounds = int(sys.argv[1]) if len(sys.argv) > 1 else -1
while rounds:
    for _ in range(7):
        called()
    time.sleep(0.01)
    rounds -= 1
