# Calls methods of every kind.
import os
import sys


class Base:
    def __init__(self):
        self.value = 1

    def overridden(self):
        return self.value


class Derived(Base):
    def overridden(self):
        return super().overridden()

    @classmethod
    def of_class(cls):
        return cls

    @staticmethod
    def of_nothing():
        return None

    @property
    def attribute(self):
        return self.value

    def __call__(self):
        return self.value

    def __getitem__(self, index):
        return index

    def __add__(self, other):
        return other


os.write(1, b"ready\n")
while os.read(0, 64):
    for _ in range(int(sys.argv[1])):
        it = Derived()
        it.overridden()
        it.of_class()
        it.of_nothing()
        it.attribute
        it()
        it[1], it[2]
        it + 1
    os.write(1, b"done\n")
