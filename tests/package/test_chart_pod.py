"""A pod of the Helm chart: the real program with the files, the variables, the rights and the mounts that the chart gives it. It
answers by UDP, TCP, TLS and QUIC, is healthy by the requests of the kubelet, and follows changed ConfigMaps and Secrets."""
import contextlib
import http.client
import json
import re
import signal
import ssl

import dns.edns
import dns.message
import dns.query
import pytest
import trustme
import yaml

from charts import ROOT, Pod, Rendered
from kubernetes_api import KubernetesApi
from kubernetes_api import pod as slice_of
from nats import NatsServer
from portolan import READY, answers, ask
from processes import wait_until
from test_chart import ZONES

pytestmark = pytest.mark.places
VANTAGE = r"^ready vantage=(\S+) region=(\S+) http=(\S+)$"
SETTINGS = """
[regions.eu-west]
location = [53.34, -6.26]
nets     = ["192.0.2.0/24"]

[regions.us-east]
location = [38.9, -77.4]
"""
TOKENS = "ops operate 0123456789abcdef\n"
OPERATOR = {"PORTOLAN_TOKEN": "0123456789abcdef"}


def policy(address, monitor=""):
    return (
        f'zone = "svc.example."\n[defaults]\nttl = "5s"\n{monitor}[endpoint.one]\naddresses = ["{address}"]\n'
        + ('monitor = "up"\n' if monitor else "")
        + '[name.www]\npool = "one"\n'
    )


def values(address="192.0.2.1", monitor="", **more):
    """The values of a server whose name www has this address."""
    zones = {**ZONES, "svc.example.policy.toml": policy(address, monitor)}
    return {"region": "eu-west", "settings": SETTINGS, "zones": zones, "api": {"tokens": TOKENS}, **more}


def call(place, port, path, method="GET", host=None, headers=None, body=None):
    """Status and text of a request to the pod, as that of the kubelet: by the address, unless `host` names another one."""
    with place.inside():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, path, body=body, headers={"Host": host or f"127.0.0.1:{port}", **(headers or {})})
            reply = connection.getresponse()
            return reply.status, reply.read().decode()


def probe(pod, name):
    """Whether the kubelet's probe succeeds."""
    request = pod.rendered.container[name]["httpGet"]
    return call(pod.place, pod.port(request["port"]), request["path"])[0] == 200


def www(pod, tcp=False):
    port = pod.port("dns-tcp" if tcp else "dns")
    return answers(ask(("127.0.0.1", port), "www.svc.example.", tcp=tcp, place=pod.place))


@pytest.fixture
def start(dir, lone, helm):
    """Makes pods in one network: start(values) is the pod, its process and the match of its ready line."""
    running = []

    def make(values, objects=None, release="portolan", ready=READY, cluster=None):
        rendered = Rendered(helm, values, release)
        pod = Pod(dir / release, rendered, lone, objects, rendered.only("StatefulSet")["metadata"]["name"], cluster)
        child, line = pod.start(ready)
        running.append(child)
        return pod, child, line

    yield make
    for child in running:
        child.end()


def test_it_answers_and_the_probes_of_the_kubelet_find_it_healthy(start):
    pod, child, ready = start(values())
    assert ready[1] == "0.0.0.0:5300" and ready[2] == "0.0.0.0:8053"
    assert www(pod) == www(pod, tcp=True) == ["192.0.2.1"]
    assert all(probe(pod, name) for name in ("startupProbe", "readinessProbe", "livenessProbe"))
    checked = pod.execute("check", "--config", "/etc/portolan/settings/portolan.toml")
    assert checked.returncode == 0 and "1 zone, 1 endpoint; 1 warning" in checked.stderr, checked.stdout + checked.stderr
    # Of all files of a Secret, as the kubelet lets the group of the pod read them.
    assert "/etc/portolan/api/tokens:1:1: warning: other users than the owner" in checked.stdout
    assert pod.execute("status").returncode == 0
    query = dns.message.make_query("svc.example.", "SOA", use_edns=0, options=[dns.edns.GenericOption(dns.edns.OptionType.NSID, b"")])
    with pod.place.inside():
        (nsid,) = dns.query.udp(query, "127.0.0.1", port=5300, timeout=5).options
    assert nsid.nsid == b"portolan-0", "the node is called as its pod"
    # The names of the Services are accepted, and those of other sites are not.
    service = "portolan-api.dns.svc.cluster.local:8053"
    for host in (service, "portolan-api:8053", "portolan-api.dns:8053", "portolan-0.portolan-nodes.dns.svc:8053"):
        assert call(pod.place, 8053, "/metrics", host=host)[0] == 200, host
    assert call(pod.place, 8053, "/metrics", host="evil.example")[0] == 421
    assert call(pod.place, 8053, "/healthz", host="evil.example")[0] == 200
    assert "permission denied" not in child.err().lower(), child.err()


