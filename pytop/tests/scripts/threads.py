# Calls functions in several threads at once.
import os
import sys
import threading


def shared():
    pass


def first():
    for _ in range(int(sys.argv[1])):
        shared()


def second():
    for _ in range(int(sys.argv[1])):
        shared()
        own()


def own():
    pass


os.write(1, b"ready\n")
while os.read(0, 64):
    threads = [threading.Thread(target=function) for function in (first, second, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(1, b"done\n")
