"""The targets of overrides, the confirmation before one takes the last answer away, and the commands over https."""
import concurrent.futures
import json
import socket
import ssl
import subprocess
import threading
import urllib.parse

import trustme

import portolan
from portolan import MASTER, SETTINGS, Node, files, policy
from test_operator import ALICE, operate, write_tokens

REGIONS = SETTINGS + 'nets = ["127.2.0.0/16"]\n[regions.us-east]\nlocation = [38.9, -77.0]\nnets = ["127.3.0.0/16"]\n'

POLICY = policy(
    defaults={"ttl": "5s", "on_empty": "nodata"},
    endpoint={
        "fra1": {"addresses": ["192.0.2.1"], "region": "eu-west"},
        "fra2": {"addresses": ["192.0.2.2"], "region": "eu-west"},
        "nyc": {"addresses": ["192.0.2.3"], "region": "us-east"},
        "bos": {"addresses": ["192.0.2.5"], "region": "us-east"},
        "sip": {"addresses": ["192.0.2.4"]},
    },
    pool={
        "eu": {"members": ["fra1", "fra2"]},
        "us": {"members": ["nyc", "bos"]},
        "world": {"steer": "geo", "members": [{"to": "eu", "when": {"nets": ["127.2.0.0/16"]}}, {"to": "us"}]},
    },
    name={
        "www": {"pool": "world"},
        "eu": {"pool": "eu"},
        "api": {"pool": "eu"},
        "_sip._udp": {"pool": "sip", "types": ["SRV"], "port": 5060},
    },
)

OTHER = policy(
    zone="other.example.", endpoint={"fra1": {"addresses": ["192.0.2.11"]}}, name={"www": {"pool": "fra1"}}
)


def start(dir, policy=POLICY, **more):
    write_tokens(dir)
    return Node(dir, {**files(policy), **more.pop("files", {})}, settings=REGIONS, **more)


def overrides(node):
    return json.loads(operate(node, "overrides", "--format", "json").stdout)


def curl(node, method, path, body=None, token=ALICE):
    """The status and body of a call as plain `curl -d` makes it: as a form."""
    output = subprocess.run(
        ["curl", "-s", "-w", "\n%{http_code} %{content_type}", "-X", method, "-H", f"Authorization: Bearer {token}",
         *(["-d", body] if body is not None else []), node.url + path],
        capture_output=True, text=True, check=True, timeout=30,
    ).stdout
    text, _, last = output.rpartition("\n")
    status, kind = last.split(" ", 1)
    assert int(status) < 400 or kind == "application/problem+json", output
    return int(status), json.loads(text)


def test_an_override_that_takes_the_last_answer_away_must_be_confirmed(dir):
    with start(dir) as node:
        before = node.status()
        refused = operate(node, "force-down", "region:eu-west", "--why", "exercise")
        assert refused.returncode == 1 and refused.stdout == "", refused
        assert "% of questions would get no answer: eu, api for all clients (eu-west, unknown, us-east)" in refused.stderr
        assert "--yes" in refused.stderr and "nothing was changed" in refused.stderr
        assert overrides(node) == [] and node.status()["zones"] == before["zones"], "nothing was changed"
        assert node.addresses("eu.svc.example.") in (["192.0.2.1"], ["192.0.2.2"])

        status, problem = curl(node, "PUT", "/v1/overrides/region:eu-west", '{"state":"down","why":"x"}')
        assert status == 409 and problem["status"] == 409, problem
        assert [(n["name"], n["classes"], n["types"]) for n in problem["unanswered"]] == [
            ("eu", ["eu-west", "unknown", "us-east"], ["A"]), ("api", ["eu-west", "unknown", "us-east"], ["A"])]
        assert abs(problem["unanswered_share"] - 0.5) < 1e-6, problem
        printed = operate(node, "force-down", "region:eu-west", "--why", "x", "--format", "json")
        assert printed.returncode == 1 and json.loads(printed.stdout) == problem

        done = operate(node, "force-down", "region:eu-west", "--why", "exercise", "--yes")
        assert done.returncode == 0, done.stderr
        assert "\n50.0 % of questions now get no answer: eu, api for all clients" in done.stdout, done.stdout
        assert node.addresses("eu.svc.example.") == []
        again = operate(node, "force-down", "fra1", "--why", "already so")
        assert again.returncode == 0, "who has no answer already loses none"
        assert operate(node, "clear", "region:eu-west", "fra1").returncode == 0
        status, _ = curl(node, "PUT", "/v1/overrides/region:eu-west", '{"state":"down","why":"x","confirm":true}')
        assert status == 200


