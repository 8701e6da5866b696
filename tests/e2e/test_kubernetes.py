"""The EndpointSlices of a Kubernetes Service as a source, of a server that replays lists and watches: no kube-apiserver is here."""
import base64
import json
import ssl
import threading
import time

import dns.flags
import pytest
import trustme
import yaml

from kubernetes_api import KubernetesApi, pod
from portolan import SETTINGS, Node, ask, command, files, policy, write_files
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
    source = {key: value for key, value in source.items() if value is not None}
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


def kubeconfig(server, user, cluster=None):
    """A kubeconfig with two contexts; the current one is that of the server."""
    return {
        "apiVersion": "v1", "kind": "Config", "current-context": "portolan@eu", "preferences": {},
        "clusters": [
            {"name": "other", "cluster": {"server": "https://192.0.2.1:6443"}},
            {"name": "eu", "cluster": {"server": server, **(cluster or {})}},
        ],
        "contexts": [
            {"name": "other", "context": {"cluster": "other", "user": "portolan"}},
            {"name": "portolan@eu", "context": {"cluster": "eu", "user": "portolan", "namespace": "shop"}},
        ],
        "users": [{"name": "portolan", "user": user}],
    }


def put_kubeconfig(zones, content):
    """In one step, as whoever renews a file should do it."""
    zones.mkdir(parents=True, exist_ok=True)
    (zones / "next").write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    (zones / "next").rename(zones / "eu.kubeconfig")


def test_a_kubeconfig_says_where_the_api_is_and_who_this_server_is(dir):
    """The API has TLS with a certificate for another name, wants a certificate of the client, and a token."""
    ca = trustme.CA()
    server, client = ca.issue_cert("kubernetes"), ca.issue_cert("portolan@example.org")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.configure_cert(tls)
    ca.configure_trust(tls)
    tls.verify_mode = ssl.CERT_REQUIRED
    zones = dir / "node/zones"

    def packed(pem):
        return base64.b64encode(pem).decode()

    cluster = {"certificate-authority-data": packed(ca.cert_pem.bytes()), "tls-server-name": "kubernetes"}
    own = {
        "client-certificate-data": packed(client.cert_chain_pems[0].bytes()),
        "client-key-data": packed(client.private_key_pem.bytes()),
    }
    with KubernetesApi(token="right", tls=tls) as api:
        api.put("web-1", [pod("a", "192.0.2.1")])
        put_kubeconfig(zones, kubeconfig(api.url, {**own, "token": "wrong"}, cluster))
        with Node(dir, zone(api, address=None, namespace=None, kubeconfig="eu.kubeconfig")) as node:
            wait_until(lambda: report(node)["state"] == "bad", SOON)
            assert "check the user of the kubeconfig" in report(node)["problem"]
            put_kubeconfig(zones, kubeconfig(api.url, {**own, "token": "right"}, cluster))
            waits(node, ["192.0.2.1"])
            # What can't be used changes no answer, and says where it is wrong.
            put_kubeconfig(zones, json.dumps(kubeconfig(api.url, {"exec": {"command": "aws"}}, cluster), indent=1))
            wait_until(lambda: report(node)["state"] == "bad", SOON)
            assert "eu.kubeconfig:" in report(node)["problem"] and "needs a program (`exec`)" in report(node)["problem"]
            assert node.addresses(NAME) == ["192.0.2.1"]
            (zones / "token").write_text("right")
            put_kubeconfig(zones, kubeconfig(api.url, {**own, "tokenFile": "token"}, {**cluster, "tls-server-name": "other"}))
            wait_until(lambda: "the server's certificate is not for other" in (report(node)["problem"] or ""), SOON)
            put_kubeconfig(zones, kubeconfig(api.url, {**own, "tokenFile": "token"}, cluster))
            wait_until(lambda: report(node)["state"] == "ok", SOON)
            api.put("web-1", [pod("a", "192.0.2.9")])
            waits(node, ["192.0.2.9"])
            with KubernetesApi() as other:
                other.put("web-9", [pod("z", "192.0.2.66")])
                put_kubeconfig(zones, kubeconfig(other.url, {}))
                waits(node, ["192.0.2.66"])


class Nowhere:
    """In place of a KubernetesApi: the source has no `address`."""
    url = None


def test_check_warns_of_a_kubeconfig_that_can_not_be_used_and_the_server_starts(dir):
    settings = write_files(dir, SETTINGS, zone(Nowhere, address=None, kubeconfig="eu.kubeconfig", context="eu"))
    zones = settings.parent / "zones"
    for content, line, message, kind in [
        (None, "eu.kubeconfig:1:1", "can't be read", "note"),
        (kubeconfig("https://192.0.2.1", {}), "eu.kubeconfig:1:1", "there is no context `eu`", "warning"),
        ("kind: Secret\n", "eu.kubeconfig:1:7", "not a kubeconfig", "warning"),
        ("a: [1\n", "eu.kubeconfig:", "not a kubeconfig", "warning"),
    ]:
        if content:
            put_kubeconfig(zones, content)
        checked = command("check", "--config", settings)
        assert checked.returncode == 0, checked.stderr
        [found] = [of for of in checked.stdout.splitlines() if "kubeconfig" in of]
        assert line in found and message in found and f": {kind}: " in found, found


def test_outside_of_a_pod_the_source_says_what_to_write(dir):
    with Node(dir, zone(Nowhere, address=None)) as node:
        wait_until(lambda: report(node)["state"] == "bad", SOON)
        assert "write `kubeconfig` or `address`" in report(node)["problem"]
