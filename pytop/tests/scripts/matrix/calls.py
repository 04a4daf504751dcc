"""Calls of functions by functions, and by C code."""
import codecs
import functools
import gc
import operator
import os
import re
import signal
import sys
import weakref

from expected import expect, nested
from watch import watch

try:
    import ctypes
except ImportError:  # Some builds are without libffi.
    ctypes = None


def plain(a):
    return a


def with_defaults(a, b=2, *rest, c=3, **others):
    return plain(a)


def inlined():
    for number in range(31):
        plain(number)
        plain(a=number)
        with_defaults(number)
        with_defaults(number, 5, 7, c=11, d=13)
        with_defaults(*(1, 2, 3), **{"e": 17})
    expect(inlined)
    expect(with_defaults, 31 * 3)
    expect(plain, 31 * (2 + 3))


def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def even(n):
    return n == 0 or odd(n - 1)


def odd(n):
    return n != 0 and even(n - 1)


def too_deep(depth):
    DEPTH[0] = depth
    too_deep(depth + 1)


DEPTH = [0]


def recursion():
    fibonacci(7)
    even(19)
    expect(recursion)
    expect(fibonacci, 41)
    expect(even, 10)
    expect(odd, 10)
    # A callback would run into the limit, too.
    before = watch(None)
    try:
        too_deep(1)
    except RecursionError:
        pass
    expect(too_deep, DEPTH[0], refused=1)
    watch(before)


def closures():
    def add(a):
        nonlocal total
        total += a
        return lambda: total

    total = 0
    for number in range(13):
        add(number)()
    expect(closures)
    expect(add, 13)
    expect(nested(add, "<lambda>"), 13)


def comprehensions():
    [plain(a) for a in range(5)]
    {plain(a) for a in range(7)}
    {plain(a): plain(a) for a in range(11)}
    [[plain(b) for b in range(3)] for _ in range(2)]
    expect(comprehensions)
    expect(plain, 5 + 7 + 2 * 11 + 6)
    for code in comprehensions.__code__.co_consts:
        if getattr(code, "co_name", None) in ("<listcomp>", "<setcomp>", "<dictcomp>"):
            expect(code)
            if nested(code, "<listcomp>"):
                expect(nested(code, "<listcomp>"), 2)


def key(item):
    return -item


def both(left, right):
    return left + right


def compare(left, right):
    return left - right


@functools.lru_cache(maxsize=None)
def cached(item):
    return item


def wraps(function):
    @functools.wraps(function)
    def wrapper(*arguments):
        return function(*arguments)

    return wrapper


@wraps
def wrapped(item):
    return item


def replacement(match):
    return "b"


def on_codec_error(error):
    return "?", error.end


def sentinel():
    SENTINEL[0] += 1
    return SENTINEL[0]


SENTINEL = [0]


def from_c():
    sorted([3, 1, 2, 5, 4], key=key)
    [3, 1].sort(key=key)
    min(3, 1, 2, key=key)
    list(map(key, range(17)))
    list(filter(key, range(19)))
    functools.reduce(both, range(23))
    sorted([1, 2], key=functools.cmp_to_key(compare))
    cached.cache_clear()
    for number in (1, 1, 2, 3, 2):
        cached(number)
    functools.partial(both, 1)(2)
    operator.methodcaller("__call__", 1)(key)
    wrapped(1)
    wrapped(2)
    re.sub("a", replacement, "abaca")
    "éaé".encode("ascii", "matrix")
    SENTINEL[0] = 0
    list(iter(sentinel, 7))
    expect(from_c)
    expect(key, 5 + 2 + 3 + 17 + 19 + 1)
    expect(both, 22 + 1)
    expect(compare, 1)
    expect(cached.__wrapped__, 3)
    expect(wrapped, 2)
    expect(wrapped.__wrapped__, 2)
    expect(replacement, 3)
    expect(on_codec_error, 2)
    expect(sentinel, 7)


codecs.register_error("matrix", on_codec_error)


def called_back(number):
    return number + 1


def by_ctypes():
    expect(by_ctypes)
    if ctypes is not None:
        callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(called_back)
        for number in range(11):
            callback(number)
        expect(called_back, 11)


class Node:
    code = sys._getframe().f_code

    def __del__(self):
        plain(1)


def on_weakref(reference):
    plain(reference)


def on_finalize(number):
    plain(number)


def on_collection(phase, info):
    plain(phase)


def garbage():
    for number in range(5):
        node = Node()
        reference = weakref.ref(node, on_weakref)
        weakref.finalize(node, on_finalize, number)
        del node
        cycle = Node()
        cycle.itself = cycle
        del cycle, reference
    gc.callbacks.append(on_collection)
    gc.collect()
    gc.collect()
    gc.callbacks.remove(on_collection)
    expect(garbage)
    expect(on_weakref, 5)
    expect(on_finalize, 5)
    expect(on_collection, 4)
    expect(Node.__del__, 10)
    expect(plain, 5 + 5 + 4 + 10)


def on_signal(number, frame):
    HANDLED.append(number)


HANDLED = []


def signals():
    before = signal.signal(signal.SIGUSR1, on_signal)
    del HANDLED[:]
    for number in range(1, 8):
        os.kill(os.getpid(), signal.SIGUSR1)
        while len(HANDLED) < number:
            pass
    signal.signal(signal.SIGUSR1, before)
    expect(signals)
    expect(on_signal, 7)


def raises():
    raise ValueError


def passes_on():
    try:
        raises()
    finally:
        plain(1)


def exceptions():
    for _ in range(13):
        try:
            passes_on()
        except ValueError:
            plain(2)
    try:
        list(map(len, map(key, ["text"])))
    except TypeError:
        pass
    expect(exceptions)
    expect(passes_on, 13)
    expect(raises, 13)
    expect(plain, 13 * 2)
    expect(key, 1)


def calls():
    expect(calls)
    inlined()
    recursion()
    closures()
    comprehensions()
    from_c()
    by_ctypes()
    garbage()
    signals()
    exceptions()


expect(sys._getframe().f_code)
expect(wraps)
expect(Node.code)
