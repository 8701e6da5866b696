"""A reload is all or nothing for each zone, reports its result, and loses no query."""
import json
import socket
import time

from portolan import MASTER, SETTINGS, Node
from processes import wait_until
from steady import Steady

POLICY = """
zone = "svc.example."

[defaults]
ttl = "1s"

[endpoint.one]
addresses = ["{address}"]

[pool.web]
members = ["one"]

[name.www]
pool = "web"
"""

BROKEN = POLICY.format(address="192.0.2.9") + """
[pool.other]
members = ["nobody"]
"""

FILE = "svc.example.policy.toml"


def start(dir):
    return Node(dir, {FILE: POLICY.format(address="192.0.2.1"), "svc.example.zone": MASTER})


def test_a_broken_file_changes_nothing_and_a_good_one_everything(dir):
    with start(dir) as node, Steady(node.dir, node.udp, "www.svc.example.", per_second=300) as client:
        before = node.status()["generation"]
        assert node.metric("portolan_last_reload_ok") == 1
        assert node.metric("portolan_generation") == before

        node.write(FILE, BROKEN)
        node.hup()
        wait_until(lambda: node.metric("portolan_last_reload_ok") == 0, 10)
        state = node.status()
        assert state["generation"] == before and state["reload"]["ok"] is False
        assert any("nobody" in str(problem) and FILE in str(problem) for problem in state["reload"]["problems"]), state["reload"]
        assert "nobody" in node.child.err(), "and the log"
        assert node.addresses("www.svc.example.") == ["192.0.2.1"], "the old generation goes on"
        assert node.get("/readyz")[0] == 200

        fixed = time.time()
        node.write(FILE, POLICY.format(address="192.0.2.2"))
        node.hup()
        wait_until(lambda: node.addresses("www.svc.example.") == ["192.0.2.2"], 10)
        wait_until(lambda: node.metric("portolan_last_reload_ok") == 1, 5)
        state = node.status()
        assert state["generation"] > before and state["reload"]["ok"] is True and state["reload"]["at"] >= fixed - 1
        assert not state["reload"]["problems"]
        # The watch of the files may have loaded them once more.
        wait_until(lambda: node.metric("portolan_generation") == node.status()["generation"], 5)

        replies = client.finish()
        assert all(r.got and r.rcode == "NOERROR" for r in replies), "no question lost"
        assert {a for r in replies for a in r.answers} == {"192.0.2.1", "192.0.2.2"}, "never the broken file's"
        changes = sum(1 for a, b in zip(replies, replies[1:]) if a.answers != b.answers)
        assert changes <= 4, f"{changes} changes: each of the two or so workers goes over once"


def test_files_are_watched(dir):
    """Without a signal: a file that is replaced by a rename and one that is overwritten are both noticed."""
    with start(dir) as node:
        node.write(FILE, POLICY.format(address="192.0.2.2"))
        wait_until(lambda: node.addresses("www.svc.example.") == ["192.0.2.2"], 15)
        (node.dir / "zones" / FILE).write_text(POLICY.format(address="192.0.2.3"))
        wait_until(lambda: node.addresses("www.svc.example.") == ["192.0.2.3"], 15)
        node.write("svc.example.zone", MASTER + "\nnew IN A 198.51.100.7\n")
        wait_until(lambda: node.addresses("new.svc.example.") == ["198.51.100.7"], 15)


def test_zones_are_added_and_removed(dir):
    with start(dir) as node:
        node.write("other.example.zone", MASTER + "\nwww IN A 198.51.100.8\n")
        node.hup()
        wait_until(lambda: node.addresses("www.other.example.") == ["198.51.100.8"], 15)
        (node.dir / "zones" / "other.example.zone").unlink()
        assert node.command("reload", "--confirm-removal").returncode == 0
        wait_until(lambda: node.ask("www.other.example.").rcode() == 5, 15)
        assert node.addresses("www.svc.example.") == ["192.0.2.1"]


def test_reload_under_load(dir):
    """Twenty reloads in a row during 500 queries a second: each is answered from the old or the new files."""
    with start(dir) as node, Steady(node.dir, node.udp, "www.svc.example.", per_second=500) as client:
        for turn in range(20):
            address = f"192.0.2.{10 + turn}"
            node.write(FILE, POLICY.format(address=address))
            node.hup()
            wait_until(lambda: node.addresses("www.svc.example.") == [address], 15)
        replies = client.finish()
        assert all(r.got and r.rcode == "NOERROR" and len(r.answers) == 1 for r in replies)


