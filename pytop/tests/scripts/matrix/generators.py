"""Generators, driven in every way."""
import contextlib
import sys

from expected import expect, nested


def three():
    yield 1
    yield 2
    yield 3


def delegates():
    yield from three()
    return 4


def delegates_twice():
    yield from delegates()


def receives():
    received = yield
    while received:
        received = yield received


def catches():
    while True:
        try:
            yield 1
        except ValueError:
            pass


def catches_and_ends():
    try:
        yield 1
    except ValueError:
        return


def goes_on():
    # Its inner generator ends when it is thrown into.
    yield from catches_and_ends()
    yield 2


def abandoned():
    yield 1
    yield 2


def tree(depth):
    if depth:
        yield from tree(depth - 1)
        yield depth
        yield from tree(depth - 1)


def driven():
    for _ in range(11):
        for _ in three():
            pass
        list(three())
        first, second, third = three()
        sum(1 for _ in delegates_twice())
    expect(driven)
    # Each is made once, started once, and goes on after each of its yields.
    expect(three, 44 * 4, made=44)
    expect(delegates, 11 * 4, made=11)
    expect(delegates_twice, 11 * 4, made=11)
    # Made with what it runs over; it ends when that ends.
    expect(nested(driven, "<genexpr>"), 11 * 4, made=11)


def expressions():
    total = 0
    for _ in range(5):
        total += sum(a for a in range(7))
        any(a > 3 for a in range(7))
        list((a, b) for a in range(3) for b in range(5))
        (a for a in ())
    expect(expressions)
    codes = []
    for code in expressions.__code__.co_consts:
        if getattr(code, "co_name", None) == "<genexpr>":
            codes.append(code)
    expect(codes[0], 5 * 8, made=5)
    # Left at the fifth, and then closed.
    expect(codes[1], 5 * 5, made=5, thrown=5)
    expect(codes[2], 5 * 16, made=5)
    # Never started, but closed.
    expect(codes[3], 0, made=5, thrown=5)


def sent():
    for _ in range(13):
        generator = receives()
        next(generator)
        generator.send(3)
        generator.send(2)
        next(generator, None)
    expect(sent)
    expect(receives, 13 * 4, made=13)


def thrown_into():
    for _ in range(7):
        generator = catches()
        next(generator)
        generator.throw(ValueError())
        generator.throw(ValueError())
        next(generator)
        generator.close()
        generator = goes_on()
        next(generator)
        generator.throw(ValueError())
        next(generator, None)
        unstarted = abandoned()
        try:
            unstarted.throw(ValueError())
        except ValueError:
            pass
    expect(thrown_into)
    expect(catches, 7 * 2, made=7, thrown=7 * 3)
    expect(catches_and_ends, 7, made=7, thrown=7)
    # It goes on regularly when its inner generator returns, but by throw().
    expect(goes_on, 7 * 2, made=7, thrown=7)
    expect(abandoned, 0, made=7, thrown=7)


def ended_early():
    for _ in range(7):
        for _ in abandoned():
            break
        abandoned()
        generator = delegates()
        next(generator)
        next(generator)
        generator.close()
        generator.close()
    expect(ended_early)
    # One is closed after it began, and one before.
    expect(abandoned, 7, made=14, thrown=14)
    expect(delegates, 14, made=7, thrown=7)
    expect(three, 14, made=7, thrown=7)


def recursive():
    list(tree(4))
    expect(recursive)
    # A tree of depth d yields 2**d - 1 times; each generator is entered once more than it yields.
    expect(tree, sum_of_tree(4), made=31)


def sum_of_tree(depth):
    expect(sum_of_tree)
    here = 2 ** depth
    return here + (2 * sum_of_tree(depth - 1) if depth else 0)


@contextlib.contextmanager
def manager():
    try:
        yield 1
    except ValueError:
        pass


def managers():
    for _ in range(5):
        with manager():
            pass
        with manager():
            raise ValueError
    expect(managers)
    expect(manager.__wrapped__, 5 * 3, made=10, thrown=5)


def generators():
    expect(generators)
    driven()
    expressions()
    sent()
    thrown_into()
    ended_early()
    recursive()
    managers()


expect(sys._getframe().f_code)
