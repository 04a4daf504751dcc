# Collects garbage and imports modules when told to, and tells how often it has done so and how long
# its collections took: collections, their time, the longest one (nanoseconds), imports.
import gc
import importlib
import os
import sys
import time

sys.dont_write_bytecode = True
gc.disable()
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fresh-%d" % os.getpid())
os.mkdir(FOLDER)
sys.path.insert(0, FOLDER)
lengths = []
start = 0


def on_collection(phase, info):
    global start
    now = time.perf_counter_ns()
    if phase == "start":
        start = now
    else:
        lengths.append(now - start)


def write(name, text):
    with open(os.path.join(FOLDER, name), "w") as file:
        file.write(text)


def prepare(go):
    """Writes modules that nobody has imported yet."""
    for number in range(3):
        write("plain_%d_%d.py" % (go, number), "")
    write("outer_%d.py" % go, "import inner_%d" % go)
    write("inner_%d.py" % go, "")
    os.mkdir(os.path.join(FOLDER, "package_%d" % go))
    write("package_%d/__init__.py" % go, "")
    write("package_%d/one.py" % go, "")
    write("package_%d/two.py" % go, "")
    write("fails_%d.py" % go, "raise ImportError")
    write("unseen_%d.py" % go, "")
    importlib.invalidate_caches()


def load(go):
    """Imports 8 of them in every way that statements have, and fails to import two."""
    for number in range(3):
        __import__("plain_%d_%d" % (go, number))
    for _ in range(2):
        exec("import outer_%d" % go, {})
    exec("import package_%d.one" % go, {})
    exec("from package_%d import two" % go, {})
    for name in ("fails_%d" % go, "missing_%d" % go):
        try:
            __import__(name)
        except ImportError:
            pass


heap = [[number] for number in range(200000)]
# What these import is there from here on.
write("unused.py", "")
importlib.invalidate_caches()
gc.callbacks.append(on_collection)
os.write(1, b"ready\n")
go = 0
while os.read(0, 64):
    prepare(go)
    before = set(sys.modules)
    load(go)
    added = len(set(sys.modules) - before)
    # Python code does this one, and no marker tells of it.
    importlib.import_module("unseen_%d" % go)
    for generation in range(3):
        gc.collect(generation)
    gc.enable()
    for _ in range(20000):
        cycle = []
        cycle.append(cycle)
    gc.disable()
    go += 1
    told = (len(lengths), sum(lengths), max(lengths), added)
    lengths.clear()
    os.write(1, b"%d %d %d %d\n" % told)
