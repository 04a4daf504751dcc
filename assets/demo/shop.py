"""A small restaurant that is busy with itself: something for pytop to count.

    python3 shop.py

runs a till, a kitchen, a bakery, a bookkeeper and couriers, each a process of its own, on any Python
from 3.6 on. They use little of the machine: each does a bit of work and then sleeps, and guests come
in waves. The shop is open as long as its standard input is, so it ends with whatever started it; in
a terminal, Enter closes it.
"""

import asyncio
import collections
import math
import os
import random
import select
import sys
import time

Order = collections.namedtuple("Order", "number items table")

MENU = {"tea": 210, "soup": 590, "bread": 180, "curry": 1290, "cake": 450}

# What a dish is made of; whatever is not a key is bought.
RECIPES = {
    "tea": ["water", "leaves"],
    "soup": ["stock", "leek", "salt"],
    "stock": ["water", "bones", "salt"],
    "bread": ["dough", "salt"],
    "dough": ["flour", "water", "yeast"],
    "curry": ["rice", "sauce", "stock"],
    "rice": ["grain", "water"],
    "sauce": ["stock", "spice", "cream"],
    "cake": ["dough", "cream", "fruit"],
}


def closed(seconds):
    """Sleep; true once the shop has to close."""
    return bool(select.select([sys.stdin], [], [], seconds)[0])


def busy(most, period, share=0.45):
    """How much there is to do: between nothing and the most, in waves of so many seconds."""
    wave = math.sin(time.time() * 2 * math.pi / period)
    return int(most * (1 - share + share * wave))


# The till: generators that feed each other.


def guests(seed):
    chance = random.Random(seed)
    number = 0
    while True:
        number += 1
        wanted = chance.sample(sorted(MENU), 2 + number % 2)
        yield Order(number, wanted, number % 12)


def paying(orders):
    for order in orders:
        if order.table != 7:  # The owner's table.
            yield order


def price(item):
    return MENU[item]


class Bill:
    def __init__(self, order):
        self.order = order

    @property
    def total(self):
        return sum(price(item) for item in self.order.items)

    def discounted(self):
        return with_tax(self.total * 9 // 10)


def with_tax(cents):
    return cents * 107 // 100


def till():
    orders = paying(guests(os.getpid()))
    takings = 0
    while not closed(0.05):
        for _ in range(busy(26, 47)):
            takings += Bill(next(orders)).discounted()


# The kitchen and the bakery: recursion, and a larder that forgets.


class Kitchen:
    def __init__(self, dishes):
        self.dishes = dishes
        self.prepared = {}

    def cook(self, dish):
        effort = 1
        for part in RECIPES.get(dish, ()):
            effort += self.cook(part) if part in RECIPES else self.buy(part)
        return effort

    def buy(self, ingredient):
        return len(ingredient)

    def serve(self, dish):
        try:
            return self.prepared[dish]
        except KeyError:
            effort = self.prepared[dish] = self.cook(dish)
            return effort

    def clean_up(self):
        self.prepared.clear()


def kitchen():
    place = Kitchen(["soup", "curry", "soup", "tea"])
    while not closed(0.1):
        for _ in range(busy(24, 31)):
            for dish in place.dishes:
                place.serve(dish)
            place.clean_up()


def bakery():
    place = Kitchen(["bread", "cake"])
    while not closed(0.1):
        for _ in range(busy(18, 73, 0.5)):
            for dish in place.dishes:
                place.serve(dish)
            place.clean_up()


# The bookkeeper: coroutines.


async def fetch_account(number):
    await asyncio.sleep(0.01)
    return {"number": number, "balance": number * 997 % 1000}


def validate(account):
    return account["balance"] >= 0


async def reconcile(number):
    account = await fetch_account(number)
    return validate(account)


async def bookkeeping():
    while not closed(0):
        await asyncio.gather(*[reconcile(number) for number in range(busy(30, 19))])
        await asyncio.sleep(0.25)


def bookkeeper():
    asyncio.set_event_loop(asyncio.new_event_loop())
    asyncio.get_event_loop().run_until_complete(bookkeeping())


# The couriers: each drives once, in a process that lives for a moment.


def route(stops):
    if len(stops) < 2:
        return 0
    first, second = stops[:2]
    return abs(first - second) + route(stops[1:])


def deliver():
    stops = [number * 37 % 101 for number in range(60)]
    for _ in range(30):
        route(stops)


def couriers():
    while not closed(2.5):
        os.waitpid(start(deliver), 0)


def start(work):
    """Do something in a new process."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except KeyboardInterrupt:
            status = 0
        finally:
            os._exit(status)
    return child


def main():
    children = [start(work) for work in (till, kitchen, bakery, bookkeeper, couriers)]
    print("the shop is open", flush=True)
    failed = False
    for child in children:
        try:
            failed |= os.waitpid(child, 0)[1] != 0
        except KeyboardInterrupt:
            pass
    sys.exit(failed)


if __name__ == "__main__":
    main()
