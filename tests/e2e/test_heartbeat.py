"""Services that report by themselves that they are alive, by curl."""
import json
import signal
import subprocess
import time

from processes import wait_until
from test_operator import ALICE, BOB, FILE, start

POLICY = """
zone = "svc.example."

[defaults]
ttl = "5s"
on_empty = "nodata"

[monitor.beat]
type = "heartbeat"
ttl = "2s"

[endpoint.fra1]
addresses = ["192.0.2.1"]
monitor = "beat"
[endpoint.fra2]
cname = "fra2.hosting.example."
monitor = "beat"
[endpoint.plain]
addresses = ["192.0.2.3"]

[name.www]
pool = "fra1"
[name.alias]
pool = "fra2"
[name.plain]
pool = "plain"
"""

NAME = "www.svc.example."


def curl(node, method, endpoint, body=None, token=ALICE):
    """The status and JSON of the response."""
    argv = ["curl", "-sS", "-X", method, "-w", "\n%{http_code}"]
    argv += ["-H", f"authorization: Bearer {token}"] if token else []
    argv += ["-d", json.dumps(body)] if body is not None else []
    argv += [f"http://{node.http[0]}:{node.http[1]}/v1/heartbeat/{endpoint}"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
    text, status = done.stdout.rsplit("\n", 1)
    return int(status), json.loads(text)


def is_up(node):
    return node.addresses(NAME) == ["192.0.2.1"]


def test_a_beat_lasts_for_its_ttl_and_goodbye_is_at_once(dir):
    with start(dir, POLICY) as node:
        wait_until(lambda: not is_up(node), 10)  # no beat arrived within the monitor's ttl
        assert curl(node, "PUT", "fra1", {"ttl": "1s"}) == (200, {"endpoint": "fra1", "zones": ["svc.example."], "ttl": "1s"})
        wait_until(lambda: is_up(node), 5)
        renewed = time.monotonic()
        for _ in range(6):
            time.sleep(0.25)
            renewed = time.monotonic()
            assert curl(node, "PUT", "fra1", {"ttl": "1s"})[0] == 200
            assert is_up(node)
        wait_until(lambda: not is_up(node), 10)
        took = time.monotonic() - renewed
        measured = f"out of the answers {took:.3f} s after the last beat, whose ttl was 1 s"
        print(measured)
        assert 0.9 < took < 2.0, measured
        event = json.loads(node.get("/v1/transitions")[1])[0]
        assert (event["endpoint"], event["to"]) == ("fra1", "down") and "no heartbeat within the ttl of 1s" in event["why"], event

        assert curl(node, "PUT", "fra1")[1]["ttl"] == "2s", "without a body: as long as the monitor says"
        wait_until(lambda: is_up(node), 5)
        assert curl(node, "DELETE", "fra1") == (200, {"endpoint": "fra1", "zones": ["svc.example."]})
        gone = time.monotonic()
        wait_until(lambda: not is_up(node), 1)
        print(f"out of the answers {time.monotonic() - gone:.3f} s after the goodbye was taken")
        assert "goodbye" in json.loads(node.get("/v1/transitions")[1])[0]["why"]


def test_beats_need_a_token_and_an_endpoint_with_a_heartbeat(dir):
    with start(dir, POLICY) as node:
        for method, endpoint, body, token, status, says in [
            ("PUT", "fra1", None, None, 401, "a token is needed"),
            ("PUT", "fra1", None, BOB, 403, "role read"),
            ("DELETE", "fra1", None, BOB, 403, "role read"),
            ("PUT", "fra9", None, ALICE, 404, "did you mean"),
            ("PUT", "plain", None, ALICE, 409, "no monitor of type heartbeat"),
            ("PUT", "fra1", {"ttl": "3s"}, ALICE, 400, "at most 2s"),
            ("PUT", "fra1", {"ttl": "1ms"}, ALICE, 400, "from 100ms to 1h"),
            ("PUT", "fra1", {"ttl": "soon"}, ALICE, 400, "no length of time"),
            ("PUT", "fra1", {"tll": "1s"}, ALICE, 400, "expected"),
        ]:
            found, answer = curl(node, method, endpoint, body, token)
            assert found == status and says in answer["detail"], (method, endpoint, body, answer)


def test_beats_outlive_a_reload(dir):
    with start(dir, POLICY.replace('"2s"', '"60s"')) as node:
        assert curl(node, "DELETE", "fra1")[0] == 200
        wait_until(lambda: not is_up(node), 5)
        node.write(FILE, POLICY.replace('"2s"', '"50s"'))
        assert node.command("reload").returncode == 0
        assert not is_up(node), "its monitor changed, the service did not"


def test_goodbyes_in_a_loop_do_not_fill_the_log_of_events(dir):
    with start(dir, POLICY) as node:
        taken, began = 0, time.monotonic()
        for _ in range(40):
            assert curl(node, "PUT", "fra1")[0] == 200
            status, answer = curl(node, "DELETE", "fra1")
            taken += status == 200
            if status != 200:
                assert status == 429 and "goodbyes of `fra1` come too often" in answer["detail"], answer
        assert 10 <= taken <= 11 + (time.monotonic() - began) / 10, taken


def test_phi_ends_a_beat_long_before_the_ttl(dir):
    policy = POLICY.replace('ttl = "2s"', 'ttl = "60s"\nphi = 8')
    with start(dir, policy) as node:
        def why():
            return [v.get("why", "") for e in node.status()["zones"][0]["endpoints"] if e["name"] == "fra1" for v in e["verdicts"]]

        # On a busy machine a beat may be so late that the detector begins again.
        beats = 0
        while not any("of 8, a beat every" in measured for measured in why()):
            assert curl(node, "PUT", "fra1")[0] == 200
            last, beats = time.monotonic(), beats + 1
            assert beats < 300, why()
            time.sleep(0.15)
        assert beats > 20
        wait_until(lambda: not is_up(node), 30)
        took = time.monotonic() - last
        print(f"out of the answers {took:.3f} s after the last beat, whose ttl was 60 s")
        assert took < 15, took
        wait_until(lambda: "usually one every" in json.loads(node.get("/v1/transitions")[1])[0]["why"], 10)
        # An endpoint that is back has only its ttl until enough gaps are known again.
        assert curl(node, "PUT", "fra1")[0] == 200
        wait_until(lambda: is_up(node), 5)


def test_a_server_that_was_stopped_itself_ends_no_heartbeat(dir):
    with start(dir, POLICY.replace('ttl = "2s"', 'ttl = "5s"')) as node:
        assert curl(node, "PUT", "fra1")[0] == 200
        wait_until(lambda: is_up(node), 5)
        node.child.signal(signal.SIGSTOP)
        time.sleep(6)
        node.child.signal(signal.SIGCONT)
        # The beat that the stopped server did not receive is sent again.
        assert curl(node, "PUT", "fra1")[0] == 200
        assert is_up(node)
        downs = [t for t in json.loads(node.get("/v1/transitions")[1]) if (t["endpoint"], t["to"]) == ("fra1", "down")]
        assert downs == [], downs


def test_a_service_that_flaps_is_held_down(dir):
    with start(dir, POLICY) as node:
        for _ in range(2):
            assert curl(node, "PUT", "fra1", {"ttl": "300ms"})[0] == 200
            wait_until(lambda: is_up(node), 5)
            wait_until(lambda: not is_up(node), 5)
        assert curl(node, "PUT", "fra1", {"ttl": "2s"})[0] == 200

        def why():
            return " ".join(v.get("why", "") for e in node.status()["zones"][0]["endpoints"] for v in e["verdicts"])

        wait_until(lambda: "held down for" in why(), 5)
        assert not is_up(node) and "flapped 2 times" in why(), why()
