"""Places to run in: network namespaces of our own, without a name, so that they end with us.

`Lone` is one with nothing but its loopback: every port is free there. `World` joins several by a wire that delays,
thins or cuts. The wire is a tun device in each place and a process of ours that carries packets between them, so it
works on kernels without traffic control. Place i has 10.(200+i).0.1 on its tun; every address of that /16 may be
bound there.
"""
import contextlib
import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import signal
import struct
import subprocess
import sys
import time

from processes import LIBC, leashed

NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
TUN_WITHOUT_HEADER = 0x1001


def can_make_places():
    """Whether we may make network namespaces."""
    return os.geteuid() == 0 and subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode == 0


class Network:
    """A network namespace of its own. This thread is in it after `__init__`, until `leave`."""

    def __init__(self):
        self.origin = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        if LIBC.unshare(NEWNET):
            raise OSError(ctypes.get_errno(), "unshare: needs root")
        self.ns = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)

    def enter(self):
        if LIBC.setns(self.ns, NEWNET):
            raise OSError(ctypes.get_errno(), "setns")

    def leave(self):
        if LIBC.setns(self.origin, NEWNET):
            raise OSError(ctypes.get_errno(), "setns")

    @contextlib.contextmanager
    def inside(self):
        """Sockets made by this thread in here belong to the place."""
        self.enter()
        try:
            yield self
        finally:
            self.leave()

    def run(self, *argv, **how):
        return subprocess.run([str(a) for a in argv], preexec_fn=leashed(self), **how)

    def close(self):
        os.close(self.ns)
        os.close(self.origin)


class Lone(Network):
    """with Lone() as place: a network of its own with a loopback and nothing else."""

    def __init__(self):
        super().__init__()
        self.leave()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Place(Network):
    """One end of a World's wire."""

    def __init__(self, i):
        super().__init__()
        self.net, self.ip = f"10.{200 + i}.0.0/16", f"10.{200 + i}.0.1"
        self.tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(self.tun, TUNSETIFF, struct.pack("16sH22s", b"wire", TUN_WITHOUT_HEADER, b""))
        for arguments in (
            f"addr add {self.ip}/32 dev wire",
            "link set wire up txqueuelen 5000",
            "route add default dev wire",
            f"route add local {self.net} dev lo",
        ):
            subprocess.run(["ip", *arguments.split()], check=True)
        with open("/proc/sys/net/ipv4/ip_nonlocal_bind", "w") as allow:
            allow.write("1")
        self.leave()

    def host(self, n):
        """The n-th address of this place."""
        return self.ip.rsplit(".", 2)[0] + f".{n >> 8}.{n & 255}"

    def close(self):
        os.close(self.tun)
        super().close()


class World:
    """with World("eu", "us") as w: w["eu"].ip; w.set("eu", "us", delay=0.05); w.cut("eu", "us"); w.heal("eu")"""

    def __init__(self, *names):
        self.names = list(names)
        self.places = {name: Place(i) for i, name in enumerate(names)}
        fds = [place.tun for place in self.places.values()]
        self.wire = subprocess.Popen(
            [sys.executable, __file__, *map(str, fds)], stdin=subprocess.PIPE, pass_fds=fds, preexec_fn=leashed(), text=True
        )

    def __getitem__(self, name):
        return self.places[name]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.wire.stdin.close()
        try:
            self.wire.wait(5)
        except subprocess.TimeoutExpired:
            self.wire.kill()
            self.wire.wait(5)
        for place in self.places.values():
            place.close()

    def say(self, **what):
        self.wire.stdin.write(json.dumps(what) + "\n")
        self.wire.stdin.flush()

    def set(self, a, b, delay=0.0, jitter=0.0, loss=0.0, cut=False):
        """One-way seconds, each way; loss is a share each way."""
        i, j = self.names.index(a), self.names.index(b)
        for x, y in ((i, j), (j, i)):
            self.say(pair=[x, y], delay=delay, jitter=jitter, loss=loss, cut=cut)

    def cut(self, a, b=None, on=True):
        """Silence between a and b, or between a and everywhere; delays stay as they were."""
        i = self.names.index(a)
        others = [self.names.index(b)] if b else [j for j in range(len(self.names)) if j != i]
        for j in others:
            self.say(pair=[i, j], cut=on)
            self.say(pair=[j, i], cut=on)

    def heal(self, a, b=None):
        self.cut(a, b, on=False)

    def mute(self, host, on=True):
        """Packets to this one address vanish, as behind a firewall's DROP."""
        self.say(host=host, mute=on)


class Wire:
    """The process between the places: reads packets, holds them as the rules say, writes them at the other end."""

    def __init__(self, fds):
        self.fds, self.rules, self.muted, self.held, self.count = fds, {}, set(), [], 0

    def obey(self, line):
        command = json.loads(line)
        if "pair" in command:
            self.rules.setdefault(tuple(command.pop("pair")), {}).update(command)
        elif command["mute"]:
            self.muted.add(command["host"])
        else:
            self.muted.discard(command["host"])

    def take(self, fd):
        """Takes the packets that wait at one place."""
        for _ in range(64):
            try:
                packet = os.read(fd, 65535)
            except BlockingIOError:
                return
            self.hold(self.fds.index(fd), packet)

    def hold(self, i, packet):
        if len(packet) < 20 or packet[0] >> 4 != 4 or packet[16] != 10 or not 0 <= packet[17] - 200 < len(self.fds):
            return
        j = packet[17] - 200
        rule = self.rules.get((i, j), {})
        to = "%d.%d.%d.%d" % tuple(packet[16:20])
        if rule.get("cut") or random.random() < rule.get("loss", 0) or to in self.muted:
            return
        self.count += 1
        delay = max(0.0, rule.get("delay", 0) + random.uniform(-1, 1) * rule.get("jitter", 0))
        heapq.heappush(self.held, (time.monotonic() + delay, self.count, self.fds[j], packet))

    def carry(self):
        """Runs until stdin closes."""
        while True:
            wait = max(0.0, self.held[0][0] - time.monotonic()) if self.held else 5.0
            ready = select.select([0, *self.fds], [], [], wait)[0]
            if 0 in ready:
                command = os.read(0, 65536)
                if not command:
                    return
                for line in command.decode().splitlines():
                    self.obey(line)
            for fd in ready:
                if fd != 0:
                    self.take(fd)
            now = time.monotonic()
            while self.held and self.held[0][0] <= now:
                with contextlib.suppress(OSError):
                    os.write(self.held[0][2], self.held[0][3])
                heapq.heappop(self.held)


def go_first():
    """The wire stands for cables, which do not wait for a processor: it runs before other processes if it may."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


if __name__ == "__main__":
    go_first()
    # Ctrl-C is for the process that started the wire; the wire ends with standard input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Wire([int(fd) for fd in sys.argv[1:]]).carry()
