"""The addresses of Ingresses and Gateways of Kubernetes as a source, of a server that replays lists and watches: no
kube-apiserver is here."""
import pytest

from kubernetes_api import KubernetesApi
from portolan import Node, files, policy
from processes import wait_until

SOON = 30
NAME = "www.svc.example."


def zone(api, resource, **more):
    source = {
        "type": "kubernetes", "address": api.url, "namespace": "shop", "resource": resource, "object": "edge", "pool": "web",
        "names": "eu-{name}", "min_keep": 0.3, **more,
    }
    return files(policy(
        defaults={"ttl": "5s"}, pool={"web": {"steer": "all"}}, discover={"web": source},
        name={"www": {"pool": "web", "answers": 8, "types": ["A", "AAAA"], "on_empty": "nodata"}},
    ))


def report(node):
    return node.status()["sources"][0]


def waits(node, expected, rtype="A"):
    wait_until(lambda: node.addresses(NAME, rtype) == sorted(expected), SOON)


def ingress(*addresses):
    entry = lambda address: {"ip": address} if address.replace(".", "").isdigit() or ":" in address else {"hostname": address}
    return {"spec": {"rules": []}, "status": {"loadBalancer": {"ingress": [entry(address) for address in addresses]}}}


def gateway(*addresses, programmed="True"):
    return {
        "spec": {"listeners": [{"name": "http", "port": 80}, {"name": "https", "port": 443}]},
        "status": {
            "addresses": [{"type": "IPAddress", "value": address} for address in addresses],
            "conditions": [{"type": "Programmed", "status": programmed}],
        },
    }


def test_the_addresses_of_an_ingress_come_change_and_go(dir):
    with KubernetesApi(kind="Ingress") as api:
        api.put_object("edge", ingress("192.0.2.1"), labels={"region": "eu-west"})
        with Node(dir, zone(api, "ingresses")) as node:
            waits(node, ["192.0.2.1"])
            [endpoint] = node.status()["zones"][0]["endpoints"]
            assert (endpoint["name"], endpoint["region"]) == ("eu-edge-192.0.2.1", "eu-west"), endpoint
            api.put_object("edge", ingress("192.0.2.1", "192.0.2.2", "2001:db8::1"), labels={"region": "eu-west"})
            waits(node, ["192.0.2.1", "192.0.2.2"])
            waits(node, ["2001:db8::1"], "AAAA")
            # A load balancer that has a name in place of an address is named as left out.
            api.put_object("edge", ingress("192.0.2.2", "lb.example.com"), labels={"region": "eu-west"})
            waits(node, ["192.0.2.2"])
            wait_until(lambda: report(node)["left_out"] == 1, SOON)
            assert report(node)["state"] == "ok" and 'hosts = "only"' in report(node)["problem"], report(node)
            api.compact()
            api.put_object("edge", ingress("192.0.2.3"), labels={"region": "eu-west"})
            waits(node, ["192.0.2.3"])
            wait_until(lambda: report(node)["left_out"] == 0 and report(node)["problem"] is None, SOON)
            # The only Ingress that disappears takes nothing out of the answers.
            api.delete("edge")
            wait_until(lambda: report(node)["state"] == "kept", SOON)
            assert node.addresses(NAME) == ["192.0.2.3"]


def test_a_gateway_is_answered_with_while_it_is_programmed(dir):
    with KubernetesApi(kind="Gateway") as api:
        api.put_object("edge", gateway("192.0.2.1", "192.0.2.2"))
        with Node(dir, zone(api, "gateways", port_name="https", region="eu-west")) as node:
            waits(node, ["192.0.2.1", "192.0.2.2"])
            api.put_object("edge", gateway("192.0.2.1", "192.0.2.2", programmed="False"))
            waits(node, [])
            api.put_object("edge", gateway("192.0.2.1"))
            waits(node, ["192.0.2.1"])


@pytest.mark.parametrize("kind, resource, group", [
    ("Ingress", "ingresses", "ingresses.networking.k8s.io"), ("Gateway", "gateways", "gateways.gateway.networking.k8s.io"),
])
def test_rights_that_are_missing_are_named(dir, kind, resource, group):
    with KubernetesApi(kind=kind) as api:
        api.refused = 403
        with Node(dir, zone(api, resource)) as node:
            wait_until(lambda: report(node)["state"] == "bad", SOON)
            assert f"give the account get, list and watch of {group} in the namespace shop" in report(node)["problem"], report(node)
