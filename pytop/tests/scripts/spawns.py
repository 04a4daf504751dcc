# Starts other interpreters by subprocess, prints their pids, and calls a function meanwhile.
import os
import subprocess
import sys


def called():
    pass


os.write(1, b"ready\n")
while os.read(0, 64):
    short = os.path.join(os.path.dirname(__file__), "short.py")
    children = [
        subprocess.Popen([sys.executable, "-S", short, str(int(sys.argv[1]) + number)])
        for number in (1, 2, 3)
    ]
    for _ in range(int(sys.argv[1])):
        called()
    for child in children:
        child.wait()
    os.write(1, " ".join(str(child.pid) for child in children).encode() + b"\n")
