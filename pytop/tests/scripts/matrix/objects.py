"""Methods that other operations call, and the bodies and makers of classes."""
import copy
import sys

from expected import expect


class Meta(type):
    body = sys._getframe().f_code

    def __prepare__(name, bases, **options):
        return {}

    __prepare__ = staticmethod(__prepare__)

    def __new__(meta, name, bases, namespace, **options):
        return super().__new__(meta, name, bases, namespace)

    def __init__(self, name, bases, namespace, **options):
        super().__init__(name, bases, namespace)

    def __call__(self, *arguments):
        return super().__call__(*arguments)

    def __instancecheck__(self, instance):
        return True

    def __subclasscheck__(self, subclass):
        return True

    def __getattr__(self, name):
        return name

    def __iter__(self):
        return iter(())


class Descriptor:
    body = sys._getframe().f_code

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, instance, owner):
        return 1

    def __set__(self, instance, value):
        pass

    def __delete__(self, instance):
        pass


class Everything:
    body = sys._getframe().f_code

    def __new__(cls, value):
        return object.__new__(cls)

    def __init__(self, value):
        self.value = value

    def method(self):
        return self.value

    @classmethod
    def of_class(cls):
        return cls

    @staticmethod
    def of_nothing():
        pass

    @property
    def attribute(self):
        return self.value

    @attribute.setter
    def attribute(self, value):
        self.value = value

    @attribute.deleter
    def attribute(self):
        pass

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return name

    def __call__(self, *arguments):
        return self

    def __eq__(self, other):
        return True

    def __lt__(self, other):
        return False

    def __hash__(self):
        return 1

    def __bool__(self):
        return True

    def __len__(self):
        return 3

    def __contains__(self, item):
        return True

    def __iter__(self):
        self.value = 0
        return self

    def __next__(self):
        self.value += 1
        if self.value > 4:
            raise StopIteration
        return self.value

    def __reversed__(self):
        return iter(())

    def __getitem__(self, index):
        return index

    def __setitem__(self, index, value):
        pass

    def __delitem__(self, index):
        pass

    def __add__(self, other):
        return self

    def __radd__(self, other):
        return self

    def __iadd__(self, other):
        return self

    def __neg__(self):
        return self

    def __index__(self):
        return 1

    def __int__(self):
        return 1

    def __float__(self):
        return 1.0

    def __str__(self):
        return "text"

    def __repr__(self):
        return "text"

    def __format__(self, specification):
        return "text"

    def __bytes__(self):
        return b"bytes"

    def __enter__(self):
        return self

    def __exit__(self, *arguments):
        return True

    def __copy__(self):
        return self

    def __dir__(self):
        return []


class Guarded:
    body = sys._getframe().f_code

    def __init_subclass__(cls, **options):
        super().__init_subclass__()

    def __getattribute__(self, name):
        return object.__getattribute__(self, name)

    def __setattr__(self, name, value):
        object.__setattr__(self, name, value)

    def __delattr__(self, name):
        object.__delattr__(self, name)


class Derived(Guarded):
    body = sys._getframe().f_code
    described = Descriptor()

    def method(self):
        return super().__hash__()


class Absent(dict):
    body = sys._getframe().f_code

    def __missing__(self, key):
        return key


def bodies():
    for _ in range(7):

        class Local(Guarded, metaclass=type):
            body = sys._getframe().f_code

            def method(self):
                pass

        class Made(metaclass=Meta, option=1):
            body = sys._getframe().f_code

        Local().method()
        made = Made()
        isinstance(1, Made)
        issubclass(int, Made)
        Made.absent
        list(Made)
    expect(bodies)
    # Local().method: the instance's __getattribute__ finds it.
    expect(Guarded.__getattribute__, 7)
    expect(Local.method, 7)
    expect(Local.body, 7)
    expect(Made.body, 7)
    expect(Guarded.__init_subclass__, 7)
    expect(Meta.__prepare__, 7)
    expect(Meta.__new__, 7)
    expect(Meta.__init__, 7)
    expect(Meta.__call__, 7)
    expect(Meta.__instancecheck__, 7)
    expect(Meta.__subclasscheck__, 7)
    expect(Meta.__getattr__, 7)
    expect(Meta.__iter__, 7)


def attributes():
    derived = Derived()
    for _ in range(11):
        derived.described
        derived.described = 1
        del derived.described
        derived.other = 1
        derived.other
        del derived.other
        derived.method()
    expect(attributes)
    expect(Descriptor.__get__, 11)
    expect(Descriptor.__set__, 11)
    expect(Descriptor.__delete__, 11)
    expect(Guarded.__setattr__, 22)
    expect(Guarded.__delattr__, 22)
    expect(Guarded.__getattribute__, 33)
    expect(Derived.method, 11)
    absent = Absent()
    for number in range(3):
        absent[number]
    expect(Absent.__missing__, 3)


def operations():
    everything = Everything
    for number in range(11):
        one, other = everything(number), everything(number)
        one.method()
        everything.method(one)
        everything.of_class()
        one.of_nothing()
        one.attribute
        one.attribute = 5
        del one.attribute
        one.absent
        hasattr(one, "_absent")
        one(1, 2)
        one == other
        one < other
        hash(one)
        {one: 1}[other]
        not one
        len(one)
        1 in one
        list(one)
        for _ in one:
            pass
        reversed(one)
        one[1]
        one[1:2]
        one[1] = 2
        del one[1]
        one + 1
        1 + one
        one += 1
        -one
        [1, 2][one]
        int(one)
        float(one)
        str(one)
        "%s" % one
        repr(one)
        format(one)
        "{} {!r}".format(one, one)
        bytes(one)
        with one:
            raise ValueError
        with one as same:
            pass
        copy.copy(one)
        dir(one)
    for name, times in {
        "__new__": 2, "__init__": 2, "method": 2, "of_class": 1, "of_nothing": 1,
        "__getattr__": 2, "__call__": 1, "__eq__": 2, "__lt__": 1, "__hash__": 3, "__bool__": 1,
        # list() asks for the length, and in 3.8 and 3.9 (list___init___impl of
        # Objects/listobject.c) once more, to make room.
        "__len__": 3 if (3, 8) <= sys.version_info < (3, 10) else 2, "__contains__": 1, "__iter__": 2, "__next__": 10, "__reversed__": 1,
        "__getitem__": 2, "__setitem__": 1, "__delitem__": 1, "__add__": 1, "__radd__": 1,
        "__iadd__": 1, "__neg__": 1, "__index__": 1, "__int__": 1, "__float__": 1, "__str__": 2,
        "__repr__": 2, "__format__": 2, "__bytes__": 1, "__enter__": 2, "__exit__": 2,
        "__copy__": 1, "__dir__": 1,
    }.items():
        expect(getattr(Everything, name), 11 * times)
    for part in ("fget", "fset", "fdel"):
        expect(getattr(Everything.attribute, part), 11)
    expect(operations)


def objects():
    expect(objects)
    bodies()
    attributes()
    operations()


for name in ("Meta", "Descriptor", "Everything", "Guarded", "Derived", "Absent"):
    expect(vars(globals()[name])["body"])
expect(Guarded.__init_subclass__)
expect(Descriptor.__set_name__)
expect(sys._getframe().f_code)