def test_services_are_counted_and_one_of_two_may_be_drained(dir):
    with start(dir) as node:
        refused = operate(node, "force-down", "sip", "--why", "x")
        assert refused.returncode == 1 and "_sip._udp for all clients" in refused.stderr, refused
        simulated = node.command("simulate", "--override", "sip=down", "--format", "json")
        report = json.loads(simulated.stdout)
        assert simulated.returncode == 1 and [n["types"] for n in report["unanswered"]] == [["SRV"]], report
        human = node.command("simulate", "--lose", "pool:eu")
        assert human.returncode == 1 and "would get no answer: eu, api for all clients" in human.stdout, human.stdout
        fine = node.command("simulate", "--lose", "fra1", "--format", "json")
        assert fine.returncode == 0 and json.loads(fine.stdout)["unanswered"] == []
        assert operate(node, "drain", "fra1", "--why", "x").returncode == 0, "fra2 is left"
        unconfirmed = operate(node, "force-down", "fra2", "--why", "x")
        assert operate(node, "force-down", "fra2", "--why", "x", "--yes").returncode == 0
        # The command names a drained endpoint that is answered because nothing else is up.
        assert (unconfirmed.returncode == 0) == (node.addresses("eu.svc.example.") != []), unconfirmed


def test_several_targets_are_changed_together_or_not_at_all(dir):
    with start(dir) as node:
        refused = operate(node, "force-down", "fra1", "fra2", "--why", "x")
        assert refused.returncode == 1 and "no answer: eu, api" in refused.stderr, "each alone would leave the other"
        assert overrides(node) == []
        refused = operate(node, "drain", "fra1", "fra3", "--why", "x")
        assert refused.returncode == 1 and "did you mean `fra" in refused.stderr and overrides(node) == []
        done = operate(node, "drain", "fra1", "nyc", "--why", "x", "--for", "2h")
        lines = done.stdout.splitlines()
        assert done.returncode == 0, done
        assert lines[0].startswith("fra1 drained until 2") and lines[1].startswith("nyc drained until 2"), lines
        assert "% of answers moved: " in lines[2], lines
        assert [o["target"] for o in overrides(node)] == ["fra1", "nyc"]
        refused = operate(node, "clear", "fra1", "fra2")
        assert refused.returncode == 1 and "there is no override of `fra2` to clear" in refused.stderr
        assert len(overrides(node)) == 2
        cleared = operate(node, "clear", "fra1", "nyc", "--format", "json")
        assert [(o["target"], o["override"]) for o in json.loads(cleared.stdout)["overrides"]] == [("fra1", None), ("nyc", None)]
        assert overrides(node) == []
        for argv in (("drain", "--why", "x"), ("drain", "", "--why", "x"), ("drain", "fra1", "--why", " "), ("clear",),
                     ("drain", "fra1", "--why", "x", "--for", "0s"), ("drain", "fra1", "--why", "a\x1b[2J")):
            assert operate(node, *argv).returncode == 2, argv


