"""DoT, DoH and DoQ with the clients of other programs (kdig, OpenSSL), and certificates that are renewed while served."""
import re
import shutil
import socket
import ssl
import struct
import subprocess
import time

import dns.message
import pytest

from portolan import SETTINGS, Node, command, write_files
from processes import wait_until

pytestmark = pytest.mark.skipif(
    not (shutil.which("kdig") and shutil.which("openssl")), reason="needs kdig (knot-dnsutils) and openssl"
)

ENCRYPTED = SETTINGS.replace(
    'http = "127.0.0.1:0"',
    'http = "127.0.0.1:0"\ntls = ["127.0.0.1:0"]\nhttps = ["127.0.0.1:0"]\nquic = ["127.0.0.1:0"]',
) + '\n[tls]\ncert = "cert.pem"\nkey = "key.pem"\n'

MASTER = """
$TTL 3600
@       IN SOA ns1 hostmaster 1 7200 900 1209600 30
@       IN NS  ns1
@       IN MX  10 www
ns1     IN A   127.0.0.1
static  IN A   192.0.2.77
alias   IN CNAME www
old     IN DNAME new
a.new   IN TXT "moved"
*.wild  IN TXT "w"
sub     IN NS  ns.sub
ns.sub  IN A   192.0.2.53
raw     IN TYPE65280 \\# 3 010203
svcb    IN HTTPS 1 . alpn="h2,h3" ipv4hint="192.0.2.1"
""" + "".join(f'large   IN TXT "{n:0250}"\n' for n in range(200))

POLICY = """
zone = "svc.example."

[endpoint.one]
addresses = ["192.0.2.10", "2001:db8::10"]

[pool.web]
members = ["one"]

[name.www]
pool = "web"
"""

ZONES = {"svc.example.policy.toml": POLICY, "svc.example.zone": MASTER}

# The options of kdig for each transport; the ready line has its port under the same word.
WAYS = {
    "udp": ("dns", ["+ignore"]),
    "tcp": ("dns", ["+tcp"]),
    "tls": ("tls", ["+tls"]),
    "https": ("https", ["+https"]),
    "https by GET": ("https", ["+https-get"]),
    "quic": ("quic", ["+quic"]),
}


def new_certificate(dir, name="ns1.example", days=30):
    """A self-signed certificate and its key, in `dir`."""
    dir.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", str(days),
         "-keyout", dir / "key.pem", "-out", dir / "cert.pem", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"],
        check=True, capture_output=True,
    )
    return dir / "cert.pem", dir / "key.pem"


@pytest.fixture
def node(dir):
    new_certificate(dir / "node")
    with Node(dir, ZONES, settings=ENCRYPTED) as node:
        yield node


def kdig(node, way, *question):
    word, how = WAYS[way]
    host, port = node.udp if word == "dns" else node.encrypted[word][0]
    # By default kdig uses padding and EDNS over TLS only. Of its options for the transport the last one counts.
    plain = ["+edns", "+nopadding", "+noalignment", "+time=10", "+retry=0"]
    argv = ["kdig", f"@{host}", "-p", str(port), *plain, *question, *how]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, f"{way}: {done.stdout}{done.stderr}"
    return done.stdout


def contents(text):
    """The contents of a reply, without its transport, identifier, time and length."""
    lines = [line for line in text.splitlines() if line and not re.match(r";; (Received|Time|From|(TLS|HTTP|QUIC) session)", line)]
    return sorted(re.sub(r"; id: \d+", "", line) for line in lines)


@pytest.mark.parametrize(
    "question",
    [
        ["www.svc.example.", "A"],
        ["wWw.sVc.eXaMpLe.", "AAAA", "+nsid", "+subnet=192.0.2.0/24"],
        ["www.svc.example.", "TXT"],
        ["alias.svc.example.", "A", "+bufsize=4096", "+dnssec"],
        ["svc.example.", "MX"],
        ["svc.example.", "ANY"],
        ["a.old.svc.example.", "TXT"],
        ["b.wild.svc.example.", "TXT"],
        ["a.sub.svc.example.", "A"],
        ["raw.svc.example.", "TYPE65280"],
        ["svcb.svc.example.", "HTTPS"],
        ["none.svc.example.", "A", "+edns=1"],
        ["elsewhere.example.", "A", "+edns"],
        ["www.svc.example.", "A", "+ednsopt=8:00091800"],
        ["www.svc.example.", "A", "+ednsopt=65001:0102"],
        ["www.svc.example.", "A", "+noedns"],
        ["static.svc.example.", "CH", "A"],
    ],
    ids=" ".join,
)
def test_a_query_gets_the_same_records_over_all_transports(node, question):
    replies = {way: contents(kdig(node, way, *question)) for way in WAYS}
    assert replies["tcp"], "kdig prints a reply"
    for way, reply in replies.items():
        assert reply == replies["tcp"], way


def test_long_replies_are_complete_and_each_transport_is_counted(node):
    replies = {way: contents(kdig(node, way, "large.svc.example.", "TXT")) for way in WAYS if way != "udp"}
    assert sum("TXT" in line and '"0' in line for line in replies["tcp"]) == 200
    for way, reply in replies.items():
        assert reply == replies["tcp"], way
    counted = {
        what: node.metric("portolan_queries_total", transport=what, rcode="NOERROR") for what in ("tcp", "tls", "https", "quic")
    }
    assert counted == {"tcp": 1, "tls": 1, "https": 2, "quic": 1}


