"""The demo, as a person uses it: the test runs its dig lines, kills and stops its regions, and ends it with Ctrl-C."""
import json
import os
import re
import signal
import time

import pytest

from portolan import BINARY, READY, ask, command, ede, environment
from processes import Child, children_of, is_alive, wait_until
from steady import Steady, last_naming, stall, unanswered

pytestmark = pytest.mark.places

SERVER = ("127.0.0.1", 5300)
API = "http://127.0.0.1:8053"
CLIENTS = {"us-east": "127.1", "eu-west": "127.2", "ap-south": "127.3"}
REGION_LINE = r"\b(us-east|eu-west|ap-south)\s+([\d.,:]+)\s+pid (\d+)"
WWW = "www.demo.example."

# The killed region is started again after this time.
RESTART_SECONDS = 20


class Demo:
    """A running demo in a network namespace."""

    def __init__(self, dir, place, *arguments):
        self.place, self.dir = place, dir
        # Its own process group, as on a terminal.
        self.child = Child([BINARY, "demo", *arguments], dir, "demo", place=place, env=environment(), before_exec=os.setsid)
        self.ready = self.child.wait_line(READY, 30)
        for region in CLIENTS:
            self.wait_region(region, 10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.end()

    def wait_region(self, region, bound, after=0):
        return self.child.wait_line(REGION_LINE.replace("us-east|eu-west|ap-south", region), bound, after)

    def regions(self):
        """{region: (addresses, pid)}, as printed last."""
        found = {}
        for line in self.child.out():
            if match := re.search(REGION_LINE, line):
                found[match[1]] = ([a.partition(":")[0] for a in match[2].split(",")], int(match[3]))
        return found

    def lines_so_far(self):
        return len(self.child.out())

    def steady(self, region):
        return Steady(self.dir, SERVER, WWW, source=f"{CLIENTS[region]}.0.7", place=self.place, tag=f"steady-{region}")


def dig_lines(printed):
    return [line[line.index("dig @") :].split("#")[0].strip() for line in printed if "dig @" in line]


def client_of(dig):
    """The client address in a dig line, and its region."""
    found = re.search(r"(?:-b\s*|\+subnet=)((127\.\d+)\.\d+\.\d+)", dig)
    region = next((r for r, net in CLIENTS.items() if found and net == found[2]), None)
    return (found[1] if found else "127.0.0.1"), region


def run_dig(place, line):
    """The addresses that a dig line prints when it is run."""
    ran = place.run("sh", "-c", line, capture_output=True, text=True, timeout=30)
    assert ran.returncode == 0, f"{line}\n{ran.stdout}{ran.stderr}"
    rows = [row for row in ran.stdout.splitlines() if not row.startswith(";")]
    return re.findall(r"\b\d+\.\d+\.\d+\.\d+\b", "\n".join(rows))


def test_the_dig_lines_and_explain(dir, lone):
    with Demo(dir, lone, "--for", "120s") as demo:
        assert demo.ready[1] == "127.0.0.1:5300" and demo.ready[2] == "127.0.0.1:8053"
        rows = demo.child.out()
        lines = [line for line in dig_lines(rows) if "www.demo.example" in line]
        answered = {client_of(line)[1] for line in lines}
        assert set(CLIENTS) <= answered, f"a line for a client of each region, got {lines}"
        assert any("+subnet" in line for line in lines) and any("-b " in line for line in lines), lines
        assert any(API in line for line in rows), "the URL of the API"

        regions = demo.regions()
        for line in lines:
            client, region = client_of(line)
            found = run_dig(lone, line)
            assert found, line
            if region is None:
                continue
            assert set(found) <= set(regions[region][0]), f"{line}: {found}, nearest is {region} {regions[region][0]}"
            printed = command("explain", WWW, "A", "--client", client, "--server", API, "--format", "json", place=lone)
            assert printed.returncode == 0, printed.stderr
            answers = {a["rdata"] for a in json.loads(printed.stdout)["answers"]}
            assert set(found) <= answers and answers <= set(regions[region][0]), f"{line}: dig {found}, explain {answers}"
            human = command("explain", WWW, "A", "--client", client, place=lone)
            assert human.returncode == 0 and found[0] in human.stdout and region in human.stdout, human.stdout + human.stderr
            assert "\x1b" not in human.stdout, "no colour where there is no terminal"

        split = [ask(SERVER, "canary.demo.example.", place=lone).answer[0][0].to_text() for _ in range(400)]
        most = max(set(split), key=split.count)
        assert len(set(split)) == 2 and 0.7 < split.count(most) / len(split) < 0.9, "canary is 80:20"
        assert len({ask(SERVER, "db.demo.example.", place=lone).answer[0][0].to_text() for _ in range(20)}) == 1

        status = command("status", "--format", "json", place=lone)
        assert status.returncode == 0, status.stderr
        seen = {v["region"] for v in json.loads(status.stdout)["vantages"] if v["state"] == "up"}
        assert seen == set(CLIENTS), "three vantages"


def test_the_token_that_is_printed_drains_and_clears(dir, lone):
    with Demo(dir, lone) as demo:
        token = demo.child.wait_line(r"^export PORTOLAN_TOKEN=([0-9a-f]{32})$", 5)[1]
        printed = next(line for line in demo.child.out() if " drain " in line).split(" drain ")[1]
        answered = lambda: {str(r) for s in ask(SERVER, WWW, source="127.2.0.7", place=lone).answer for r in s}
        assert answered() == {"127.2.0.10"}
        drained = command("drain", *printed.split(), place=lone, env={"PORTOLAN_TOKEN": token})
        assert drained.returncode == 0 and drained.stdout.startswith("region:eu-west drained until "), drained
        assert answered() == {"127.1.0.10"}
        demo.child.wait_line(r"www-eu \(eu-west\) up -> drained", 5)
        assert command("clear", "region:eu-west", place=lone, env={"PORTOLAN_TOKEN": token}).returncode == 0
        assert answered() == {"127.2.0.10"}
        assert token not in demo.child.err()


def test_a_killed_region_goes_down_and_comes_back(dir, lone, figure):
    with Demo(dir, lone) as demo, demo.steady("eu-west") as client:
        addresses, pid = demo.regions()["eu-west"]
        client.wait_for(lambda r: set(r.answers) & set(addresses), 10)
        printed = demo.lines_so_far()
        event = time.time()
        os.kill(pid, signal.SIGTERM)
        client.wait_for(lambda r: r.due > event + 3, 20)
        replies = client.replies()
        took = max(last_naming(replies, address, event) for address in addresses)
        late = stall(replies, event, event + took)
        figure("killed region last named after", took, "s", 1.2)
        assert took <= 1.2 + 2 * late, f"{took:.3f} s, machine stalled {late:.3f} s\n{demo.child.output()}"

        demo.wait_region("eu-west", RESTART_SECONDS + 15, after=printed)
        again = time.time() - event
        new_addresses, new_pid = demo.regions()["eu-west"]
        assert new_pid != pid and new_addresses == addresses
        assert RESTART_SECONDS - 2 <= again, f"started again after {again:.1f} s"
        figure("killed region started again after", again, "s")
        client.wait_for(lambda r: set(r.answers) & set(addresses), 10, since=time.time())
        between = demo.child.out()[printed:]
        assert any("eu-west" in line and re.search(r"\d\s*m?s\b", line) for line in between), f"how long it took: {between}"
        assert unanswered(client.finish()) == []


def test_a_stopped_region_goes_down_and_comes_back(dir, lone, figure):
    with Demo(dir, lone) as demo, demo.steady("ap-south") as client:
        addresses, pid = demo.regions()["ap-south"]
        client.wait_for(lambda r: set(r.answers) & set(addresses), 10)
        event = time.time()
        os.kill(pid, signal.SIGSTOP)
        client.wait_for(lambda r: r.due > event + 7, 20)
        replies = client.replies()
        took = max(last_naming(replies, address, event) for address in addresses)
        late = stall(replies, event, event + took)
        figure("stopped region last named after", took, "s", 5)
        assert took <= 5 + 2 * late, f"{took:.3f} s, machine stalled {late:.3f} s\n{demo.child.output()}"
        os.kill(pid, signal.SIGCONT)
        client.wait_for(lambda r: set(r.answers) & set(addresses), 15, since=time.time())
        assert demo.regions()["ap-south"][1] == pid, "the same process goes on"
        assert unanswered(client.finish()) == []


def test_all_regions_gone_still_answers(dir, lone):
    with Demo(dir, lone) as demo:
        for _, pid in demo.regions().values():
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: ede(ask(SERVER, WWW, place=lone)) == [3], 15)
        assert ask(SERVER, WWW, place=lone).answer


