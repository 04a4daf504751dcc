"""A workload of known counts: main.py METHOD VARIANT TEMPERATURE.

It enters functions in every way there is, and says what that makes, function by function, as JSON.
A `warm` one does so once before it says `ready`, and that is not to be counted.
"""
import gc
import os
import sys
from calls import calls
from coroutines import coroutines
from expected import EXPECTED, expect, forget, report
from generators import generators
from names import names
from objects import objects
from processes import processes
from watch import watch


def all_kinds():
    expect(all_kinds)
    calls()
    objects()
    generators()
    coroutines()
    names()
    processes()


expect(sys._getframe().f_code)
_, method, variant, temperature = sys.argv
# Collections come when they are asked for.
gc.disable()
if temperature == "warm":
    all_kinds()
    forget()
    # The functions that are running by then have been counted before.
    EXPECTED.clear()
os.write(1, b"ready\n")
os.read(0, 64)
if variant == "switching":
    sys.setswitchinterval(1e-6)
    all_kinds()
else:
    # Code changes when it is watched, and again when it is not.
    all_kinds()
    if variant != "plain":
        watch(variant)
        all_kinds()
        watch(None)
        all_kinds()
report()
os.write(1, b"done\n")
os.read(0, 64)
