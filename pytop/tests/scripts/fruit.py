# Calls three functions all the time, each at a rate of its own.
import os
import time


def apple():
    pass


def banana():
    pass


def cherry():
    pass


os.write(1, b"ready\n")
while True:
    for _ in range(3):
        apple()
    for _ in range(13):
        banana()
    for _ in range(7):
        cherry()
    time.sleep(0.01)