def test_metrics_of_connections_truncated_replies_and_the_certificate(node):
    for way in WAYS:
        kdig(node, way, "large.svc.example.", "TXT")
    metrics = node.metrics()
    of = lambda name, what: metrics[(f"portolan_{name}", frozenset({("transport", what)}))]
    assert [of("connections_total", what) for what in ("tcp", "tls", "https", "quic")] == [1, 1, 2, 1]
    wait_until(lambda: node.metric("portolan_open_connections") == 0, 20)
    assert (of("truncated_total", "udp"), of("truncated_total", "tcp")) == (1, 0)
    assert node.metric("portolan_zone_queries_total", zone="svc.example.") == len(WAYS)
    days = (node.metric("portolan_cert_expiry_seconds") - time.time()) / 86400
    assert 29 < days < 31, "the certificate that is shown is good for 30 days"


def test_padded_queries_get_padded_replies(node):
    for way in WAYS:
        wanted = "PADDING" if way not in ("udp", "tcp") else "EDNS PSEUDOSECTION"
        reply = kdig(node, way, "+padding=64", "www.svc.example.", "A")
        assert wanted in reply and ("PADDING" in reply) == (wanted == "PADDING"), f"{way}: {reply}"
        assert ("Received 468 B" in reply) == (wanted == "PADDING"), f"{way}: {reply}"


def test_clients_that_verify_the_certificate_accept_it(node):
    for way in ("tls", "https", "quic"):
        trust = [f"+tls-ca={node.dir / 'cert.pem'}", "+tls-hostname=ns1.example"]
        assert "status: NOERROR" in kdig(node, way, *trust, "www.svc.example.", "A"), way


def shown(node, what="tls"):
    """The certificate that a new connection gets."""
    return ssl.get_server_certificate(node.encrypted[what][0], timeout=10).strip()


def put(node, *files):
    """Replaces the files, each in one step."""
    for file in files:
        new = node.dir / f".{file.name}.new"
        new.write_bytes(file.read_bytes())
        new.rename(node.dir / file.name)


class Dot:
    """A connection of DoT that stays open."""

    def __init__(self, node):
        context = ssl.create_default_context(cafile=node.dir / "cert.pem")
        context.set_alpn_protocols(["dot"])
        self.stream = context.wrap_socket(socket.create_connection(node.encrypted["tls"][0], 10), server_hostname="ns1.example")
        assert self.stream.selected_alpn_protocol() == "dot"

    def ask(self, name):
        wanted = dns.message.make_query(name, "A").to_wire()
        self.stream.sendall(struct.pack("!H", len(wanted)) + wanted)
        length, = struct.unpack("!H", self.read(2))
        return dns.message.from_wire(self.read(length))

    def read(self, length):
        octets = b""
        while len(octets) < length:
            more = self.stream.recv(length - len(octets))
            assert more, "the server closed the connection"
            octets += more
        return octets


def test_a_renewed_certificate_is_used_and_a_broken_one_is_not(node, dir):
    first = shown(node)
    assert first == (node.dir / "cert.pem").read_text().strip()
    open_before = Dot(node)

    # As a renewal does: first the key, then the certificate. In between they don't match; this must do no harm.
    cert, key = new_certificate(dir / "renewed")
    put(node, key)
    assert shown(node) == first
    put(node, cert)
    wait_until(lambda: shown(node) == cert.read_text().strip(), 15)
    assert shown(node, "https") == shown(node)
    assert "status: NOERROR" in kdig(node, "quic", f"+tls-ca={cert}", "+tls-hostname=ns1.example", "www.svc.example.", "A")
    assert open_before.ask("www.svc.example.").answer, "a connection from before goes on"

    # The key of another certificate: the log reports it, and the old certificate stays in use.
    other, _ = new_certificate(dir / "other")
    put(node, other)
    wait_until(lambda: "not the key of the certificate" in node.child.err(), 15)
    (node.dir / "cert.pem").write_text("nothing\n")
    wait_until(lambda: "no certificate in it" in node.child.err(), 15)
    (node.dir / "cert.pem").unlink()
    wait_until(lambda: "can't read" in node.child.err(), 15)
    assert shown(node) == cert.read_text().strip()
    assert "status: NOERROR" in kdig(node, "tls", "www.svc.example.", "A")


def test_check_and_serve_report_what_is_wrong_with_the_certificate(dir):
    settings = write_files(dir / "node", ENCRYPTED, ZONES)
    cert, key = new_certificate(dir / "node")
    line = 1 + ENCRYPTED.splitlines().index('cert = "cert.pem"')
    new_certificate(dir / "other")

    def lines(*argv):
        done = command(*argv, "--config", settings, place=None)
        return done.returncode, done.stdout + done.stderr

    assert lines("check")[0] == 0
    key.write_bytes((dir / "other/key.pem").read_bytes())
    for argv in (["check"], ["serve", "--strict"]):
        code, text = lines(*argv)
        assert code == 1 and f"{settings}:{line + 1}:7: error: {key}: not the key of the certificate in {cert}" in text, text
    cert.unlink()
    code, text = lines("check")
    assert code == 1 and f"{settings}:{line}:8: error: can't read {cert}: No such file or directory" in text, text
    settings.write_text(ENCRYPTED.split("[tls]")[0])
    code, text = lines("check")
    assert code == 1 and text.count("needs a certificate, and there is no [tls]") == 3, text