def test_of_two_simultaneous_changes_that_together_take_all_one_is_refused(dir):
    """Each alone leaves an endpoint. The computation of the effect and the change are one step."""
    with start(dir) as node:
        for _ in range(5):
            with concurrent.futures.ThreadPoolExecutor(2) as both:
                body = '{"state":"down","why":"x"}'
                puts = [both.submit(curl, node, "PUT", f"/v1/overrides/{name}", body) for name in ("fra1", "fra2")]
                assert sorted(put.result()[0] for put in puts) == [200, 409]
            [held] = overrides(node)
            assert node.addresses("eu.svc.example.") == (["192.0.2.2"] if held["target"] == "fra1" else ["192.0.2.1"])
            assert operate(node, "clear", held["target"]).returncode == 0


def test_a_target_is_an_endpoint_a_glob_a_pool_a_region_or_a_zone(dir):
    files = {"other.example.policy.toml": OTHER, "other.example.zone": MASTER}
    with start(dir, files=files) as node:
        def held():
            zones = node.status()["zones"]
            found = {(z["zone"], e["name"]): e["override"] for z in zones for e in z["endpoints"]}
            return {f"{zone}/{name}": f"{o['target']} {o['state']}" for (zone, name), o in found.items() if o}

        steps = [
            ("drain", "zone:svc.example", {"fra1", "fra2", "nyc", "bos", "sip"}),
            ("force-up", "region:eu-west", {"fra1", "fra2"}),
            ("drain", "pool:eu", {"fra1", "fra2"}),
            ("force-up", "fra*", {"fra1", "fra2"}),
            ("drain", "svc.example/fra1", {"fra1"}),
        ]
        expected = {}
        for command, target, names in steps:
            done = operate(node, command, target, "--why", "x", "--yes")
            assert done.returncode == 0, done
            expected.update({f"svc.example./{n}": f"{target} {'up' if command == 'force-up' else 'drain'}" for n in names})
            if "*" in target:
                expected["other.example./fra1"] = "fra* up"
            assert held() == expected, target
        # The wider ones count for no endpoint of theirs, or for some: status lists all, once.
        idle = {entry["target"]: entry["overridden_by"] for entry in node.status()["idle_overrides"]}
        assert idle == {"pool:eu": ["fra*", "svc.example/fra1"], "region:eu-west": ["fra*", "svc.example/fra1"]}, idle
        shown = node.command("status").stdout.split("overrides\n")[1]
        assert "(overridden by fra*, svc.example/fra1)" in shown, shown
        assert all(shown.count(f"\n{target} ") == 1 for _, target, _ in steps), shown
        output = node.command("explain", "eu.svc.example").stdout
        assert "drained by alice (svc.example/fra1)" in output and "forced up by alice (fra*)" in output, output
        assert operate(node, "drain", "pool:eu", "--why", "once more", "--yes").returncode == 0
        assert held() == expected, "newer, but wider"
        assert operate(node, "clear", "svc.example./fra1").returncode == 0, "one zone, written twice"
        expected["svc.example./fra1"] = "fra* up"
        assert held() == expected
    with start(dir, files=files) as node:
        assert held() == expected, "it outlives a restart"
        for target, near in [
            ("pool:wrold", "did you mean `world`?"), ("zone:svc.exampel", "did you mean `svc.example.`?"), ("ams*", "matches"),
            ("eu", "did you mean `pool:eu`?"), ("regoin:eu-west", "did you mean `region:eu-west`?"),
            ("other.example/nyc", "did you mean `svc.example./nyc`?"),
        ]:
            for argv in (("drain", target, "--why", "x"), ("clear", target)):
                refused = operate(node, *argv)
                assert refused.returncode == 1 and near in refused.stderr, (target, refused)
        status, problem = curl(node, "DELETE", "/v1/overrides/nyc")
        assert status == 404 and "there is one of `zone:svc.example`" in problem["detail"], problem
        status, changed = curl(node, "DELETE", "/v1/overrides/" + urllib.parse.quote("fra*", safe=""))
        assert status == 200 and changed["before"]["target"] == "fra*"
        status, changed = curl(node, "DELETE", "/v1/overrides/zone:svc.example")
        assert status == 200 and changed["override"] is None


