# Calls functions that call themselves and one another.
import os
import sys


def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def even(n):
    return n == 0 or odd(n - 1)


def odd(n):
    return n != 0 and even(n - 1)


os.write(1, b"ready\n")
while os.read(0, 64):
    for _ in range(int(sys.argv[1])):
        fibonacci(7)
        even(100)
    os.write(1, b"done\n")
