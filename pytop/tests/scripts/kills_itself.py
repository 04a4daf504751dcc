# Calls a function and dies.
import os


def called():
    pass


for _ in range(1009):
    called()
os.kill(os.getpid(), 9)
