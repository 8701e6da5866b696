"""The EndpointSlices of a Kubernetes Service as a source, of a server that replays lists and watches: no kube-apiserver is here."""
import threading
import time

import dns.flags
import pytest

from kubernetes_api import KubernetesApi, pod
from portolan import SETTINGS, Node, ask, files, policy
from processes import wait_until

SOON = 30
NAME = "www.svc.example."


@pytest.fixture
def api():
    with KubernetesApi() as api:
        yield api


def zone(api, **more):
    source = {
        "type": "kubernetes", "address": api.url, "namespace": "shop", "service": "web", "port_name": "http", "pool": "web",
        "zones": {"eu-west-1a": "eu-west"}, **more,
    }
    return files(policy(
        defaults={"ttl": "5s"}, pool={"web": {"steer": "all"}}, name={"www": {"pool": "web", "answers": 64}}, discover={"web": source},
    ))


def report(node):
    return node.status()["sources"][0]


def waits(node, expected):
    wait_until(lambda: node.addresses(NAME) == sorted(expected), SOON)


def test_slices_come_change_and_go(dir, api):
    api.put("web-1", [pod("a", "192.0.2.1"), pod("b", "192.0.2.2", ready=False)])
    api.put("web-2", [pod("c", "192.0.2.3")])
    with Node(dir, zone(api)) as node:
        waits(node, ["192.0.2.1", "192.0.2.3"])
        assert {of["name"]: of["region"] for of in node.status()["zones"][0]["endpoints"]} == dict.fromkeys("abc", "eu-west")
        api.put("web-1", [pod("a", "192.0.2.1", ready=False, serving=True, terminating=True), pod("b", "192.0.2.2", ready=True)])
        waits(node, ["192.0.2.2", "192.0.2.3"])
        api.delete("web-2")
        waits(node, ["192.0.2.2"])
        lists = api.lists
        api.compact()
        wait_until(lambda: api.lists > lists, SOON)
        api.put("web-2", [pod("d", "192.0.2.4")])
        waits(node, ["192.0.2.2", "192.0.2.4"])
        wait_until(lambda: report(node)["state"] == "ok", SOON)


def test_a_watch_that_ends_goes_on_without_another_list(dir, api):
    api.put("web-1", [pod("a", "192.0.2.1")])
    with Node(dir, zone(api)) as node:
        waits(node, ["192.0.2.1"])
        wait_until(lambda: api.watches >= 2, 60)
        api.put("web-1", [pod("a", "192.0.2.2")])
        waits(node, ["192.0.2.2"])
        assert api.lists == 1


def test_the_api_is_away_or_refuses_and_the_last_list_stays(dir):
    (dir / "node/zones").mkdir(parents=True)
    token = dir / "node/zones/token"
    token.write_text("right\n")
    with KubernetesApi(token="right") as api:
        api.put("web-1", [pod("a", "192.0.2.1")])
        with Node(dir, zone(api, token_file="token")) as node:
            waits(node, ["192.0.2.1"])
            api.token = "other"
            api.compact()
            wait_until(lambda: report(node)["state"] == "bad", SOON)
            assert "check token_file" in report(node)["problem"]
            token.write_text("other\n")
            wait_until(lambda: report(node)["state"] == "ok", SOON)
            api.__exit__()
            wait_until(lambda: report(node)["state"] == "away", SOON)
            assert node.addresses(NAME) == ["192.0.2.1"]


def test_a_rolling_update_of_50_pods_leaves_no_pod_in_the_answers_that_is_gone(dir, api):
    """Each pod is replaced as a Deployment does it: the new one is ready, the old one terminates, then it is gone. Queries run
    all the time. An answer that was sent later than 100 ms after the event had reached the server must not have the old pod."""
    def slices(pods):
        for at in range(5):
            api.put(f"web-{at}", [of for nth, of in enumerate(pods) if nth % 5 == at])

    pods = [pod(f"old-{at}", f"192.0.2.{at}", ready=True) for at in range(1, 51)]
    slices(pods)
    gone, samples, is_over = {}, [], threading.Event()
    with Node(dir, zone(api, max=200)) as node:
        waits(node, [f"192.0.2.{at}" for at in range(1, 51)])

        def query():
            while not is_over.is_set():
                sent = time.monotonic()
                reply = ask(node.udp, NAME, payload=4096)
                answered = {rdata.to_text() for rrset in reply.answer for rdata in rrset}
                assert not reply.flags & dns.flags.TC
                samples.append((sent, answered))

        thread = threading.Thread(target=query)
        thread.start()
        try:
            for at in range(50):
                old, new = pods[at], pod(f"new-{at}", f"198.51.100.{at + 1}", ready=True)
                name, others = f"web-{at % 5}", [of for nth, of in enumerate(pods) if nth % 5 == at % 5 and nth != at]
                api.put(name, [*others, old, new])
                address = new["addresses"][0]
                wait_until(lambda: address in samples[-1][1] if samples else False, SOON)
                api.put(name, [*others, {**old, "conditions": {"ready": False, "serving": True, "terminating": True}}, new])
                gone[old["addresses"][0]] = api.put(name, [*others, new])
                pods[at] = new
            waits(node, [f"198.51.100.{at}" for at in range(1, 51)])
        finally:
            is_over.set()
            thread.join()
    assert samples and all(answered for _, answered in samples), "never an empty answer"
    late = [sent - gone[of] for sent, answered in samples for of in answered if of in gone and sent > gone[of]]
    print(f"{len(samples)} answers; longest time that a pod was answered with after it was gone: {max(late, default=0):.3f} s")
    # In order: once an answer is without a pod that is gone, no later one has it.
    for address, when in gone.items():
        has = [address in answered for sent, answered in samples if sent > when]
        assert has == sorted(has, reverse=True), f"{address} came back"
    assert not samples[-1][1] & gone.keys()
