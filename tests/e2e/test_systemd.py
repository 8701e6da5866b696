"""What systemd does for the server and learns from it, played by the test: readiness, the watchdog, and the sockets that it
has over a restart, so that queries which come meanwhile are answered by the next process."""
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import dns.message

from portolan import BINARY, READY, ask, environment, split_address, write_files
from processes import Child, wait_until
from test_takeover import MASTER, NAME, POLICY, SETTINGS

UNIT = Path(__file__).parents[2] / "packaging/portolan.service"


class Manager:
    """The notification socket, and the store of descriptors by their names."""

    def __init__(self, dir):
        self.address = f"\0portolan-test-{os.getpid()}-{id(self)}"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.address)
        self.socket.settimeout(20)
        self.dir, self.stored, self.seen = dir, [], []

    def environment(self, **more):
        return environment(NOTIFY_SOCKET="@" + self.address[1:], **more)

    def receive(self):
        """The next message, as a dict."""
        text, descriptors, _, _ = socket.recv_fds(self.socket, 4096, 8)
        message = dict(line.split("=", 1) for line in text.decode().splitlines())
        if message.get("FDSTORE") == "1":
            self.stored.append((message["FDNAME"], *descriptors))
        self.seen.append(message)
        return message

    def wait(self, key):
        while key not in (message := self.receive()):
            pass
        return message[key]

    def start(self, settings, name, **more):
        """Starts the server with the stored sockets, as systemd does: from number 3 on."""
        stored, self.stored = self.stored, []
        names, files = ":".join(name for name, _ in stored), [file for _, file in stored]
        script = (
            "import os, sys\n"
            "files = list(map(int, sys.argv[1].split(','))) if sys.argv[1] else []\n"
            "high = [os.dup2(f, 500 + n) for n, f in enumerate(files)]\n"
            "for n, f in enumerate(high): os.dup2(f, 3 + n, inheritable=True)\n"
            "os.closerange(3 + len(files), 1024)\n"
            "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(files)), LISTEN_FDNAMES=sys.argv[2])\n"
            "os.execv(sys.argv[3], sys.argv[3:])\n"
        )
        for file in files:
            os.set_inheritable(file, True)
        argv = [sys.executable, "-c", script, ",".join(map(str, files)), names, BINARY, "serve", "--config", settings]
        child = PassingChild(argv, self.dir, name, self.environment(**more), files)
        for file in files:
            os.close(file)
        return child


class PassingChild(Child):
    """A child that gets descriptors."""

    def __init__(self, argv, dir, name, env, files):
        self.argv, self.name = [str(a) for a in argv], name
        self.out_path, self.err_path = Path(dir) / f"{name}.out", Path(dir) / f"{name}.err"
        with open(self.out_path, "wb") as out, open(self.err_path, "wb") as err:
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env, pass_fds=files)


def test_a_restart_by_systemd_loses_no_query(dir):
    with socket.create_server(("127.0.0.1", 0)) as up:
        policy = POLICY.format(up=up.getsockname()[1], down=1)
        settings = write_files(dir / "node", SETTINGS.replace('token_file = "tokens"', ""), {
            "svc.example.policy.toml": policy, "svc.example.zone": MASTER,
        })
        manager = Manager(dir)
        first = manager.start(settings, "first", WATCHDOG_USEC="200000")
        second = None
        try:
            ready = first.wait_line(READY, 30)
            server = split_address(ready[1])
            assert manager.wait("READY") == "1"
            assert manager.wait("WATCHDOG") == "1"
            wait_until(lambda: manager.receive() and any(name.startswith("http.") for name, _ in manager.stored), 10)
            uses = {name.split(".")[0] for name, _ in manager.stored}
            assert uses == {"udp", "tcp", "http"} and not any(":" in name for name, _ in manager.stored)
            first.signal(signal.SIGTERM)
            assert manager.wait("STOPPING") == "1"
            assert first.wait(10) == 0
            # Nobody serves now: the query waits in the socket, the connection in the queue of the listener.
            query = dns.message.make_query(NAME, "A").to_wire()
            udp = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(8)]
            for one in udp:
                one.settimeout(20)
                one.connect(server)
                one.send(query)
            tcp = socket.create_connection(server, timeout=20)
            tcp.sendall(len(query).to_bytes(2, "big") + query)
            second = manager.start(settings, "second")
            ready = second.wait_line(READY, 30)
            assert split_address(ready[1]) == server
            for one in udp:
                assert dns.message.from_wire(one.recv(4096)).answer
            assert dns.message.from_wire(tcp.recv(4096)[2:]).answer
            assert "192.0.2.2" not in str(ask(server, NAME)), "the endpoint that was down is not forgotten"
            assert manager.wait("READY") == "1"
        finally:
            first.end()
            if second:
                second.end()


def test_descriptors_that_do_not_fit_are_left_alone(dir):
    settings = write_files(dir / "node", SETTINGS.replace('token_file = "tokens"', ""), {"svc.example.zone": MASTER})
    manager = Manager(dir)
    stream, _ = socket.socketpair()
    strange = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    strange.bind(("127.0.0.1", 0))
    manager.stored = [("tcp.x", stream.detach()), ("nonsense", os.open("/dev/null", os.O_RDONLY)), ("udp.y", strange.detach())]
    server = manager.start(settings, "server")
    try:
        ready = server.wait_line(READY, 30)
        assert ask(split_address(ready[1]), "svc.example.", "SOA").answer
        assert server.err().count("a socket of systemd is not used") == 2, server.err()
    finally:
        server.end()


def test_the_exposure_of_the_unit_is_low():
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", UNIT], capture_output=True, text=True)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found and float(found[1]) <= 2.0, done.stdout + done.stderr
