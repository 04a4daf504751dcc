# Gives one function names that are told in hexadecimal, FILENAME:FUNCTION, and calls it, once more
# for each pair than for the one before.
import os
import sys


def called():
    pass


os.write(1, b"ready\n")
os.read(0, 64)
for calls, names in enumerate(sys.argv[1:], 1):
    filename, function = names.split(":")
    called.__code__ = called.__code__.replace(
        co_filename=bytes.fromhex(filename).decode(), co_name=bytes.fromhex(function).decode()
    )
    for _ in range(calls):
        called()
os.write(1, b"done\n")
os.read(0, 64)
