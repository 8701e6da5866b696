"""The monitors of test_monitors.py: each kind, with a healthy service and with each kind of failure.

Timeouts are long where an answer is expected, so that a busy machine doesn't change the result. They are short only where
the timeout is tested. Damping is off, because the services fail and recover repeatedly on purpose.
"""
import json
import re
from dataclasses import dataclass

import servers
from faults import PORTS
from servers import HOST

TIMEOUT = 0.3
BRIEF = f'timeout = "{TIMEOUT * 1000:.0f}ms"\n'
TIMED_OUT = f"timed out after {TIMEOUT * 1000:.0f}ms"
NAMED_TLS = f'host = "{HOST}"\n'
BODY = 'expect = { body = "ok" }\n'


@dataclass
class Case:
    """A monitor of `kind` with `keys` that probes `port` (or `at`). It fails if `why` is set: the reason in `status`."""

    kind: str
    port: int | None
    keys: str = ""
    why: str | None = None
    at: str = "127.0.0.1"

    def monitor(self, name):
        port = f"port = {self.port}\n" if self.port else ""
        timeout = "" if "timeout" in self.keys else 'timeout = "10s"\n'
        return f'[monitor.{name}]\ntype = "{self.kind}"\ninterval = "200ms"\ndamping = false\n{timeout}{port}{self.keys}\n'


def fault(kind, how, why, keys=""):
    """A monitor of a server in faults.py. It has a short timeout if the test is about the timeout."""
    return Case(kind, PORTS[how], (BRIEF if why == TIMED_OUT else "") + keys, why)


def exec_case(script, why=None, keys=""):
    return Case("exec", None, f"program = \"/bin/sh\"\nargs = ['-c', '{script}']\n{keys}", why)


WELL = {
    "icmp": Case("icmp", None),
    "tcp": Case("tcp", servers.HTTP),
    # Its kernel accepts connections; only a request shows that it hangs.
    "tcp-half-open": Case("tcp", PORTS["half_open"]),
    "http": Case("http", servers.HTTP, 'path = "/healthz"\nexpect = { status = [200], body = "is ok" }\n'),
    "http-named": Case("http", servers.HTTP, f'path = "/named"\n{NAMED_TLS}headers = {{ x-probe = "yes" }}\n'),
    "http-moved": Case("http", servers.HTTP, 'path = "/moved"\nexpect = { status = [301, 308] }\n'),
    "http-followed": Case("http", servers.HTTP, 'path = "/moved"\nredirects = 1\nexpect = { body = "is ok" }\n'),
    "http-empty": Case("http", servers.HTTP, 'path = "/empty"\nexpect = { status = [204] }\n'),
    "https": Case("https", servers.HTTPS, f'{NAMED_TLS}expect = {{ body = "{HOST}" }}\n'),
    "https-unverified": Case("https", servers.WRONG_NAME, f"{NAMED_TLS}verify = false\n"),
    "https-short": Case("https", servers.SHORT, f"{NAMED_TLS}min_days = {servers.SHORT_DAYS}\n"),
    "https-http1": Case("https", servers.HTTPS, f'{NAMED_TLS}expect = {{ body = "HTTP/1.1" }}\n'),
    "https-h2": Case("https", servers.H2, f'{NAMED_TLS}expect = {{ body = "{HOST} HTTP/2.0" }}\n'),
    "https-h2-followed": Case("https", servers.H2, f'{NAMED_TLS}path = "/moved"\nredirects = 1\n'),
    "https-h2-large": Case("https", servers.H2, f'{NAMED_TLS}path = "/large"\n{BODY}'),
    "tls": Case("tls", servers.HTTPS, NAMED_TLS),
    "grpc": Case("grpc", servers.GRPC),
    "grpc-service": Case("grpc", servers.GRPC, 'service = "steady"\n'),
    "grpc-db": Case("grpc", servers.GRPC, 'service = "db"\n'),
    "grpc-tls": Case("grpc", servers.GRPC_TLS, f"tls = true\n{NAMED_TLS}"),
    "grpc-tls-db": Case("grpc", servers.GRPC_TLS, f'tls = true\n{NAMED_TLS}service = "db"\n'),
    "dns": Case("dns", servers.DNS, 'name = "www.ok.example."\n'),
    "dns-rdata": Case("dns", servers.DNS, 'name = "www.ok.example."\nexpect = { rdata = "192.0.2.54" }\n'),
    "dns-aaaa": Case("dns", servers.DNS, 'name = "www.ok.example."\nqtype = "AAAA"\nexpect = { rdata = "2001:db8::53" }\n'),
    "dns-text": Case("dns", servers.DNS, 'name = "text.ok.example."\nqtype = "TXT"\nexpect = { rdata = "all well" }\n'),
    "dns-by-tcp": Case("dns", servers.DNS, 'name = "large.ok.example."\nqtype = "TXT"\nexpect = { rdata = "the one" }\n'),
    "dns-cut": Case("dns", servers.DNS, 'name = "large.ok.example."\nqtype = "TXT"\n'),
    "dns-refused": Case("dns", servers.DNS, 'name = "else.example."\nexpect = { rcode = "REFUSED" }\n'),
    "exec": exec_case("echo all well"),
    # The response begins correctly, and a probe reads no further.
    "http-endless": Case("http", PORTS["endless_body"], 'expect = { body = "xxx" }\n'),
}

