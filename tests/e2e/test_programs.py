"""Many exec monitors at once: at most 64 programs run at a time, and every one is run."""
from portolan import MASTER, Node
from processes import children_of, wait_until

# The limit in the manual.
ROOM = 64
COUNT = 100


def files():
    text = 'zone = "svc.example."\n\n[monitor.slow]\ntype = "exec"\nprogram = "/bin/sleep"\nargs = ["1"]\n'
    text += 'interval = "1s"\ntimeout = "60s"\n'
    for nth in range(COUNT):
        text += f'[endpoint.e{nth}]\naddresses = ["192.0.2.{nth + 1}"]\nmonitor = "slow"\n'
    names = ", ".join(f'"e{nth}"' for nth in range(COUNT))
    return {"svc.example.policy.toml": text + f"[pool.web]\nmembers = [{names}]\n[name.www]\npool = \"web\"\n", "svc.example.zone": MASTER}


def test_at_most_64_programs_run_at_a_time(dir, figure):
    """A hundred monitors each run a program for a second, every second."""
    with Node(dir, files(), bound=90) as node:
        most = 0

        def all_had_their_turns():
            nonlocal most
            most = max(most, len(children_of(node.child.pid)))
            return node.count("portolan_probes_total", kind="exec", result="success") >= 3 * COUNT

        wait_until(all_had_their_turns, 90)
        figure("programs at once, at most", most, "of 64")
        assert most == ROOM
        assert {e["health"] for e in node.status()["zones"][0]["endpoints"]} == {"up"}
        assert node.metric("portolan_probes_total", kind="exec", result="failure") is None
        assert node.metric("portolan_transitions_total", to="down") == 0


def test_programs_of_a_monitor_that_hang_do_not_hold_up_another_monitor(dir):
    """Two hundred endpoints whose program hangs, and two whose program begins to fail."""
    broken = dir / "broken"
    text = 'zone = "svc.example."\n\n[monitor.hangs]\ntype = "exec"\nprogram = "/bin/sleep"\nargs = ["1000"]\n'
    text += 'interval = "1s"\ntimeout = "4s"\n'
    text += '[monitor.good]\ntype = "exec"\nprogram = "/bin/sh"\n'
    text += f'args = ["-c", "test ! -e {broken}"]\ninterval = "200ms"\ntimeout = "2s"\n'
    for nth in range(2 * COUNT):
        text += f'[endpoint.e{nth}]\naddresses = ["192.0.2.{nth + 1}"]\nmonitor = "hangs"\n'
    for nth in (1, 2):
        text += f'[endpoint.g{nth}]\naddresses = ["198.51.100.{nth}"]\nmonitor = "good"\n'
    zones = {"svc.example.policy.toml": text + '[pool.web]\nmembers = ["g1"]\n[name.www]\npool = "web"\n', "svc.example.zone": MASTER}
    with Node(dir, zones, bound=120) as node:
        wait_until(lambda: len(children_of(node.child.pid)) >= ROOM, 60)
        states = lambda: {e["health"] for e in node.status()["zones"][0]["endpoints"] if e["name"].startswith("g")}
        wait_until(lambda: states() == {"up"}, 30)
        broken.touch()
        wait_until(lambda: states() == {"down"}, 30)
