"""Limits for a server under test: of memory by a control group (version 1 or 2), of descriptors by the kernel."""
import contextlib
import os
import re
import resource
import subprocess
import time
from pathlib import Path

from processes import descendants_of

# The share of others below which a machine is quiet (judgment).
QUIET = 0.1
# A limit is never multiplied by more (judgment: the server needs a small part of a processor).
MOST_FACTOR = 3.0

MEMORY_1 = Path("/sys/fs/cgroup/memory")
ROOT_2 = Path("/sys/fs/cgroup")


class Memory:
    """with Memory(128 << 20) as memory: Node(..., before_exec=memory.enter); memory.peak()

    Where no control group can be made, nothing limits the server; then `peak` is the most resident memory of the process,
    which a test compares with the limit."""

    def __init__(self, most):
        self.most = most
        self.group = self.make()

    def make(self):
        name = f"portolan-hostile-{os.getpid()}-{time.monotonic_ns()}"
        try:
            if (MEMORY_1 / "memory.limit_in_bytes").exists():
                group = MEMORY_1 / name
                group.mkdir()
                (group / "memory.limit_in_bytes").write_text(str(self.most))
                with contextlib.suppress(OSError):  # not there without accounting of swap
                    (group / "memory.memsw.limit_in_bytes").write_text(str(self.most))
                return group
            if (ROOT_2 / "cgroup.subtree_control").exists():
                with contextlib.suppress(OSError):
                    (ROOT_2 / "cgroup.subtree_control").write_text("+memory")
                group = ROOT_2 / name
                group.mkdir()
                if (group / "memory.max").exists():
                    (group / "memory.max").write_text(str(self.most))
                    with contextlib.suppress(OSError):
                        (group / "memory.swap.max").write_text("0")
                    return group
                group.rmdir()
        except OSError as refused:
            print(f"no control group ({refused}): resident memory is compared with the limit")
        return None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.group is not None:
            for _ in range(50):
                with contextlib.suppress(OSError):
                    self.group.rmdir()
                    return
                time.sleep(0.1)

    def enter(self):
        """The calling process belongs to the group from now on."""
        if self.group is not None:
            (self.group / "cgroup.procs").write_text(str(os.getpid()))

    def peak(self, pid):
        """The most memory so far, in octets: of the group with its buffers in the kernel, or resident."""
        if self.group is not None:
            for name in ("memory.max_usage_in_bytes", "memory.peak"):
                with contextlib.suppress(OSError):
                    return int((self.group / name).read_text())
        return status(pid, "VmHWM") << 10


class Noise:
    """How much of the machine's processor time others use while a test measures: other programs, and other machines on the same
    processor. Not the server, its attackers, and other tests: they descend from the same process.

    noise = Noise(); ...; noise.factor()"""

    def __init__(self):
        self.before = self.read()

    def read(self):
        """Seconds of processor time: all that passed, all that somebody used, and what the tests used."""
        user, nice, system, idle, iowait, irq, softirq, steal = ticks("/proc/stat", slice(1, 9))
        busy = user + nice + system + irq + softirq + steal
        tests = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
        own = 0
        for pid in [tests, *descendants_of(tests)]:
            with contextlib.suppress(OSError):
                # Also of its children that have ended.
                own += sum(ticks(f"/proc/{pid}/stat", slice(11, 15)))
        second = os.sysconf("SC_CLK_TCK")
        return (busy + idle + iowait) / second, busy / second, own / second

    def share(self):
        """From 0, when nobody else used a processor, to 1."""
        passed, busy, own = (now - before for now, before in zip(self.read(), self.before, strict=True))
        return min(max(0.0, (busy - own) / passed), 1.0) if passed > 0 else 0.0

    def factor(self):
        """What a limit of time is multiplied by: who gets half of the time takes twice as long, at least. On a machine that does
        nothing else it is 1."""
        share = self.share()
        return 1.0 if share < QUIET else min(1 / (1 - share) ** 2, MOST_FACTOR)


def ticks(file, columns):
    """Numbers of a file of /proc. Columns are counted after the name of a process, which may have spaces."""
    return [int(number) for number in Path(file).read_text().rpartition(")")[2].split()[columns]]


def socket_octets(*ports):
    """Octets in the kernel's buffers of the connections of these ports of ours: received and not read, and sent and not
    acknowledged, with their overhead."""
    listed = subprocess.run(["ss", "-tmnH"], capture_output=True, text=True, check=True).stdout
    total, is_ours = 0, False
    for line in listed.splitlines():
        if memory := re.search(r"skmem:\(r(\d+),rb\d+,t(\d+),tb\d+,f\d+,w(\d+)", line):
            total += sum(map(int, memory.groups())) if is_ours else 0
        elif len(columns := line.split()) > 4:
            is_ours = columns[3].rpartition(":")[2] in map(str, ports)
    return total


def status(pid, key):
    """A number of /proc/PID/status: VmRSS, VmHWM (KiB), Threads."""
    return int(re.search(rf"^{key}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.M)[1])


def thread_seconds(pid, name):
    """Processor time of the threads of this name."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            if (task / "comm").read_text().strip() == name:
                total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def descriptor_limit(most):
    """For `before_exec`: the process may open this many descriptors, and can't raise that."""
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
