# Leaves functions by exceptions.
import os
import sys

def raises():
    raise ValueError

def passes_on():
    try:
        raises()
    finally:
        cleans_up()

def cleans_up():
    pass

def catches():
    try:
        passes_on()
    except ValueError:
        handles()

def handles():
    pass

def never():
    pass

os.write(1, b"ready\n")
while os.read(0, 64):
    for _ in range(int(sys.argv[1])):
        catches()
        try:
            raises()
            never()
        except ValueError:
            pass
    os.write(1, b"done\n")
