"""An exclusive name whose servers, vantages and NATS servers are in three regions: its active endpoint is killed, cut off and
paused, together with other faults. No epoch ever has two endpoints, and nothing is promoted without a quorum."""
import os
import random
import re
import statistics
import tempfile
import time
from pathlib import Path

import pytest

from clients import ask_at, region as region_named
from conftest import without_damping
from exclusive import HOOK, Watcher
from parts import ADDRESSES, REGION_OF, REGIONS, SERVER, region_of
from portolan import answers, ask
from processes import is_alive, wait_until

FAULTS = int(os.environ.get("PORTOLAN_FAULTS", 50))
SEED = int(os.environ.get("PORTOLAN_SEED", 0)) or random.SystemRandom().randrange(1, 10**6)
# docs/exclusive.md promises less than three seconds with the default monitors.
MEDIAN = 3.0
# A holder that does not renew loses its lease after this time.
LEASE = 3.0
MEMBERS = ["eu1", "us1", "ap1"]
# On a machine that does other things too, endpoints are slow to be up for all vantages again.
RESTORED = 300
SERVERS = [region.server for region in REGIONS]

pytestmark = pytest.mark.full


def default_monitor(policy):
    """The policy with the default time-out of the monitor, as in what docs/exclusive.md promises."""
    lines = [line for line in policy.splitlines() if not line.startswith("timeout ")]
    return without_damping("\n".join(lines) + "\n")


class Masters:
    """A world with a hook that records its runs; what its exclusive name `db` is doing."""

    def __init__(self, made, timeout="10s"):
        hook = lambda dir: f'hooks = {{ on_promote = ["{dir}/promote"] }}\nhook_timeout = "{timeout}"\n'
        self.dir = Path(tempfile.mkdtemp(prefix="portolan-world-"))
        self.prepare(self.dir)
        self.fleet = made(
            dir=self.dir, policy=default_monitor,
            settings=lambda text: text.replace("[fleet]\n", "[fleet]\n" + hook(self.dir)),
        )
        self.watcher = WorldWatcher({region.server: region for region in REGIONS}, self.fleet)

    def prepare(self, dir):
        (dir / "promote").write_text(HOOK.replace("DIR", str(dir)))
        (dir / "promote").chmod(0o755)
        self.log = dir / "hook.log"
        self.log.touch()
        self.mode("ok")
        for path in (self.log, dir / "mode"):
            path.chmod(0o666)

    def mode(self, mode):
        (self.dir / "mode").write_text(mode)

    def epochs(self):
        """The epochs of all runs of the hook so far, in order."""
        return [int(line.split()[1]) for line in self.log.read_text().splitlines() if line.startswith("start ")]

    def lease(self, server):
        for zone in (self.fleet.try_status(server) or {"zones": []})["zones"]:
            for lease in zone.get("exclusive", []):
                return lease if "epoch" in lease else None
        return None

    def leases(self, above=0, servers=SERVERS):
        """The leases, if these servers know the same one, with a higher epoch than this, and nothing is being promoted."""
        leases = [self.lease(server) for server in servers]
        if any(lease is None or lease["epoch"] <= above or "holder" not in lease or "promoting" in lease for lease in leases):
            return None
        return leases if len({(lease["endpoint"], lease["epoch"], lease["holder"]) for lease in leases}) == 1 else None

    def settled(self, above=0, bound=RESTORED, servers=SERVERS):
        return wait_until(lambda: self.leases(above, servers), bound, 0.1)[0]

    def holder(self):
        """The server that holds the lease."""
        return next((server for server in SERVERS if (self.lease(server) or {}).get("is_holder")), None)

    def is_moved(self, server, active):
        """Whether a server answers with another endpoint."""
        region = next(region for region in REGIONS if region.server == server)
        try:
            found = ask_at(self.fleet, region.name, "db", timeout=0.5)
        except Exception:
            return False
        return bool(found) and found != [ADDRESSES[active]]


class WorldWatcher(Watcher):
    """Asks each server in its own region, so also one that is cut off."""

    def __init__(self, addresses, fleet):
        super().__init__(addresses)
        self.fleet = fleet

    def texts_of(self, region):
        place = self.fleet.world[region.name]
        return answers(ask((region.host(SERVER), 53), "_epoch.db.svc.example.", "TXT", timeout=0.5, place=place))


class Faults:
    """One fault of the active endpoint at a time, often with another one, and its end."""

    def __init__(self, masters, chance):
        self.masters, self.fleet, self.chance = masters, masters.fleet, chance

    def strike(self, active, holder):
        """Returns what was done, the servers that can promote and notice, and whether the fault lasts longer than a lease."""
        parts, region = self.fleet.parts, REGION_OF[active]
        able = set(SERVERS)
        more = self.chance.choice(["", "", "", "holder killed", "holder paused", "holder's region cut off", "a NATS server killed"])
        what = self.chance.choice(["killed", "paused", "its region cut off"])
        if what == "its region cut off" and more.startswith("holder") and region_of(holder).name != region:
            # With both faults more than half of the vantages, or of the NATS servers, are not together.
            what = "killed"
        if more == "holder killed":
            parts[holder].kill()
            able.discard(holder)
        elif more == "holder paused":
            parts[holder].pause()
            able.discard(holder)
        elif more == "holder's region cut off":
            self.fleet.world.cut(region_of(holder).name)
            able.discard(holder)
        elif more:
            names = [of.nats for of in REGIONS if what != "its region cut off" or of.name == region]
            parts[self.chance.choice(names)].kill()
        if what == "killed":
            parts[active].kill()
        elif what == "paused":
            parts[active].pause()
        else:
            self.fleet.world.cut(region)
            able.discard(region_named(region).server)
        return ", ".join(filter(None, [f"{active} {what}", more])), sorted(able), bool(more)

    def strike_without_quorum(self, active):
        """The active endpoint is down, and no majority of NATS servers or of vantages is together."""
        parts = self.fleet.parts
        how = self.chance.choice(["two NATS servers killed", "all regions cut from each other", "all vantages but two killed"])
        if how.startswith("two"):
            for region in self.chance.sample(REGIONS, 2):
                parts[region.nats].kill()
        elif how.startswith("all regions"):
            for region in REGIONS:
                self.fleet.world.cut(region.name)
        else:
            stay = self.chance.choice(REGIONS)
            for region in REGIONS:
                if region is not stay:
                    parts[region.server].kill()
                    parts[region.vantage].kill()
        parts[active].kill()
        return f"{active} killed, {how}"


