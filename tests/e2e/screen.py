"""A terminal for a test: a pty whose other end records what a person would see, and everything that was written."""
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import time

from processes import leashed

# The escape sequences that the demo uses. Others are an error.
SEQUENCE = re.compile(r"\x1b\[(\??)([0-9;]*)([A-Za-z])")


class Screen:
    """with Screen([...], place=lone) as screen: screen.wait(lambda: "eu-west" in screen.text(), 10)"""

    def __init__(self, argv, place=None, env=None, size=(80, 24), owns_terminal=True):
        self.columns, self.rows = size
        self.master, slave = pty.openpty()
        self.resize(*size)
        self.before = termios.tcgetattr(slave)
        self.slave = slave

        def take_terminal():
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            [str(each) for each in argv], stdin=slave, stdout=slave, stderr=slave, env=env,
            preexec_fn=leashed(place, take_terminal if owns_terminal else None),
        )
        os.set_blocking(self.master, False)
        self.raw, self.pending = "", ""
        self.lines, self.row, self.column = [""], 0, 0
        self.is_cursor_shown = True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
        os.close(self.master)
        os.close(self.slave)

    def resize(self, columns, rows):
        self.columns, self.rows = columns, rows
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys):
        os.write(self.master, keys.encode())

    def modes(self):
        """The terminal's modes now: as `before` once a program has restored them."""
        return termios.tcgetattr(self.slave)

    def text(self):
        """The text on the screen and above it, without spaces at the ends of lines."""
        self.read()
        return "\n".join(line.rstrip() for line in self.lines)

    def plain(self):
        """All that was written, without escape sequences."""
        self.read()
        return SEQUENCE.sub("", self.raw).replace("\r", "")

    def read(self):
        while True:
            try:
                data = os.read(self.master, 65536)
            except (BlockingIOError, OSError):
                return
            if not data:
                return
            self.raw += data.decode(errors="replace")
            self.take(data.decode(errors="replace"))

    def take(self, text):
        text = self.pending + text
        self.pending = ""
        at = 0
        while at < len(text):
            if text[at] == "\x1b":
                found = SEQUENCE.match(text, at)
                if not found:
                    assert len(text) - at < 16, f"not a sequence that a terminal test knows: {text[at:at + 16]!r}"
                    self.pending = text[at:]
                    return
                self.obey(*found.groups())
                at = found.end()
                continue
            self.put(text[at])
            at += 1

    def put(self, char):
        if char == "\n":
            self.row += 1
        elif char == "\r":
            self.column = 0
        else:
            if self.column == self.columns:
                self.row, self.column = self.row + 1, 0
            self.grow()
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + char + line[self.column + 1 :]
            self.column += 1
        self.grow()

    def grow(self):
        self.lines.extend([""] * (self.row + 1 - len(self.lines)))

    def top(self):
        return max(0, len(self.lines) - self.rows)

    def obey(self, private, numbers, what):
        count = int(numbers or 1) if what in "AB" else numbers
        if private:
            assert (numbers, what) in {("25", "h"), ("25", "l")}, (numbers, what)
            self.is_cursor_shown = what == "h"
        elif what == "A":
            self.row = max(self.top(), self.row - count)
        elif what == "J" and numbers in ("", "0"):
            self.lines[self.row] = self.lines[self.row][: self.column]
            del self.lines[self.row + 1 :]
        elif what == "J":
            # The screen is cleared; the lines above it stay.
            top = self.top()
            self.lines = self.lines[:top] + [""] * self.rows
        elif what == "H":
            self.row, self.column = self.top(), 0
        else:
            assert what == "m", f"unknown sequence {numbers}{what}"

    def wait(self, what, bound):
        """Polls `what` until its result is true, and returns the result; fails with the text on the screen."""
        deadline = time.monotonic() + bound
        while True:
            self.read()
            if found := what():
                return found
            assert time.monotonic() < deadline, f"not within {bound} s; on the screen:\n{self.text()}"
            assert self.process.poll() is None, f"ended with {self.process.returncode}\n{self.text()}"
            time.sleep(0.02)

    def wait_end(self, bound=10):
        deadline = time.monotonic() + bound
        while self.process.poll() is None:
            self.read()
            assert time.monotonic() < deadline, f"has not ended within {bound} s\n{self.text()}"
            time.sleep(0.02)
        self.read()
        return self.process.returncode