def test_it_follows_the_links_that_the_kubelet_swaps(start, helm):
    pod, child, _ = start(values())
    assert www(pod) == ["192.0.2.1"]
    for address in ("192.0.2.2", "192.0.2.3"):  # the second swap is of a link that a swap made
        pod.update(Rendered(helm, values(address)))
        wait_until(lambda: www(pod) == [address], 30)

    # A new file, and one that is gone.
    more = values("192.0.2.3")
    more["zones"]["other.example.zone"] = ZONES["svc.example.zone"]
    pod.update(Rendered(helm, more))
    asked = lambda name: ask(("127.0.0.1", 5300), name, "SOA", place=pod.place)
    wait_until(lambda: asked("other.example.").answer, 30)

    # An error in a file: the last good version stays, and the probes still succeed.
    pod.update(Rendered(helm, values("192.0.2.300")))
    wait_until(lambda: "NOT ALL FILES WERE LOADED" in pod.execute("status").stdout, 30)
    assert www(pod) == ["192.0.2.3"] and probe(pod, "readinessProbe") and probe(pod, "livenessProbe")

    # The settings and the tokens are in volumes of their own.
    changed = values("192.0.2.4", settings=SETTINGS + '[chaos]\nversion = "two"\n', api={"tokens": "new operate fedcba9876543210\n"})
    pod.update(Rendered(helm, changed))
    wait_until(lambda: www(pod) == ["192.0.2.4"], 30)
    drain = lambda secret: call(
        pod.place, 8053, "/v1/overrides/one", "PUT", headers={"Authorization": f"Bearer {secret}"},
        body=json.dumps({"state": "drain", "why": "a test", "confirm": True}),
    )
    wait_until(lambda: drain("fedcba9876543210")[0] == 200, 30)
    assert drain("0123456789abcdef")[0] == 401
    version = dns.message.make_query("version.bind.", "TXT", "CH")

    def answered():
        with pod.place.inside():
            return answers(dns.query.udp(version, "127.0.0.1", port=5300, timeout=5))

    wait_until(lambda: answered() == ['"two"'], 30)


def test_the_state_outlives_the_pod(start):
    monitored = values("127.0.0.1", monitor='[monitor.up]\ntype = "icmp"\n', icmp=True)
    pod, child, _ = start(monitored)
    # The sysctl allows echoes.
    wait_until(lambda: '"health":"up"' in pod.execute("status", "--format", "json").stdout, 60)
    drained = pod.execute("drain", "one", "--why", "a test", "--yes", env=OPERATOR)
    assert drained.returncode == 0, drained.stderr
    child.signal(signal.SIGTERM)
    assert child.wait(pod.rendered.values["drain"]["graceSeconds"]) == 0, child.output()
    successor, _ = pod.start()
    try:
        assert "a test" in pod.execute("overrides", env=OPERATOR).stdout
    finally:
        successor.end()


def test_icmp_monitors_need_the_value(start):
    with pytest.raises(AssertionError, match="ping_group_range"):
        start(values("127.0.0.1", monitor='[monitor.up]\ntype = "icmp"\n'))


def certificate():
    """What a Secret of type kubernetes.io/tls has, with a new key."""
    authority = trustme.CA()
    own = authority.issue_cert("ns1.example")
    chain = b"".join(blob.bytes() for blob in own.cert_chain_pems)
    return {"tls.crt": chain, "tls.key": own.private_key_pem.bytes(), "ca.crt": authority.cert_pem.bytes()}


def test_it_answers_over_encrypted_transports_and_follows_a_renewed_certificate(start):
    each = {what: {"enabled": True} for what in ("dot", "doh", "doq")}
    pod, _, ready = start(values(dns=each, tls={"existingSecret": "ns1-tls"}), {"ns1-tls": certificate()})
    assert ready[4] == " tls=0.0.0.0:8853 https=0.0.0.0:8443 quic=0.0.0.0:8853"
    query = dns.message.make_query("www.svc.example.", "A")
    with pod.place.inside():
        reply = dns.query.tls(query, "127.0.0.1", port=pod.port("dot"), timeout=10, verify=False)
        assert answers(reply) == ["192.0.2.1"]
        reply = dns.query.quic(query, "127.0.0.1", port=pod.port("doq"), timeout=10, verify=False)
        assert answers(reply) == ["192.0.2.1"]

    pod.objects["ns1-tls"] = certificate()
    pod.update(pod.rendered)
    renewed = ssl.PEM_cert_to_DER_cert(pod.objects["ns1-tls"]["tls.crt"].decode().partition("-----END")[0] + ssl.PEM_FOOTER)

    def served():
        with pod.place.inside():
            return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", pod.port("dot")), timeout=10))

    wait_until(lambda: served() == renewed, 30)
    assert pod.execute("check", "--config", "/etc/portolan/settings/portolan.toml").returncode == 0


