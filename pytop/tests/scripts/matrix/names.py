"""Code with unusual names, and code that is made while the program runs."""
import sys

from expected import expect, nested


def éé():
    pass


def имя():
    pass


def 名前():
    pass


def 𐌰𐌱():
    pass


FILENAMES = [
    "/made/ascii.py",
    "/made/fiancé.py",
    "/made/файл.py",
    "/made/ファイル.py",
    "/made/𐌰𐌱.py",
    "/made/" + "long/" * 113 + "end.py",
    "/made/" + "длинно/" * 79 + "конец.py",
    "<made>",
    "",
]


def unusual():
    for _ in range(7):
        éé()
        имя()
        名前()
        𐌰𐌱()
    for function in (éé, имя, 名前, 𐌰𐌱):
        expect(function, 7)
    expect(unusual)


def executed():
    for filename in FILENAMES:
        for name in ("f", "é", "ж", "名", "𐌰", "n" * 257, "ж" * 131):
            code = compile("def %s():\n pass\n%s()\n%s()\n" % (name, name, name), filename, "exec")
            for _ in range(2):
                exec(code, {})
            expect(code, 2)
            expect(nested(code, code.co_names[0]), 4)
    expect(executed)


def short_lived():
    # Functions that come to lie where others lay, each with another name.
    for number in range(53):
        namespace = {}
        exec(compile("def short_%d():\n pass\n" % number, "/made/short.py", "exec"), namespace)
        function = namespace["short_%d" % number]
        for _ in range(number % 7):
            function()
        expect(function, number % 7)
    expect(compile("1", "/made/short.py", "exec"), 53)
    expect(short_lived)


def names():
    expect(names)
    unusual()
    executed()
    short_lived()


expect(sys._getframe().f_code)
