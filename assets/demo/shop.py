"""A small shop that is busy with itself: something for pytop to count.

    python3 shop.py

runs one till, two kitchens and a bookkeeper, each a process of its own, on any Python from 3.6 on.
They use little of the machine: each does a bit of work and then sleeps. The shop is open as long
as its standard input is, so it ends with whatever started it; in a terminal, Enter closes it.
"""

import asyncio
import collections
import os
import random
import select
import sys

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


# The till: generators that feed each other.


def guests(seed):
    chance = random.Random(seed)
    number = 0
    while True:
        number += 1
        wanted = chance.sample(sorted(MENU), chance.randint(1, 4))
        yield Order(number, wanted, chance.randint(1, 12))


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
        for _ in range(25):
            takings += Bill(next(orders)).discounted()


# The kitchen: recursion, and a cache that forgets.


class Kitchen:
    def __init__(self):
        self.prepared = {}

    def cook(self, dish, depth=0):
        if dish not in RECIPES:
            return self.buy(dish)
        return 1 + sum(self.cook(part, depth + 1) for part in RECIPES[dish])

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
    place = Kitchen()
    while not closed(0.1):
        for _ in range(10):
            for dish in MENU:
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
        await asyncio.gather(*[reconcile(number) for number in range(40)])
        await asyncio.sleep(0.2)


def bookkeeper():
    asyncio.set_event_loop(asyncio.new_event_loop())
    asyncio.get_event_loop().run_until_complete(bookkeeping())


def main():
    children = []
    for work in (till, kitchen, kitchen, bookkeeper):
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
        children.append(child)
    print("the shop is open", flush=True)
    status = 0
    for child in children:
        try:
            status |= os.waitpid(child, 0)[1]
        except KeyboardInterrupt:
            pass
    sys.exit(1 if status else 0)


if __name__ == "__main__":
    main()
