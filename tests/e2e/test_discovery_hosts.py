"""Instances of sources that have the names of hosts: their endpoints have a cname."""
import shutil
import socket
import subprocess

import pytest

from kubernetes_api import KubernetesApi
from portolan import Node
from processes import wait_until
from test_discovery import NAME, Inventory, web
from test_kubernetes_addresses import ingress, report, zone

SOON = 30
HOST = "k8s-shop-web-0123456789-1234567890.us-east-1.elb.amazonaws.com"


def dig(node, rtype="A"):
    """What dig prints of the answer section: the type and the content of each record."""
    if shutil.which("dig") is None:
        pytest.skip("needs dig (Debian: bind9-dnsutils)")
    host, port = node.udp
    line = ["dig", f"@{host}", "-p", str(port), "+norec", "+noall", "+answer", "+tries=3", NAME, rtype]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    return sorted(" ".join(answer.split()[3:]) for answer in done.stdout.splitlines() if answer and not answer.startswith(";"))


def cname(host):
    return [f"CNAME {host}."]


def no_types(zone):
    """The same files; the name answers what its endpoints have."""
    name = next(name for name in zone if name.endswith(".policy.toml"))
    text = zone[name].replace('types = ["A"]\n', "").replace('types = ["A", "AAAA"]\n', "")
    assert text != zone[name]
    return {**zone, name: text}


def test_hosts_of_an_http_source_are_answered_as_a_cname_over_a_restart_too(dir):
    with Inventory() as inventory:
        files = no_types(web(inventory, hosts="only"))
        inventory.list("LB1.hosting.example:443", "192.0.2.7:443", name="one")
        with Node(dir, files) as node:
            wait_until(lambda: dig(node) == cname("lb1.hosting.example"), SOON)
            assert dig(node, "AAAA") == dig(node, "TXT") == cname("lb1.hosting.example")
            wait_until(lambda: report(node)["left_out"] == 1, SOON)
            assert "its address 192.0.2.7 is no name of a host" in report(node)["problem"], report(node)
            shown = node.command("explain", NAME).stdout
            assert "listed by discover.web" in shown and "lb1.hosting.example" in shown, shown
            inventory.list("lb2.hosting.example:443", name="two")
            wait_until(lambda: dig(node) == cname("lb2.hosting.example"), SOON)
            # It would lead back to the name that is answered with it.
            inventory.list("lb2.hosting.example:443", name="two")
            inventory.body = inventory.body[:-1] + b', {"targets": ["www.svc.example"], "labels": {"name": "loop"}}]'
            wait_until(lambda: "leads back" in (report(node)["problem"] or ""), SOON)
            assert dig(node) == cname("lb2.hosting.example")
        inventory.status = 503
        with Node(dir, files) as node:
            assert dig(node) == cname("lb2.hosting.example"), "the last list, before the source answers"
        # Without the setting, such an instance is left out, and the problem says what to write.
        inventory.status = 200
        with Node(dir, web(inventory), name="plain") as node:
            wait_until(lambda: 'write `hosts = "only"`' in (report(node)["problem"] or ""), SOON)
            assert dig(node) == []


def test_a_host_is_probed_at_the_address_that_its_instance_names(dir):
    with Inventory() as inventory:
        monitor = {"type": "tcp", "interval": "100ms", "timeout": "100ms"}
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            inventory.list("lb1.hosting.example:443", name="one", probe=f"127.0.0.1:{port}")
            with Node(dir, no_types(web(inventory, monitor, hosts="only"))) as node:
                wait_until(lambda: dig(node) == cname("lb1.hosting.example"), SOON)
                listener.close()
                wait_until(lambda: dig(node) == [], SOON)
                assert node.health("one") == "down"
                inventory.list("lb1.hosting.example:443", name="one")
                wait_until(lambda: "no address to probe" in (report(node)["problem"] or ""), SOON)


def test_the_name_of_a_load_balancer_of_an_ingress_is_answered_as_a_cname(dir):
    with KubernetesApi(kind="Ingress") as api:
        api.put_object("edge", ingress(HOST), labels={"region": "eu-west"})
        with Node(dir, no_types(zone(api, "ingresses", hosts="only"))) as node:
            wait_until(lambda: dig(node) == cname(HOST), SOON)
            [endpoint] = node.status()["zones"][0]["endpoints"]
            assert endpoint["name"].startswith("eu-edge-k8s-shop-web-0123456789-1234567890.us") and len(endpoint["name"]) == 63
            assert (endpoint["region"], endpoint["source"]) == ("eu-west", "discover.web"), endpoint
            # The load balancer is made anew: the old name goes when the new one is there.
            api.put_object("edge", ingress("new-lb.example.com"), labels={"region": "eu-west"})
            wait_until(lambda: dig(node) == cname("new-lb.example.com"), SOON)
            assert dig(node, "AAAA") == cname("new-lb.example.com")
            assert report(node)["problem"] is None
            api.put_object("edge", ingress("192.0.2.1"), labels={"region": "eu-west"})
            wait_until(lambda: report(node)["left_out"] == 1, SOON)
            assert dig(node) == cname("new-lb.example.com"), "what can't be used is as an empty list"