CLOSED = "connection closed before the response was complete"
ENDLESS = "over 1024 KiB came, and no whole response"
NOT_FOR_HOST = f"certificate is not for {HOST}"

ILL = {
    "icmp-no-way": Case("icmp", None, why="network unreachable", at="192.0.2.99"),
    "tcp-refused": Case("tcp", 9, why="connection refused"),
    "tcp-no-way": Case("tcp", 80, why="network unreachable", at="192.0.2.99"),
    "http-refused": Case("http", 9, why="connection refused"),
    "http-redirect": Case("http", servers.HTTP, 'path = "/moved"\n', "status 301 to http://127.0.0.1/healthz, expected 200"),
    "http-redirects-on-and-on": Case(
        "http", servers.HTTP, 'path = "/moves"\nredirects = 3\n', "redirected to http://127.0.0.1/moves after 3 redirects"
    ),
    "http-redirects-away": Case(
        "http", servers.HTTP, 'path = "/away"\nredirects = 3\n',
        "redirected to http://elsewhere.example/, which is not what is probed",
    ),
    "http-status": Case("http", servers.HTTP, 'path = "/sick"\n', "status 503, expected 200"),
    "http-other-host": Case("http", servers.HTTP, 'path = "/named"\n', "status 421, expected 200"),
    "http-no-text": Case("http", servers.HTTP, 'path = "/healthz"\nexpect = { body = "OK" }\n', 'body lacks "OK"'),
    "http-to-tls": Case("http", servers.HTTPS, why="status 400, expected 200"),
    "http-half-open": fault("http", "half_open", TIMED_OUT),
    "http-hangs-up": fault("http", "hangs_up", CLOSED),
    "http-resets": fault("http", "resets", "connection reset"),
    "http-reset-in-head": fault("http", "reset_in_head", "connection reset"),
    "http-reset-in-body": fault("http", "reset_in_body", "connection reset", BODY),
    "http-ends-in-body": fault("http", "ends_in_body", CLOSED, BODY),
    "http-slow-head": fault("http", "slow_head", TIMED_OUT),
    "http-slow-body": fault("http", "slow_body", TIMED_OUT, BODY),
    "http-endless-head": fault("http", "endless_head", "response head over 64 KiB"),
    "http-endless-body": fault("http", "endless_body", 'body lacks "ok"', BODY),
    "http-endless-chunks": fault("http", "endless_chunks", 'body lacks "ok"', BODY),
    "http-endless-hints": fault("http", "endless_hints", f"HTTP failed: {ENDLESS}"),
    "http-bad-chunks": fault("http", "bad_chunks", re.compile("not HTTP: .*|HTTP failed: .*"), BODY),
    "http-garbage": fault("http", "garbage", re.compile("not HTTP: .*")),
    "http-other-protocol": fault("http", "other_protocol", re.compile("not HTTP: .*|HTTP failed: .*")),
    "https-expired": Case("https", servers.EXPIRED, NAMED_TLS, "certificate expired"),
    "https-early": Case("https", servers.EARLY, NAMED_TLS, "certificate not valid yet"),
    "https-wrong-name": Case("https", servers.WRONG_NAME, NAMED_TLS, NOT_FOR_HOST),
    "https-address": Case("https", servers.HTTPS, why="certificate is not for the probed address"),
    "https-stranger": Case("https", servers.STRANGER, NAMED_TLS, "certificate from an unknown issuer"),
    "https-min-days": Case(
        "https", servers.SHORT, f"{NAMED_TLS}min_days = 6\n", "certificate expires in 5 days, and min_days is 6"
    ),
    "https-to-http": Case("https", servers.HTTP, NAMED_TLS, re.compile("TLS handshake failed: .*")),
    "https-h2-status": Case("https", servers.H2, f'{NAMED_TLS}path = "/sick"\n', "status 503, expected 200"),
    "https-h2-no-text": Case(
        "https", servers.H2, f'{NAMED_TLS}path = "/large"\nexpect = {{ body = "no" }}\n', 'body lacks "no"'
    ),
    "https-half-open": fault("https", "half_open", TIMED_OUT),
    "https-garbage": fault("https", "garbage", re.compile("TLS handshake failed: .*")),
    "https-resets": fault("https", "resets", "connection reset"),
    "tls-min-days": Case("tls", servers.SHORT, NAMED_TLS, "certificate expires in 5 days, and min_days is 14"),
    "tls-expired": Case("tls", servers.EXPIRED, NAMED_TLS, "certificate expired"),
    "tls-wrong-name": Case("tls", servers.WRONG_NAME, NAMED_TLS, NOT_FOR_HOST),
    "tls-half-open": fault("tls", "half_open", TIMED_OUT),
    "tls-hangs-up": fault("tls", "hangs_up", CLOSED),
    "tls-other-protocol": fault("tls", "other_protocol", re.compile("TLS handshake failed: .*")),
    "grpc-not-serving": Case("grpc", servers.GRPC, 'service = "sick"\n', "NOT_SERVING"),
    "grpc-unknown": Case(
        "grpc", servers.GRPC, 'service = "nobody"\n',
        re.compile(r"grpc-status 5 \(NOT_FOUND: the server doesn't know this service\).*"),
    ),
    "grpc-no-health": Case(
        "grpc", servers.GRPC_BARE,
        why=re.compile(r"grpc-status 12 \(UNIMPLEMENTED: the server has no health service\).*"),
    ),
    "grpc-tls-wrong-name": Case("grpc", servers.GRPC_TLS, 'tls = true\nhost = "other.example"\n', "certificate is not for other.example"),
    "grpc-tls-not-serving": Case("grpc", servers.GRPC_TLS, f'tls = true\n{NAMED_TLS}service = "sick"\n', "NOT_SERVING"),
    "grpc-tls-to-clear": Case("grpc", servers.GRPC, f"tls = true\n{NAMED_TLS}", re.compile("TLS handshake failed: .*|connection reset")),
    "grpc-to-nginx": Case("grpc", servers.HTTP, why=re.compile(".+")),
    "grpc-half-open": fault("grpc", "half_open", TIMED_OUT),
    "grpc-silent": fault("grpc", "silent_http2", TIMED_OUT),
    "grpc-endless-pings": fault("grpc", "endless_pings", re.compile(f"HTTP failed: .*{ENDLESS}")),
    "grpc-goes-away": fault("grpc", "goes_away_http2", re.compile(".+")),
    "grpc-garbage": fault("grpc", "garbage", re.compile(".+")),
    "grpc-resets": fault("grpc", "resets", "connection reset"),
    "grpc-hangs-up": fault("grpc", "hangs_up", re.compile(f"{CLOSED}|connection reset")),
    "dns-servfail": Case("dns", servers.DNS, 'name = "www.broken.example."\n', "SERVFAIL, expected NOERROR"),
    "dns-nxdomain": Case("dns", servers.DNS, 'name = "gone.ok.example."\n', "NXDOMAIN, expected NOERROR"),
    "dns-not-ours": Case("dns", servers.DNS, 'name = "else.example."\n', "REFUSED, expected NOERROR"),
    "dns-wrong-rdata": Case(
        "dns", servers.DNS, 'name = "www.ok.example."\nexpect = { rdata = "192.0.2.99" }\n', "no record of the answer is 192.0.2.99"
    ),
    "dns-no-record": Case(
        "dns", servers.DNS, 'name = "text.ok.example."\nexpect = { rdata = "192.0.2.99" }\n',
        "no answer, expected 192.0.2.99",
    ),
    "dns-unserved": Case("dns", 9, 'name = "www.ok.example."\n', "connection refused"),
    "dns-silent": fault("dns", "no_answer", TIMED_OUT, 'name = "www.ok.example."\n'),
    "dns-garbage": fault("dns", "dns_garbage", "the reply is not a DNS message", 'name = "www.ok.example."\n'),
    "dns-others": fault("dns", "dns_others", TIMED_OUT, 'name = "www.ok.example."\n'),
    "exec-fails": exec_case("echo lag 40 s; exit 1", "exit code 1: lag 40 s"),
    "exec-killed": exec_case("kill -9 $$", "ended by signal 9"),
    "exec-forks-and-hangs": exec_case(
        "echo $$ >> {pids}; sleep 1000 & echo $! >> {pids}; (sleep 1000 & echo $! >> {pids}; wait) & trap : TERM; wait; wait",
        TIMED_OUT, BRIEF,
    ),
    "exec-endless": exec_case("while :; do echo x; done", TIMED_OUT, BRIEF),
}