def test_the_example_of_the_readme_is_served(start):
    text = (ROOT / "docker/kubernetes/README.md").read_text()
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    example = yaml.safe_load(example)
    pod, _, _ = start(example, {example["api"]["existingSecret"]: {"tokens": TOKENS.encode()}})
    checked = pod.execute("check", "--config", "/etc/portolan/settings/portolan.toml")
    assert checked.returncode == 0 and re.search(r"1 zone, 2 endpoints; 1 warning", checked.stderr), checked.stdout + checked.stderr
    assert answers(ask(("127.0.0.1", 5300), "svc.example.", "NS", place=pod.place)) == ["ns1.svc.example.", "ns2.svc.example."]
    # Nothing is up, so on_empty gives both.
    assert set(www(pod)) <= {"192.0.2.10", "198.51.100.10"}


DISCOVERY = """zone = "svc.example."
[pool.web]
[discover.web]
type = "kubernetes"
namespace = "shop"
service = "web"
port_name = "http"
pool = "web"
[name.www]
pool = "web"
"""


def test_it_follows_the_slices_of_a_service_by_the_account_of_the_pod(start, lone):
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    account = {"token": b"right", "namespace": b"dns", "ca.crt": authority.cert_pem.bytes()}
    shop = values(discovery={"namespaces": ["shop"]})
    shop["zones"]["svc.example.policy.toml"] = DISCOVERY
    with lone.inside():
        api = KubernetesApi(token="right", tls=tls)
    with api:
        cluster = ("127.0.0.1", str(api.server.server_address[1]), account)
        api.put("web-1", [slice_of("a", "192.0.2.7")])
        pod, child, _ = start(shop, cluster=cluster)
        wait_until(lambda: www(pod) == ["192.0.2.7"], 30)
        api.put("web-1", [slice_of("b", "192.0.2.8")])
        wait_until(lambda: www(pod) == ["192.0.2.8"], 30)

        # The kubelet renews the token.
        account["token"], api.token = b"newer", "newer"
        pod.update(pod.rendered)
        lists, watches = api.lists, api.watches
        wait_until(lambda: api.lists + api.watches > lists + watches, 60)
        api.put("web-1", [slice_of("c", "192.0.2.9")])
        wait_until(lambda: www(pod) == ["192.0.2.9"], 60)
        child.end()

        # Without the value there is no token to lose.
        bare, _, _ = start({**shop, "discovery": {}}, release="bare-portolan", cluster=cluster)
        wait_until(lambda: "automountServiceAccountToken" in bare.execute("status").stdout, 30)


@pytest.mark.parametrize("addresses", [["0.0.0.0", "[::]"], ["[::]"]], ids=["both", "IPv6"])
def test_it_answers_over_ipv6(start, addresses):
    pod, _, _ = start(values(addresses=addresses))
    for host in ["127.0.0.1", "::1"][-len(addresses):]:
        for tcp in (False, True):
            assert answers(ask((host, 5300), "www.svc.example.", tcp=tcp, place=pod.place)) == ["192.0.2.1"], host
    status = pod.execute("status")
    assert status.returncode == 0, status.stderr


def test_a_pod_without_zones_starts_and_refuses(start):
    pod, _, _ = start({})
    assert ask(("127.0.0.1", 5300), "svc.example.", "SOA", place=pod.place).rcode() == 5
    assert probe(pod, "readinessProbe")


def test_a_vantage_reports_to_the_servers_of_its_fleet(start, dir, lone):
    users = "authorization { users: [ { user: a, password: b }, { user: c, password: d } ] }"
    with NatsServer(dir, config=users, place=lone) as nats:
        fleet = {"nats": [nats.url], "cluster": "prod", "credentials": {"existingSecret": "nodes"}}
        secret = {"nodes": {"portolan-0": b"a b\n", "us-portolan-0": b"c d\n"}}
        server, _, _ = start(values(fleet=fleet), secret)
        probing = {"mode": "vantage", "region": "us-east", "node": "us-$(POD_NAME)", "fleet": fleet, "api": {"port": 8054}}
        vantage, child, ready = start(probing, secret, "us", VANTAGE)
        assert ready.groups() == ("us-us-portolan-0", "us-east", "0.0.0.0:8054")
        assert all(probe(vantage, name) for name in ("startupProbe", "readinessProbe", "livenessProbe"))
        wait_until(lambda: "us-us-portolan-0" in server.execute("status").stdout, 30)
        child.signal(signal.SIGTERM)
        assert child.wait(20) == 0, child.output()
