# Calls a function until it is ended, and tells each time that it has done so a thousand times.
import os


def called():
    pass


os.write(1, b"ready\n")
os.read(0, 64)
while True:
    for _ in range(1013):
        called()
    os.write(1, b"another 1013\n")