COMPOSITES = {
    # name: (keys, why)
    "all-well": ('type = "all"\nmonitors = ["http", "grpc", "dns", "exec"]\n', None),
    "all-ill": ('type = "all"\nmonitors = ["http", "dns-servfail"]\n', "`dns-servfail`: SERVFAIL, expected NOERROR"),
    "any-well": ('type = "any"\nmonitors = ["http-status", "grpc-not-serving", "tls"]\n', None),
    "any-ill": ('type = "any"\nmonitors = ["http-status", "grpc-not-serving"]\n', "`http-status`: status 503, expected 200"),
    "not-ill": ('type = "not"\nmonitor = "http"\n', "`http` is up"),
    "not-well": ('type = "not"\nmonitor = "http-status"\n', None),
}

BEAT = "198.51.100.250"

HEAD = """
zone = "svc.example."

[defaults]
ttl = "1s"
on_empty = "nodata"

[monitor.beat]
type = "heartbeat"
ttl = "1h"
"""

TAIL = """
[endpoint.beat]
addresses = ["{beat}"]
monitor = "beat"

[pool.everything]
steer = "all"
members = {members}

[name.www]
pool = "everything"
answers = 64
"""


def address(nth):
    return f"198.51.100.{nth + 1}"


NAMES = [*WELL, *ILL, *COMPOSITES]
UP = sorted(address(NAMES.index(name)) for name in [*WELL, "all-well", "any-well", "not-well"])


def policy(dir):
    text = HEAD
    for nth, name in enumerate(NAMES):
        case = WELL.get(name) or ILL.get(name)
        text += case.monitor(name) if case else f"[monitor.{name}]\n{COMPOSITES[name][0]}"
        at = case.at if case else "127.0.0.1"
        text += f'[endpoint.{name}]\naddresses = ["{address(nth)}"]\nprobe = "{at}"\nmonitor = "{name}"\n\n'
    text = text.replace("{pids}", str(dir / "pids"))
    return text + TAIL.format(beat=BEAT, members=json.dumps([*NAMES, "beat"]))
