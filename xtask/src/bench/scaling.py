import sys
import time

functions = []
for number in range(FUNCTIONS):
    names = {}
    source = "def function_%d(x):\n    return x + 1\n" % number
    exec(compile(source, "/srv/application/module_%d.py" % (number // 50), "exec"), names)
    functions.append(names["function_%d" % number])


def measure(calls):
    rounds, rest = divmod(calls, len(functions))
    start = time.process_time()
    for _ in range(rounds):
        for function in functions:
            function(1)
    for function in functions[:rest]:
        function(1)
    return (time.process_time() - start) / calls * 1e9


print("ready", flush=True)
for line in sys.stdin:
    print(measure(int(line)), flush=True)
