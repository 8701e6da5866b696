"""Many small HTTP endpoints, each in its own process, which a test can kill or stop: python herd.py HOST:PORT...

Port 0 is allowed. Each responds to every request with 200 `ok`. Prints `ready PORT/PID ...` in the order of the arguments.
"""
import os
import signal
import socket
import sys

from processes import LIBC, PR_SET_PDEATHSIG, Child

REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


class Herd:
    """with Herd(dir, "127.0.0.1:0", ...) as herd: herd.stop(0); herd.kill(1); herd.at"""

    def __init__(self, dir, *wanted, place=None, name="herd"):
        self.child = Child([sys.executable, __file__, *wanted], dir, name, place=place)
        ready = self.child.wait_line(r"^ready (.*)$", 30)[1].split()
        ports, self.pids = zip(*(map(int, each.split("/")) for each in ready))
        self.at = [f"{each.rpartition(':')[0]}:{port}" for each, port in zip(wanted, ports, strict=True)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.end()

    def kill(self, nth):
        os.kill(self.pids[nth], signal.SIGKILL)

    def stop(self, nth):
        """Stops a process: its kernel still accepts connections, but nothing answers."""
        os.kill(self.pids[nth], signal.SIGSTOP)

    def go_on(self, nth):
        os.kill(self.pids[nth], signal.SIGCONT)


def serve(listener):
    while True:
        connection, _ = listener.accept()
        try:
            connection.settimeout(1)
            if connection.recv(4096):
                connection.sendall(REPLY)
        except OSError:
            pass
        connection.close()


def child(listener):
    """Makes this process end with its parent, even if it is stopped."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    serve(listener)


def main():
    listeners = []
    for wanted in sys.argv[1:]:
        host, _, port = wanted.rpartition(":")
        listeners.append(socket.create_server((host, int(port)), backlog=1024))
    ready = []
    for listener in listeners:
        pid = os.fork()
        if pid == 0:
            for other in listeners:
                if other is not listener:
                    other.close()
            child(listener)
        ready.append(f"{listener.getsockname()[1]}/{pid}")
    # The socket of a killed process must not stay open here.
    for listener in listeners:
        listener.close()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", *ready, flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