def test_bodies_are_read_as_plain_curl_sends_them(dir):
    with start(dir) as node:
        status, report = curl(node, "POST", "/v1/simulate", '{"lose":["fra1"],"qps":100}')
        assert status == 200 and report["lost"] == ["fra1"], report
        assert curl(node, "POST", "/v1/simulate", "")[0] == 200
        assert curl(node, "POST", "/v1/simulate", "lose=fra1")[0] == 400
        status, changed = curl(node, "PUT", "/v1/overrides?target=fra1&target=nyc", '{"state":"drain","why":"x"}')
        assert status == 200 and [o["target"] for o in changed["overrides"]] == ["fra1", "nyc"], changed
        assert curl(node, "DELETE", "/v1/overrides?target=fra1&target=nyc")[0] == 200
        assert curl(node, "DELETE", "/v1/overrides")[0] == 400
        assert curl(node, "PUT", "/v1/overrides?traget=fra1", '{"state":"drain","why":"x"}')[0] == 400
        # A drain prints the same share as a simulation of it.
        for target in ("fra1", "region:us-east", "pool:eu"):
            simulated = curl(node, "POST", "/v1/simulate", json.dumps({"override": [{"target": target, "state": "drain"}]}))[1]
            status, drained = curl(node, "PUT", f"/v1/overrides/{target}", '{"state":"drain","why":"x","confirm":true}')
            assert status == 200 and abs(drained["moved"]["share"] - simulated["moved"]) < 1e-6, (drained, simulated)
            after = {e["endpoint"]: e["after"] for e in simulated["endpoints"]}
            assert all(abs(after[e["endpoint"]] - e["after"]) < 1e-6 for e in drained["moved"]["endpoints"])
            assert curl(node, "DELETE", f"/v1/overrides/{target}")[0] == 200


DATABASE = POLICY + """
[pool.database]
steer = "failover"
members = ["fra1", "nyc"]
[pool.timed]
steer = "failover"
members = ["fra1", "nyc"]
[name.db]
pool = "database"
failback = "manual"
[name.auto]
pool = "database"
[name.later]
pool = "timed"
failback = "10m"
"""


def test_failback_moves_a_name_back(dir):
    with start(dir, DATABASE) as node:
        name = "db.svc.example"
        done = operate(node, "failback", name)
        assert done.returncode == 0 and "nothing to do: pool database is on fra1" in done.stdout, done
        for argv in (("drain", "fra1", "--why", "x"), ("clear", "fra1")):
            assert operate(node, *argv).returncode == 0
        assert node.addresses(name) == ["192.0.2.3"] and node.addresses("auto.svc.example.") == ["192.0.2.1"]
        assert operate(node, "failback", name, token="b" * 32).returncode == 1, "bob may read only"
        assert node.addresses(name) == ["192.0.2.3"]
        done = operate(node, "failback", name)
        assert done.returncode == 0 and "db.svc.example.: pool database handed back from nyc to fra1" in done.stdout, done
        assert node.addresses(name) == ["192.0.2.1"]
        for other, why in [
            ("auto.svc.example", 'failback is "auto"'), ("later.svc.example", 'failback is "10m"'),
            ("www.svc.example", 'no pool of it has steer = "failover"'), ("ns1.svc.example", "not a steered name"),
            ("bd.svc.example", "did you mean `db.svc.example.`?"),
        ]:
            refused = operate(node, "failback", other)
            assert refused.returncode == 1 and why in refused.stderr, refused
        assert operate(node, "failback").returncode == 2
        status, answer = curl(node, "POST", "/v1/failback/db.svc.example")
        assert status == 200 and answer["handed_back"] == [] and answer["stays"] == [{"pool": "database", "member": "fra1"}]
        log = [line for line in node.child.err().splitlines() if ": failback " in line]
        assert len(log) == 1, "one line for the one change, none where there was nothing to do"
        assert 'pool="database" from="nyc" to="fra1" who="alice"' in log[0], log
    with start(dir, DATABASE) as node:
        assert node.addresses(name) == ["192.0.2.1"], "it outlives a restart"


