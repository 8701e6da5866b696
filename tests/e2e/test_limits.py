"""Small limits of open files and memory: clients can't take what probes need, and the log names the limit to set."""
import contextlib
import resource
import socket

from portolan import SETTINGS, Node, command, files, write_files
from processes import wait_until

DESCRIPTORS = 256
IDLE = 150

POLICY = """
zone = "svc.example."
[monitor.quick]
type = "tcp"
port = {port}
interval = "100ms"
timeout = "500ms"
[endpoint.a]
addresses = ["127.0.0.1"]
monitor = "quick"
[pool.web]
members = ["a"]
[name.www]
pool = "web"
"""


def small():
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))


def test_idle_clients_leave_descriptors_for_probes(dir):
    with contextlib.ExitStack() as stack:
        served = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=512))
        zones = files(POLICY.format(port=served.getsockname()[1]))
        node = stack.enter_context(Node(dir, zones, before_exec=small))
        warning = next(line for line in node.child.err().splitlines() if "open files" in line)
        assert f"limit of {DESCRIPTORS} open files" in warning and "LimitNOFILE=" in warning, warning
        for _ in range(IDLE):
            for address in (node.udp, node.http):
                stack.enter_context(socket.create_connection(address, timeout=10))
        # The endpoint ends and is found down, and no measurement failed for want of a descriptor.
        probes = node.metric("portolan_probes_total", result="success")
        wait_until(lambda: node.metric("portolan_probes_total", result="success") > probes + 5, 20)
        served.close()
        node.wait_health("a", "down")
        assert "no descriptors" not in node.child.err() and "cannot probe" not in str(node.status())
        assert node.metric("process_open_fds") < DESCRIPTORS


def test_limits_are_settings(dir):
    settings = SETTINGS + "\n[limits]\nconnections = 3\n"
    with Node(dir, files(POLICY.format(port=9)), settings=settings) as node, contextlib.ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection(node.udp, timeout=10)) for _ in range(4)]

        def closed():
            for client in idle:
                client.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    if client.recv(1) == b"":
                        return True
            return False

        wait_until(closed, 8)
        assert node.metric("portolan_dropped_total") >= 1
    wrong = write_files(dir / "wrong", SETTINGS + "\n[limits]\nconnections = 0\n", files(POLICY.format(port=9)))
    assert "connections" in command("check", "--config", wrong).stdout
