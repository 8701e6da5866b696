"""Hostile clients of one kind or several, in a process of their own: attack.py JSON. Each is a coroutine that opens one connection
and misuses it; when the server closes it, another one is opened. The process has a low priority, as attackers have processors of
their own. Prints `ready` when every client has had its turn once, or after some seconds, and counts when it ends."""
import asyncio
import json
import os
import random
import signal
import ssl
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "e2e"))

import kinds
import kinds_https
import kinds_quic
from clients import KINDS, Client
from processes import Child

# Each adds its kinds to KINDS.
FILES_OF_KINDS = (kinds, kinds_https, kinds_quic)
# The pause before a client whose connection was closed comes back.
AGAIN = 1.0
# The attack has begun after this time, also if the machine is too busy for a turn of every client.
READY_SECONDS = 8


class Attack:
    """with Attack(dir, "tcp_deaf", node.udp, count=200): ..., or with Attack(dir, {"tcp_deaf": 200, "silent": 50}, node.udp): ..."""

    def __init__(self, dir, who, server, count=1, sources=1, wait=30, **spec):
        counts = {who: count} if isinstance(who, str) else who
        spec = dict(kinds=counts, server=server, sources=sources, **spec)
        self.child = Child([sys.executable, __file__, json.dumps(spec)], dir, f"attack-{next(iter(counts))}-{random.randrange(1 << 32):x}")
        self.wait = wait

    def __enter__(self):
        if self.wait:
            self.child.wait_line("^ready", self.wait)
        return self

    def __exit__(self, *_):
        self.child.end()

    def finish(self):
        """{"opened", "closed", "turns"}"""
        return self.child.result(bound=60)


class Siege:
    def __init__(self, spec):
        self.spec = spec
        self.counts = {"opened": 0, "closed": 0, "turns": 0}
        self.is_over = False
        self.begun = 0

    async def one(self, client):
        is_first = True
        while not self.is_over:
            turn = asyncio.create_task(self.turn(client))
            if is_first:
                await asyncio.wait([turn], timeout=0.5)
                self.begun += 1
                is_first = False
            await turn
            self.counts["closed"] += 1
            await asyncio.sleep(AGAIN)

    async def turn(self, client):
        try:
            await KINDS[client.kind](client)
        except (OSError, ConnectionError, TimeoutError, ssl.SSLError) as gone:
            self.counts[type(gone).__name__] = self.counts.get(type(gone).__name__, 0) + 1

    async def run(self):
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        clients = [Client(self, kind, number) for kind, count in self.spec["kinds"].items() for number in range(count)]
        random.shuffle(clients)
        opening = asyncio.create_task(self.open_all(clients))
        deadline = loop.time() + self.spec.get("ready", READY_SECONDS)
        while self.begun < len(clients) and not stop.is_set() and loop.time() < deadline:
            await asyncio.sleep(0.02)
        print("ready", json.dumps(self.counts), flush=True)
        await stop.wait()
        self.is_over = True
        opening.cancel()
        print(json.dumps(self.counts), flush=True)
        os._exit(0)

    async def open_all(self, clients):
        self.tasks = []
        for client in clients:
            self.tasks.append(asyncio.create_task(self.one(client)))
            await asyncio.sleep(1 / self.spec.get("per_second", 400))


if __name__ == "__main__":
    os.nice(10)
    asyncio.run(Siege(json.loads(sys.argv[1])).run())
