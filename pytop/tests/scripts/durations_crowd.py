"""Has more functions and more threads than have a place of their own."""

import threading

FUNCTIONS = 20_000
THREADS = 2_500


def leaf(number):
    return 1


def works():
    leaf(0)
    started.release()
    go.wait()
    leaf(0)


text = "".join("def f%d(): pass\n" % number for number in range(FUNCTIONS))
functions = {}
exec(compile(text, __file__, "exec"), functions)
for name in sorted(name for name in functions if name.startswith("f")):
    functions[name]()
    functions[name]()

threading.stack_size(65_536)
started, go = threading.Semaphore(0), threading.Event()
threads = [threading.Thread(target=works) for _ in range(THREADS)]
for thread in threads:
    thread.start()
for thread in threads:
    started.acquire()
go.set()
for thread in threads:
    thread.join()