def test_health_outlives_a_reload(dir, endpoints):
    """An endpoint that is down stays down over a reload, because its state is restored."""
    one = endpoints("one")
    policy = f"""
    zone = "svc.example."
    [defaults]
    ttl = "1s"
    [monitor.web]
    type = "tcp"
    interval = "300ms"
    timeout = "200ms"
    [endpoint.one]
    addresses = ["192.0.2.1"]
    probe = "{one.at}"
    monitor = "web"
    [pool.web]
    members = ["one"]
    [name.www]
    pool = "web"
    on_empty = "nodata"
    """
    with Node(dir, {FILE: policy, "svc.example.zone": MASTER}) as node:
        one.kill()
        wait_until(lambda: node.addresses("www.svc.example.") == [], 10)
        with Steady(node.dir, node.udp, "www.svc.example.", per_second=200) as client:
            generation = node.status()["generation"]
            node.write("svc.example.zone", MASTER + "\nnew IN A 198.51.100.7\n")
            node.hup()
            wait_until(lambda: node.status()["generation"] > generation and node.addresses("new.svc.example."), 10)
            client.wait_for(lambda r: True, 10, since=time.time())
            assert all(r.answers == [] for r in client.finish()), "no flash of the dead endpoint"


def test_a_change_that_a_reload_has_read_is_not_read_again(dir):
    """Nothing is loaded after a reload until something changes. The watcher may load an edit before the reload does: it
    waits for a moment only, and a busy machine needs longer to start the command."""

    def stays():
        """The generation, which is the same for longer than the watcher waits."""
        before = node.status()["generation"]
        time.sleep(1)
        assert node.status()["generation"] == before, node.command("events", "--since", "0").stdout
        return before

    with start(dir) as node:
        for address in ("192.0.2.2", "192.0.2.3"):
            node.write(FILE, POLICY.format(address=address))
            assert node.command("reload").returncode == 0
            assert node.addresses("www.svc.example.") == [address]
            before = stays()
        node.write(FILE, POLICY.format(address="192.0.2.4"))
        wait_until(lambda: node.addresses("www.svc.example.") == ["192.0.2.4"], 15)
        assert stays() == before + 1


def test_files_that_change_all_the_time_are_served(dir):
    """New endpoints take seconds to be probed first, and the next change comes before that has ended."""
    with socket.create_server(("127.0.0.1", 0)) as silent, start(dir) as node:
        slow = POLICY + """
[monitor.slow]
type = "http"
port = {port}
timeout = "1500ms"
[endpoint.slow]
addresses = ["127.0.0.1"]
monitor = "slow"
[name.slow]
pool = "slow"
"""
        edits = iter(range(2, 250))
        served = set()

        def edited_and_served():
            node.write(FILE, slow.format(port=silent.getsockname()[1], address=f"192.0.2.{next(edits)}"))
            served.update(node.addresses("www.svc.example."))
            return served - {"192.0.2.1"}

        wait_until(edited_and_served, 40, step=0.25)


def test_a_key_that_takes_a_restart_is_named_as_not_taken_until_it_is_as_before(dir):
    """By the command, by a signal and by the watch; what else changed in the files is served."""
    chaos = SETTINGS + '[chaos]\nversion = "two"\n'
    workers = chaos.replace("[listen]\n", "[listen]\nworkers = 3\n")
    line = workers.splitlines().index("workers = 3") + 1
    place = f"portolan.toml:{line}:1: error: `listen.workers` has changed: that takes a restart"

    def refused():
        reload = node.status()["reload"]
        causes = [p for p in reload["problems"] if (p["line"], p["column"], p["severity"]) == (line, 1, "error")]
        return not reload["ok"] and len(causes) == 1 and node.metric("portolan_last_reload_ok") == 0

    def taken():
        return node.status()["reload"]["ok"] and node.metric("portolan_last_reload_ok") == 1

    with start(dir) as node:
        node.settings.write_text(workers)
        node.write(FILE, POLICY.format(address="192.0.2.2"))
        done = node.command("reload")
        assert done.returncode == 1 and place in done.stderr, done
        assert refused(), node.status()["reload"]
        assert place in node.child.err() and node.addresses("www.svc.example.") == ["192.0.2.2"]
        done = node.command("reload")
        assert done.returncode == 1 and place in done.stderr, "again, as long as the file has it"
        node.settings.write_text(chaos)
        done = node.command("reload")
        assert done.returncode == 0 and "restart" not in done.stderr, done
        assert taken(), node.status()["reload"]
        for ask in (node.hup, lambda: None):
            node.settings.write_text(workers)
            ask()
            wait_until(refused, 15)
            node.settings.write_text(chaos)
            ask()
            wait_until(taken, 15)
        events = node.command("events", "--since", "0", "--format", "json").stdout.splitlines()
        assert any(place in json.loads(event)["data"]["why"] for event in events), events
