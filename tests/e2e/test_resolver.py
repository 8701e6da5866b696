"""A real resolver, unbound, finds this server by a delegation from a test root and a test parent."""
import shutil
import sys
from pathlib import Path

import dns.rcode
import pytest

from portolan import SETTINGS, Node, answers, ask
from processes import Child, wait_until

POLICY = """
zone = "svc.example."

[endpoint.one]
addresses = ["192.0.2.1", "2001:db8::1"]

[endpoint.hosted]
cname = "www.svc.example."

[pool.web]
members = ["one"]

[pool.alias]
members = ["hosted"]

[name.www]
pool = "web"

[name.shop]
pool = "alias"

[name."*.app"]
pool = "web"
"""

ZONE = """
$TTL 300
@     IN SOA ns1 hostmaster 1 7200 900 1209600 30
@     IN NS  ns1
@     IN NS  ns2
ns1   IN A   127.0.0.53
ns2   IN A   127.0.0.54
text  IN TXT "static"
"""

UNBOUND = """
server:
    interface: 127.0.0.1
    port: 53
    username: ""
    chroot: ""
    directory: "{dir}"
    pidfile: ""
    use-syslog: no
    do-daemonize: no
    verbosity: 1
    do-not-query-localhost: no
    module-config: "iterator"
    root-hints: "{dir}/root.hints"
    qname-minimisation: {minimise}
    do-ip6: no
    cache-max-negative-ttl: 1
remote-control:
    control-enable: no
"""

HINTS = """
.               3600000 NS a.root-servers.test.
a.root-servers.test. 3600000 A 127.0.0.2
"""


def unbound():
    return shutil.which("unbound", path="/usr/sbin:/sbin:/usr/local/sbin:/usr/bin")


@pytest.mark.places
@pytest.mark.skipif(unbound() is None, reason="unbound isn't installed")
@pytest.mark.parametrize("minimise", ["yes", "no"])
def test_unbound_resolves_through_a_delegation(dir, lone, minimise):
    settings = SETTINGS.replace('"127.0.0.1:0"]', '"127.0.0.53:53", "127.0.0.54:53"]')
    with Node(dir, {"svc.example.policy.toml": POLICY, "svc.example.zone": ZONE}, settings=settings, place=lone) as node:
        parents = Child([sys.executable, Path(__file__).parent / "parents.py"], dir, "parents", place=lone)
        parents.wait_line("^ready$", 20)
        (dir / "root.hints").write_text(HINTS)
        (dir / "unbound.conf").write_text(UNBOUND.format(dir=dir, minimise=minimise))
        resolver = Child([unbound(), "-d", "-c", dir / "unbound.conf"], dir, "unbound", place=lone)
        try:
            wait_until(lambda: "start of service" in resolver.err(), 20)

            def resolve(name, rdtype):
                return ask(("127.0.0.1", 53), name, rdtype, rd=True, place=lone, timeout=10)

            found = resolve("www.svc.example.", "A")
            assert answers(found) == ["192.0.2.1"], f"{found}\n{resolver.output()}"
            assert answers(resolve("www.svc.example.", "AAAA")) == ["2001:db8::1"]
            assert answers(resolve("shop.svc.example.", "CNAME")) == ["www.svc.example."]
            assert answers(resolve("shop.svc.example.", "A")) == ["192.0.2.1", "www.svc.example."]
            assert answers(resolve("any.app.svc.example.", "A")) == ["192.0.2.1"]
            assert answers(resolve("text.svc.example.", "TXT")) == ['"static"']
            gone = resolve("gone.svc.example.", "A")
            assert gone.rcode() == dns.rcode.NXDOMAIN and gone.authority, gone
            empty = resolve("www.svc.example.", "MX")
            assert empty.rcode() == dns.rcode.NOERROR and not empty.answer and empty.authority, empty
            assert node.metric("portolan_queries_total") > 5, "this server got the queries"
        finally:
            resolver.end()
            parents.end()
