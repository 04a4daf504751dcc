# Calls functions and ends.
import sys


def called():
    pass


def last():
    pass


for _ in range(int(sys.argv[1])):
    called()
last()
