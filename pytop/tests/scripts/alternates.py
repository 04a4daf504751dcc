# Two functions take turns at the same place of the stack, each with a callee of its own.
import os


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


os.write(1, b"ready\n")
while os.read(0, 64):
    turns(400)
    os.write(1, b"done\n")
