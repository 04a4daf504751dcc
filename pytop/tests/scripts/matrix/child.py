"""A process that the workload starts: it becomes another one, and that one calls."""
import os
import sys

from expected import expect, report


def called():
    pass


expect(sys._getframe().f_code)
if len(sys.argv) == 2:
    for _ in range(17):
        called()
    expect(called, 17)
    report()
    os.execv(sys.executable, [sys.executable, __file__, sys.argv[1], "again"])
for _ in range(19):
    called()
expect(called, 19)
report()
