"""Threads, and processes that are made in several ways."""
import _thread
import concurrent.futures
import os
import subprocess
import sys
import threading

from expected import METHOD, expect, forget, report
from watch import watch


def shared(number):
    return number


def by_thread(rounds):
    for number in range(rounds):
        shared(number)
        list(map(shared, (1, 2)))


def generates(rounds):
    for number in range(rounds):
        yield shared(number)


def iterates(rounds):
    for _ in generates(rounds):
        pass


def low_level(lock):
    shared(1)
    lock.release()


class Worker(threading.Thread):
    body = sys._getframe().f_code

    def run(self):
        for number in range(101):
            shared(number)


def threads():
    all_threads = [Worker()]
    for rounds in (103, 107):
        all_threads.append(threading.Thread(target=by_thread, args=(rounds,)))
        all_threads.append(threading.Thread(target=iterates, args=(rounds,)))
    for thread in all_threads:
        thread.start()
    for thread in all_threads:
        thread.join()
    lock = _thread.allocate_lock()
    lock.acquire()
    _thread.start_new_thread(low_level, (lock,))
    lock.acquire()
    with concurrent.futures.ThreadPoolExecutor(3) as executor:
        list(executor.map(shared, range(11)))
    expect(threads)
    expect(Worker.run)
    expect(by_thread, 2)
    expect(iterates, 2)
    expect(generates, 103 + 107 + 2, made=2)
    expect(low_level)
    expect(shared, 101 + (103 + 107) * 4 + 1 + 11)


def in_child(number):
    return number


def after_fork():
    pass


if hasattr(os, "register_at_fork"):  # From 3.7 on.
    os.register_at_fork(before=after_fork, after_in_child=after_fork, after_in_parent=after_fork)


def forks():
    expect(forks)
    for children in (1, 2, 3):
        # What watches would know of itself, but not of what is lost when the child forgets.
        before = watch(None)
        pid = os.fork()
        if pid == 0:
            forget()
            if hasattr(os, "register_at_fork"):
                expect(after_fork)
            watch(before)
            expect(in_child, 29 + children)
            for number in range(29 + children):
                in_child(number)
            expect(in_both, 3)
            for number in range(3):
                in_both(number)
            watch(None)
            report()
            os._exit(0)
        watch(before)
        in_both(1)
        expect(in_both)
        if hasattr(os, "register_at_fork"):
            expect(after_fork, 2)
        os.waitpid(pid, 0)


def in_both(number):
    return number


def subprocesses():
    expect(subprocesses)
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "child.py")
    subprocess.check_call([sys.executable, script, METHOD])


def processes():
    expect(processes)
    threads()
    forks()
    subprocesses()


expect(sys._getframe().f_code)
expect(Worker.body)