def test_ctrl_c_is_clean(dir, lone):
    """A terminal sends SIGINT to the whole group: no line about regions that end, and no process is left."""
    with Demo(dir, lone) as demo:
        pids = [pid for _, pid in demo.regions().values()]
        printed = demo.lines_so_far()
        os.killpg(demo.child.pid, signal.SIGINT)
        assert demo.child.wait(10) == 0, demo.child.output()
        assert not any("gone" in line for line in demo.child.out()[printed:]), demo.child.out()[printed:]
        wait_until(lambda: not any(is_alive(pid) for pid in pids), 5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly_at_sigterm(dir, lone, number):
    with Demo(dir, lone) as demo:
        pids = [pid for _, pid in demo.regions().values()]
        os.kill(pids[0], signal.SIGSTOP)
        assert set(pids) <= set(children_of(demo.child.pid))
        demo.child.signal(number)
        assert demo.child.wait(10) == 0, demo.child.output()
        wait_until(lambda: not any(is_alive(pid) for pid in pids), 5)
        assert "panicked" not in demo.child.err()


def test_ctrl_c_while_it_starts_is_clean(dir, lone):
    """After the first process has started, before the ready line."""
    child = Child([BINARY, "demo"], dir, "demo", place=lone, env=environment(), before_exec=os.setsid)
    try:
        pids = wait_until(lambda: children_of(child.pid), 10)
        os.killpg(child.pid, signal.SIGINT)
        assert child.wait(10) == 0, child.output()
        wait_until(lambda: not any(is_alive(pid) for pid in pids), 5)
    finally:
        child.end()


def test_it_ends_by_itself(dir, lone):
    began = time.monotonic()
    with Demo(dir, lone, "--for", "3s") as demo:
        pids = [pid for _, pid in demo.regions().values()]
        assert demo.child.wait(20) == 0, demo.child.output()
        assert time.monotonic() - began >= 3
        wait_until(lambda: not any(is_alive(pid) for pid in pids), 5)


def test_a_killed_demo_leaves_no_process(dir, lone):
    """SIGKILL can't be caught: the regions notice that their parent has ended."""
    with Demo(dir, lone) as demo:
        pids = [pid for _, pid in demo.regions().values()]
        demo.child.signal(signal.SIGKILL)
        demo.child.wait(5)
        wait_until(lambda: not any(is_alive(pid) for pid in pids), 5)


def test_a_port_in_use_is_reported_in_one_line(dir, lone):
    with Demo(dir, lone):
        second = command("demo", place=lone)
        assert second.returncode == 1
        last = second.stderr.strip().splitlines()[-1]
        assert "in use" in last and re.search(r"127\.\d+\.\d+\.\d+:\d+", last), second.stderr
        assert "panicked" not in second.stderr
