"""Real servers for monitors: nginx, named and a gRPC health server, with certificates of a test authority.

All have fixed ports on 127.0.0.1, so they run in a network namespace. `Servers` starts them all; each can be ended and
started again.
"""
import contextlib
import datetime
import shutil
import socket
import sys
from pathlib import Path

import trustme

from health_server import BARE_PORT, PORT, TLS_PORT
from processes import Child, wait_until

HERE = Path(__file__).parent
HOST = "www.svc.example"
HTTP, HTTPS, DNS = 80, 443, 53
# Ports of nginx with a wrong certificate.
EXPIRED, EARLY, WRONG_NAME, STRANGER, SHORT = 4431, 4432, 4433, 4434, 4435
# HTTP/2 too; the response has the version that was used.
H2 = 4436
# The days until the certificate on SHORT ends.
SHORT_DAYS = 5
GRPC, GRPC_TLS, GRPC_BARE = PORT, TLS_PORT, BARE_PORT

NGINX = """
daemon off;
master_process off;
pid {dir}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    default_type text/plain;
    server {{
        listen 127.0.0.1:{http};
        location = /healthz {{ return 200 "all is ok here\\n"; }}
        location = /moved {{ return 301 http://127.0.0.1/healthz; }}
        location = /moves {{ return 302 /moves; }}
        location = /away {{ return 302 http://elsewhere.example/; }}
        location = /sick {{ return 503 "no database\\n"; }}
        location = /empty {{ return 204; }}
        location = /named {{
            if ($host != {host}) {{ return 421; }}
            if ($http_x_probe != "yes") {{ return 403; }}
            return 200 "ok";
        }}
        location / {{ return 404; }}
    }}
{tls}
}}
"""

NGINX_TLS = """
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {pem};
        ssl_certificate_key {pem};
        location / {{ return 200 "$ssl_server_name $server_protocol"; }}
    }}
"""

NGINX_HTTP2 = """
    server {{
        listen 127.0.0.1:{port} ssl http2;
        ssl_certificate {pem};
        ssl_certificate_key {pem};
        location = /large {{ root {dir}; }}
        location = /moved {{ return 301 /; }}
        location = /sick {{ return 503; }}
        location / {{ return 200 "$http_user_agent $host $server_protocol"; }}
    }}
"""

# Octets of /large, which begin with `ok`.
LARGE = 8 << 20

NAMED = """
options {{
  directory "{dir}";
  pid-file none;
  session-keyfile "{dir}/session.key";
  managed-keys-directory "{dir}";
  listen-on port {port} {{ 127.0.0.1; }};
  listen-on-v6 {{ none; }};
  recursion no;
  notify no;
  dnssec-validation no;
  max-udp-size 512;
}};
controls {{ }};
logging {{ channel err {{ stderr; severity warning; }}; category default {{ err; }}; }};
zone "ok.example" {{ type primary; file "ok.zone"; }};
zone "broken.example" {{ type primary; file "not-there.zone"; }};
"""

OK_ZONE = """
$TTL 60
@    IN SOA ns root 1 7200 900 1209600 30
@    IN NS  ns
ns   IN A   127.0.0.1
www  IN A   192.0.2.53
www  IN A   192.0.2.54
www  IN AAAA 2001:db8::53
text IN TXT "all " "well"
""" + "".join(f'large IN TXT "{n:0200}"\n' for n in range(10)) + 'large IN TXT "the one"\n'


def now(days=0):
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)


class Certificates:
    """An authority in `dir`/ca.pem, and a file with chain and key for each kind of certificate."""

    def __init__(self, dir):
        ours, theirs = trustme.CA(organization_name="ours"), trustme.CA(organization_name="theirs")
        self.ca = dir / "ca.pem"
        ours.cert_pem.write_to_path(self.ca)

        def issue(name, authority=ours, host=HOST, since=-10, until=90):
            issued = authority.issue_cert(host, not_before=now(since), not_after=now(until))
            issued.private_key_and_cert_chain_pem.write_to_path(dir / f"{name}.pem")
            return dir / f"{name}.pem"

        self.good = issue("good")
        self.bad = {
            EXPIRED: issue("expired", until=-1),
            EARLY: issue("early", since=1),
            WRONG_NAME: issue("wrong-name", host="other.example"),
            STRANGER: issue("stranger", authority=theirs),
            SHORT: issue("short", until=SHORT_DAYS + 0.5),
        }


def program(name):
    return shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin:/usr/bin")


MISSING = [name for name in ("nginx", "named", "curl") if program(name) is None]


def listens(place, port):
    """Whether a server listens on this port of 127.0.0.1."""
    with place.inside(), socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


class Servers:
    """with Servers(dir, place) as servers: servers.nginx.end(); servers.start_nginx()"""

    def __init__(self, dir, place):
        self.dir, self.place = dir, place
        self.certificates = Certificates(dir)
        self.lives = 0

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            for start in (self.start_faults, self.start_health, self.start_nginx, self.start_named):
                start()
                stack.callback(lambda name=start.__name__.removeprefix("start_"): getattr(self, name).end())
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def start(self, name, *argv):
        self.lives += 1
        return Child(argv, self.dir, f"{name}-{self.lives}", place=self.place)

    def start_faults(self):
        self.faults = self.start("faults", sys.executable, HERE / "faults.py")
        self.faults.wait_line("^ready$", 20)

    def start_health(self):
        pem = self.certificates.good
        self.health = self.start("health", sys.executable, HERE / "health_server.py", pem, pem)
        self.health.wait_line("^ready$", 30)

    def start_nginx(self):
        tls = {HTTPS: self.certificates.good, **self.certificates.bad}
        blocks = "".join(NGINX_TLS.format(port=port, pem=pem) for port, pem in tls.items())
        blocks += NGINX_HTTP2.format(port=H2, pem=self.certificates.good, dir=self.dir)
        (self.dir / "large").write_bytes(b"ok".ljust(LARGE, b"x"))
        conf = self.dir / "nginx.conf"
        conf.write_text(NGINX.format(dir=self.dir, http=HTTP, host=HOST, tls=blocks))
        self.nginx = self.start("nginx", program("nginx"), "-e", "stderr", "-p", self.dir, "-c", conf)
        wait_until(lambda: listens(self.place, HTTP) or not self.nginx.is_running(), 20)
        assert self.nginx.is_running(), self.nginx.output()

    def start_named(self):
        (self.dir / "ok.zone").write_text(OK_ZONE)
        conf = self.dir / "named.conf"
        conf.write_text(NAMED.format(dir=self.dir, port=DNS))
        self.named = self.start("named", program("named"), "-g", "-n", "1", "-U", "1", "-c", conf)
        wait_until(lambda: not self.named.is_running() or "running" in self.named.err(), 20)
        assert self.named.is_running(), self.named.output()
