"""Calls functions that take a known time at least, and prints how long they have taken at most.

The first is what they sleep or spin. The second is measured around each call: whatever happens to
come between the two clocks and the call, such as another program's turn, makes it longer.
"""

import json
import operator
import sys
import threading
import time

clock = time.perf_counter
state = threading.local()
taken = {}

# Seconds of a call: without and with those that it makes. Of each run of a generator, and of each of
# the calls within each other, the mean.
AT_LEAST = {
    "sleeps": (0.005, 0.005),
    "spins": (0.005, 0.005),
    "nests": (0.004, 0.014),
    "recurs": (0.002, 0.002),
    "generates": (0.00225, 0.00225),
    "resumes": (0.0, 0.009),
    "fails": (0.003, 0.003),
    "passes_on": (0.002, 0.005),
    "catches": (0.002, 0.007),
    "swallows": (0.002, 0.012),
    "waits": (0.004, 0.004),
}


def timed(function, *arguments):
    """Calls a function, and notes how long it took, and how long without those that it called so."""
    begin = clock()
    name = function.__name__
    if not hasattr(state, "within"):
        state.within = []
        state.running = []
    outermost = name not in state.running
    state.running.append(name)
    state.within.append(0.0)
    start = clock()
    try:
        return function(*arguments)
    finally:
        elapsed = clock() - start
        own = elapsed - state.within.pop()
        state.running.pop()
        taken.setdefault(name, []).append((elapsed, own, elapsed if outermost else 0.0))
        if state.within:
            # This function is none of the caller's own time either.
            state.within[-1] += clock() - begin


def sleeps():
    time.sleep(0.005)


def spins():
    end = clock() + 0.005
    while clock() < end:
        pass


def nests():
    time.sleep(0.004)
    timed(sleeps)
    timed(spins)


def recurs(depth):
    time.sleep(0.002)
    if depth:
        timed(recurs, depth - 1)


def generates():
    for number in range(3):
        time.sleep(0.003)
        yield number


def resumes():
    generator = generates()
    for _ in range(3):
        timed_next(generator)
    try:
        timed_next(generator)
    except StopIteration:
        pass


def timed_next(generator):
    start = clock()
    try:
        return next(generator)
    finally:
        elapsed = clock() - start
        taken.setdefault("generates", []).append((elapsed, elapsed, elapsed))
        if state.within:
            state.within[-1] += clock() - start


def fails():
    time.sleep(0.003)
    raise ValueError


def passes_on():
    time.sleep(0.002)
    timed(fails)


def catches():
    time.sleep(0.002)
    try:
        timed(passes_on)
    except ValueError:
        pass


def raises_again():
    """An exception is raised in one run, and leaves the generator in the next one."""
    try:
        raise AttributeError
    finally:
        yield


class Swallowed:
    """Its attributes raise exceptions that end in C, where `getattr` has another value."""

    def __init__(self):
        self.send = raises_again().send

    sent = property(operator.methodcaller("send", None))

    @property
    def cleaned(self):
        try:
            raise AttributeError
        finally:
            str(self)

    def __str__(self):
        return ""


def swallows():
    """What comes after the exceptions is called by this function, not by those that they have left."""
    time.sleep(0.002)
    swallowed = Swallowed()
    swallowed.send(None)
    getattr(swallowed, "sent", None)
    timed(sleeps)
    getattr(swallowed, "cleaned", None)
    timed(spins)


def brief(number):
    return number


def calls_briefly():
    """Often enough that the functions are taken to last, by a caller in C too."""
    for number in range(3000):
        brief(number)
    sorted(range(3000), key=brief)


def thread():
    for _ in range(10):
        timed(waits)


def waits():
    time.sleep(0.004)


def main():
    for _ in range(10):
        timed(sleeps)
        timed(spins)
        timed(nests)
        timed(recurs, 3)
        timed(resumes)
        timed(catches)
        timed(swallows)
    calls_briefly()
    threads = [threading.Thread(target=thread) for _ in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()


main()
summary = {}
for name, calls in taken.items():
    lengths = sorted(elapsed for elapsed, _, _ in calls)
    summary[name] = {
        "finished": len(calls),
        "own": (AT_LEAST[name][0] * len(calls), sum(own for _, own, _ in calls)),
        "total": (AT_LEAST[name][1] * len(calls), sum(total for _, _, total in calls)),
        "median": lengths[(len(calls) - 1) // 2],
        "longest": lengths[-1],
    }
print(json.dumps(summary), file=sys.stderr)
