# Two functions take turns at the same place of the stack, each with a callee of its own.
import sys


def of_one():
    pass


def of_two():
    pass


def one():
    for _ in range(50):
        of_one()


def two():
    for _ in range(50):
        of_two()


def turns(number):
    for _ in range(number):
        one()
        two()


turns(int(sys.argv[1]))