def test_random_faults_never_make_two_masters(made, figure):
    print(f"seed {SEED}, {FAULTS} faults")
    chance, alone, together = random.Random(SEED), [], []
    masters = Masters(made)
    fleet, faults = masters.fleet, Faults(masters, chance)
    lease = masters.settled()
    masters.watcher.start()
    without = 0
    for number in range(FAULTS):
        active, epoch = lease["endpoint"], lease["epoch"]
        has_quorum = chance.random() >= 0.2
        if not has_quorum:
            runs = masters.epochs()
            what = faults.strike_without_quorum(active)
            began = time.monotonic()
            wait_until(lambda: time.monotonic() - began > 3 * LEASE, 30)
            for server in SERVERS:
                assert not masters.is_moved(server, active), f"{what}: {server} promoted"
            assert masters.epochs() == runs, f"{what}: a hook ran"
            print(f"{number + 1}: {what}: nothing is promoted", flush=True)
            without += 1
        else:
            began = time.monotonic()
            what, able, is_long = faults.strike(active, lease["holder"])
            began = time.monotonic() if not is_long else began
            wait_until(lambda: any(masters.is_moved(server, active) for server in able), 60)
            took = time.monotonic() - began
            wait_until(lambda: all(masters.is_moved(server, active) for server in able), 60)
            (together if is_long else alone).append(took)
            print(f"{number + 1}: {what}: promoted after {took:.2f} s", flush=True)
            if is_long:
                wait_until(lambda: time.monotonic() - began > LEASE + 1 + chance.random(), 10)
        fleet.restore(RESTORED)
        lease = masters.settled(epoch if has_quorum else 0)
    masters.watcher.end()
    epochs = masters.epochs()
    assert len(epochs) == len(set(epochs)), f"two hooks with one epoch: {sorted(epochs)}"
    for what, times in (("the active endpoint alone", alone), ("another fault with it", together)):
        if times:
            print(f"{what}: {sorted(round(took, 2) for took in times)}")
            figure(f"{what}, median of {len(times)} promotions", statistics.median(times), "s", MEDIAN if times is alone else None)
            figure(f"{what}, longest promotion", max(times), "s")
    figure("faults without a quorum", without, "faults")
    # The others wait for the lease to expire, or for NATS servers to elect a leader.
    if len(alone) >= 10:
        assert statistics.median(alone) < MEDIAN, sorted(alone)


def test_hooks_that_hang_fail_or_are_killed_with_their_holder(made):
    masters = Masters(made, timeout="4s")
    fleet = masters.fleet
    lease = masters.settled()
    masters.watcher.start()
    # It fails: the next member is tried, and while every hook fails nothing moves.
    masters.mode("fail")
    fleet.parts["eu1"].kill()
    wait_until(lambda: len(masters.epochs()) >= 2, 40)
    assert not any(masters.is_moved(server, "eu1") for server in SERVERS)
    masters.mode("ok")
    lease = masters.settled(lease["epoch"], 60)
    assert lease["endpoint"] != "eu1"
    fleet.restore(RESTORED)
    # It hangs, and is killed with its child.
    lease = masters.settled()
    masters.mode("hang")
    fleet.parts[lease["endpoint"]].kill()
    child = wait_hanging(masters, lease["epoch"])
    assert not any(masters.is_moved(server, lease["endpoint"]) for server in SERVERS)
    wait_until(lambda: not is_alive(child), 20)
    masters.mode("ok")
    lease = masters.settled(lease["epoch"], 60)
    fleet.restore(RESTORED)
    # It hangs, and its holder is killed: the hook ends before another server promotes.
    lease = masters.settled()
    masters.mode("hang")
    fleet.parts[lease["endpoint"]].kill()
    child = wait_hanging(masters, lease["epoch"])
    holder = wait_until(masters.holder, 20, 0.05)
    masters.mode("ok")
    fleet.parts[holder].kill()
    wait_until(lambda: not is_alive(child), 10)
    rest = [server for server in SERVERS if server != holder]
    after = masters.settled(lease["epoch"], 60, rest)
    assert after["endpoint"] != lease["endpoint"] and after["holder"] != holder
    masters.watcher.end()
    assert len(masters.epochs()) == len(set(masters.epochs()))


def wait_hanging(masters, above, bound=40):
    """The child of a hook with a higher epoch than this, once it hangs."""
    found = lambda: [int(pid) for epoch, pid in re.findall(r"^child (\d+) (\d+)$", masters.log.read_text(), re.M) if int(epoch) > above]
    return wait_until(found, bound, 0.05)[-1]