def relay(listener, context, to):
    """Ends TLS in front of a node, one connection after the other."""
    while True:
        try:
            plain, _ = listener.accept()
        except OSError:
            return
        try:
            with context.wrap_socket(plain, server_side=True) as client, socket.create_connection(to) as server:
                request = client.recv(65536)
                server.sendall(request)
                while chunk := server.recv(65536):
                    client.sendall(chunk)
        except OSError:
            pass


def test_the_server_comes_from_the_environment_and_may_use_tls(dir):
    with start(dir) as node:
        def run(*argv, **env):
            return portolan.command(*argv, env={"PORTOLAN_TOKEN": ALICE, **env})

        for argv in (("status",), ("explain", "www.svc.example"), ("simulate", "--lose", "fra1"), ("overrides",),
                     ("drain", "fra1", "--why", "x"), ("clear", "fra1"), ("reload",)):
            done = run(*argv, PORTOLAN_SERVER=node.url)
            assert done.returncode == 0, (argv, done)
        checked = run("explain", "www.svc.example", "--config", node.settings, PORTOLAN_SERVER=node.url)
        assert checked.returncode == 0, "a server in the environment does not contradict --config"
        wrong = run("status", PORTOLAN_SERVER="127.0.0.1:8053")
        assert wrong.returncode == 2 and "PORTOLAN_SERVER" in wrong.stderr, wrong
        assert run("status", "--server", node.url, PORTOLAN_SERVER="nonsense").returncode == 0, "the flag goes first"

        ca = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("127.0.0.1").configure_cert(context)
        file = dir / "ca.pem"
        ca.cert_pem.write_to_path(str(file))
        listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=relay, args=(listener, context, node.http), daemon=True).start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        done = run("status", "--server", url, "--ca", file)
        assert done.returncode == 0 and "fra1" in done.stdout, done
        assert run("drain", "fra1", "--why", "x", PORTOLAN_SERVER=url, PORTOLAN_CA=str(file)).returncode == 0
        assert [o["target"] for o in overrides(node)] == ["fra1"]
        untrusted = run("status", "--server", url)
        assert untrusted.returncode == 1 and "--ca" in untrusted.stderr and "authority" in untrusted.stderr, untrusted
        missing = run("status", "--server", url, "--ca", dir / "none.pem")
        assert missing.returncode == 1 and "none.pem" in missing.stderr
        named = run("status", "--server", url.replace("127.0.0.1", "localhost"), "--ca", file)
        assert named.returncode == 1 and "not for localhost" in named.stderr, named
        plain = run("status", "--server", node.url.replace("http:", "https:"), "--ca", file)
        assert plain.returncode == 1 and "TLS" in plain.stderr, plain
        own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        (dir / "own.pem").write_bytes(ca.private_key_pem.bytes() + ca.cert_pem.bytes())
        own.load_cert_chain(dir / "own.pem")
        of_authority = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=relay, args=(of_authority, own, node.http), daemon=True).start()
        refused = run("status", "--server", f"https://127.0.0.1:{of_authority.getsockname()[1]}", "--ca", file)
        assert refused.returncode == 1 and "basicConstraints=critical,CA:FALSE" in refused.stderr, refused
        assert "OtherError" not in refused.stderr, refused
        of_authority.close()
        listener.close()
        help = run("explain", "--help").stdout
        assert all(word in help for word in ("SRV", "HTTPS", "SVCB", "PORTOLAN_SERVER")), help
        usage = next(line for line in run("drain", "--help").stdout.splitlines() if line.startswith("Usage"))
        assert "--server" not in usage, usage
