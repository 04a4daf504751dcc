# Makes new functions for four seconds, and calls each of them once.
import time

FUNCTIONS = "\n".join("def function_%d(): pass" % number for number in range(50))

end = time.monotonic() + 4
number = 0
while time.monotonic() < end:
    made = {}
    exec(compile(FUNCTIONS, "made_%d" % number, "exec"), made)
    for name, function in made.items():
        if name.startswith("function_"):
            function()
    number += 1
