"""Random faults of an exclusive name: its active endpoint and the holder of its lease are killed, paused for longer than the
lease, and cut off from NATS, on three real NATS servers. No epoch ever has two endpoints.

PORTOLAN_FAULTS=50 makes as many; PORTOLAN_SEED repeats a run."""
import os
import random
import select
import signal
import socket
import statistics
import threading
import time

from exclusive import ENDPOINTS, NAME, Fleet, Watcher
from nats import NatsCluster
from processes import wait_until

FAULTS = int(os.environ.get("PORTOLAN_FAULTS", 5))
SEED = int(os.environ.get("PORTOLAN_SEED", 0)) or random.SystemRandom().randrange(1, 10**6)
# With this many the median means something. docs/exclusive.md says how long a promotion takes; that is on a machine that does
# nothing else.
ENOUGH, MEDIAN = 40, 3.0


class Cable:
    """A TCP relay to `to` that can be cut: then it passes nothing on, and closes nothing, as a cut cable does."""

    def __init__(self, to):
        self.to, self.is_cut, self.going = to, threading.Event(), True
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while self.going:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client):
        self._wait()
        try:
            server = socket.create_connection(self.to, 5)
        except OSError:
            client.close()
            return
        pairs = {client: server, server: client}
        try:
            while self.going:
                for one in select.select(list(pairs), [], [], 0.2)[0]:
                    self._wait()
                    data = one.recv(65536)
                    if not data:
                        return
                    pairs[one].sendall(data)
        except OSError:
            pass
        finally:
            client.close()
            server.close()

    def _wait(self):
        while self.is_cut.is_set() and self.going:
            time.sleep(0.02)

    def cut(self):
        self.is_cut.set()

    def heal(self):
        self.is_cut.clear()

    def end(self):
        self.going = False
        self.listener.close()


class Faults:
    """One fault at a time, and its end."""

    def __init__(self, fleet, members, cables, cluster, chance):
        self.fleet, self.members, self.cables, self.cluster, self.chance = fleet, members, cables, cluster, chance
        self.heal = []

    def strike(self, active):
        """A fault of the active endpoint; every other time something else fails with it. Returns what, and the servers that
        can notice."""
        endpoint, fleet = self.members[active], self.fleet
        able = list(range(len(fleet.nodes)))
        what = [self.chance.choice(["killed", "paused"])]
        more = self.chance.choice(["", "", "", "holder killed", "holder paused", "holder cut off", "a NATS server killed"])
        if more.startswith("holder"):
            holder = fleet.holder()
            able.remove(holder)
            getattr(self, more.replace(" ", "_"))(holder)
        elif more:
            server = self.chance.choice(self.cluster.servers)
            server.kill()
            self.heal.append(server.start)
        if what[0] == "killed":
            endpoint.kill()
            self.heal.append(endpoint.start)
        else:
            endpoint.stop()
            self.heal.append(endpoint.go_on)
        return " with ".join(filter(None, [f"{active} {what[0]}", more])), able

    def holder_killed(self, i):
        self.fleet.nodes[i].child.process.kill()
        self.fleet.nodes[i].child.wait()
        self.heal.append(lambda: self.fleet.start(i))

    def holder_paused(self, i):
        self.fleet.nodes[i].child.signal(signal.SIGSTOP)
        self.heal.append(lambda: self.fleet.nodes[i].child.signal(signal.SIGCONT))

    def holder_cut_off(self, i):
        self.cables[i].cut()
        self.heal.append(self.cables[i].heal)

    def end(self):
        while self.heal:
            self.heal.pop()()


def test_random_faults_never_make_two_masters(dir, endpoints, figure):
    print(f"seed {SEED}")
    signal.alarm(240 + 60 * FAULTS)
    chance = random.Random(SEED)
    times = []
    with NatsCluster(dir) as cluster:
        members = {name: endpoints(name) for name in ENDPOINTS}
        cables = [Cable((server.host, server.port)) for server in cluster.servers]
        fleet = Fleet(dir, [], list(members.values()), monitor={"type": "http", "damping": False}, timeout="10s")
        # Each server knows one NATS server, behind a cable.
        whole = fleet.settings
        fleet.settings = lambda i: whole(i).replace("nats = []", f'nats = ["nats://127.0.0.1:{cables[i].port}"]')
        with fleet:
            leases = fleet.wait_lease(bound=60, epoch=1)
            watcher = Watcher({i: node.udp for i, node in enumerate(fleet.nodes)})
            watcher.start()
            faults = Faults(fleet, members, cables, cluster, chance)
            for number in range(FAULTS):
                active, epoch = leases[0]["endpoint"], leases[0]["epoch"]
                fleet.holder(60)
                began = time.monotonic()
                what, able = faults.strike(active)
                # A server whose NATS server was killed learns it later: one that answers is enough.
                wait_until(lambda: any(fleet.nodes[i].addresses(NAME) != [ENDPOINTS[active]] for i in able), 60)
                took = time.monotonic() - began
                times.append(took)
                print(f"{number + 1}: {what}: promoted after {took:.2f} s")
                if "holder paused" in what or "cut off" in what:
                    # Longer than the lease.
                    wait_until(lambda: time.monotonic() - began > 4 + chance.random(), 10)
                faults.end()
                for i, node in enumerate(fleet.nodes):
                    watcher.moved(i, node.udp)
                    for name in members:
                        node.wait_health(name, "up", 60)
                leases = wait_until(lambda: settled(fleet, epoch), 60, 0.1)
            watcher.end()
        for cable in cables:
            cable.end()
    epochs = [epoch for epoch, _, _ in fleet.runs()]
    assert len(epochs) == len(set(epochs)), f"two hooks with one epoch: {sorted(epochs)}"
    assert len(times) == FAULTS
    figure("median of promotions", statistics.median(times), "s", MEDIAN)
    figure("longest promotion", max(times), "s")
    if FAULTS >= ENOUGH:
        assert statistics.median(times) < MEDIAN, sorted(times)


def settled(fleet, epoch):
    """The leases, if all servers know the same one with a higher epoch, and nothing is being promoted."""
    leases = [fleet.lease(i) for i in range(len(fleet.nodes))]
    if any(lease is None or lease["epoch"] <= epoch or "holder" not in lease or "promoting" in lease for lease in leases):
        return None
    return leases if len({(lease["endpoint"], lease["epoch"], lease["holder"]) for lease in leases}) == 1 else None
