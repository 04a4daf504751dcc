"""What should be counted in this process, as the workload knows it from its own loops.

Every function of the workload tells `expect` how often it is called. What is counted differs
between methods and versions in a few cases, and those are known in one place, `calls_counted`.
"""
import itertools
import json
import os
import sys

METHOD = sys.argv[1]
GENERATORS_COUNT_WHEN_MADE = METHOD == "marker" and sys.version_info >= (3, 11)

# How often which function is entered: file, name, first line. Code objects would not do: two that
# differ in their files only are equal.
EXPECTED = {}


def calls_counted(calls, thrown, made, refused):
    if METHOD == "resume":
        # A frame that is entered by throw() or close() goes on where its exception is handled, and
        # runs no RESUME. A call that is refused, as the recursion is too deep, runs nothing.
        return calls
    if METHOD == "eval":
        # The function that evaluates frames refuses itself, after it was entered.
        return calls + thrown + refused
    if GENERATORS_COUNT_WHEN_MADE:
        # The marker of 3.15 is in RESUME and in RETURN_GENERATOR, which makes a generator.
        return calls + made
    # The marker of 3.6 to 3.10 comes after the check of the recursion.
    return calls + thrown


def expect(function, calls=1, thrown=0, made=0, refused=0):
    """A function or code object begins, or goes on after a yield, `calls` times; `thrown` times it
    goes on by throw() or close(); `made` generators are made of it."""
    for code, times in (
        (getattr(function, "__code__", function), calls_counted(calls, thrown, made, refused)),
        (expect.__code__, 1),
        (calls_counted.__code__, 1),
    ):
        row = code.co_filename, code.co_name, code.co_firstlineno
        EXPECTED[row] = EXPECTED.get(row, 0) + times


def nested(function, name):
    """The code object of this name within a function, if the compiler has made one: comprehensions
    have none from 3.12 on."""
    expect(nested)
    for constant in getattr(function, "__code__", function).co_consts:
        if getattr(constant, "co_name", None) == name:
            return constant


class Ticks:
    """How often a callback is called that has no caller who knows. The callback calls `tick`, which
    is written in C, so that this makes no calls of its own."""

    def __init__(self, function):
        expect(Ticks.__init__)
        self.function = function
        self.ticks = itertools.count()
        self.tick = self.ticks.__next__
        self.taken = 0

    def take(self):
        expect(Ticks.take)
        # Asking is one tick more.
        now = self.tick()
        expect(self.function, now - self.taken)
        self.taken = now + 1


TICKS = []


def forget():
    """Begins anew: what was called so far is not counted."""
    EXPECTED.clear()
    for ticks in TICKS:
        ticks.taken = ticks.tick() + 1
    expect(forget)


def report():
    """Prints what should be counted, as one line of JSON."""
    expect(report)
    for ticks in TICKS:
        ticks.take()
    rows = []
    for row, calls in EXPECTED.items():
        if calls > 0:
            rows.append(list(row) + [calls])
    line = json.dumps({"pid": os.getpid(), "rows": rows}) + "\n"
    data = line.encode()
    while data:
        data = data[os.write(1, data):]


expect(sys._getframe().f_code)
expect(nested(sys._getframe().f_code, "Ticks"))
