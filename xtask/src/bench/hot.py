"""Calls an idle function in a loop at each line of input; prints the nanoseconds of one call."""

import sys
import time


def f(x):
    return x + 1


def measure(calls):
    numbers = range(calls)
    start = time.perf_counter()
    for number in numbers:
        f(number)
    return (time.perf_counter() - start) / calls * 1e9


print("ready", flush=True)
for line in sys.stdin:
    print(measure(int(line)), flush=True)
