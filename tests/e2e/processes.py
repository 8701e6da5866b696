"""Child processes that end with the tests, and functions that wait for an event."""
import ctypes
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


def wait_until(what, bound, step=0.01):
    """Polls `what` until its result is true, and returns the result; fails after `bound` seconds with the last result."""
    deadline = time.monotonic() + bound
    while True:
        last = what()
        if last:
            return last
        if time.monotonic() > deadline:
            name = getattr(what, "__name__", "condition")
            raise AssertionError(f"not within {bound} s: {name}, last seen: {last!r}")
        time.sleep(step)


def resident_octets(pid):
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def leashed(place=None, before_exec=None):
    """For Popen's preexec_fn: the child enters the network of `place`, and dies whenever this process dies."""

    def enter():
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if place is not None:
            place.enter()
        if before_exec is not None:
            before_exec()

    return enter


def processor_seconds(pid):
    """User and system time of all threads of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Child:
    """A process whose output goes to files in `dir`, so that no output is lost and none blocks it."""

    def __init__(self, argv, dir, name, place=None, env=None, stdin=None, before_exec=None):
        self.argv = [str(a) for a in argv]
        self.name = name
        self.out_path = Path(dir) / f"{name}.out"
        self.err_path = Path(dir) / f"{name}.err"
        with open(self.out_path, "wb") as out, open(self.err_path, "wb") as err:
            self.process = subprocess.Popen(
                self.argv, stdin=stdin or subprocess.DEVNULL, stdout=out, stderr=err, env=env,
                preexec_fn=leashed(place, before_exec),
            )

    @property
    def pid(self):
        return self.process.pid

    def is_running(self):
        return self.process.poll() is None

    def out(self):
        """The whole lines on stdout so far."""
        text = self.out_path.read_text(errors="replace")
        return text[: text.rfind("\n") + 1].splitlines()

    def err(self):
        return self.err_path.read_text(errors="replace")

    def wait_line(self, pattern, bound, after=0):
        """The match of the first line of stdout, from line number `after` on, in which `pattern` is found."""
        seen = re.compile(pattern)

        def line():
            for text in self.out()[after:]:
                if match := seen.search(text):
                    return match
            if not self.is_running():
                raise AssertionError(f"{self.name} ended with {self.process.returncode}\n{self.output()}")
            return None

        try:
            return wait_until(line, bound)
        except AssertionError as gone:
            raise AssertionError(f"{gone}\nno line like {pattern!r} from {self.name}\n{self.output()}") from None

    def output(self):
        """All its output, for the message of a failure."""
        return "--- stdout\n" + "\n".join(self.out()[-60:]) + "\n--- stderr\n" + self.err()[-6000:]

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, bound=10):
        """Waits for its end; returns its exit code."""
        return self.process.wait(bound)

    def result(self, bound=20):
        """Ends a client: the JSON object that it prints as its last line when it receives SIGTERM."""
        self.signal(signal.SIGTERM)
        wait_until(lambda: not self.is_running(), bound)
        lines = self.out()
        assert lines and lines[-1].startswith("{"), self.output()
        return json.loads(lines[-1])

    def end(self):
        """Ends the process by its pid, even if it is stopped."""
        if self.is_running():
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)


def parents():
    """{pid: the pid of its parent} of all processes."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            found[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def children_of(pid):
    """The pids of a process's direct children."""
    return [child for child, parent in parents().items() if parent == pid]


def descendants_of(pid):
    """The pids of a process's children, of theirs, and so on."""
    of, found = parents(), [pid]
    for ancestor in found:
        found += [child for child, parent in of.items() if parent == ancestor]
    return found[1:]


def is_alive(pid):
    """Whether a process exists and has not ended (a zombie has ended)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
