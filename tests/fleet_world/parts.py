"""The regions of the example fleet in docker/, and the processes of each: a NATS server, a server, a vantage and two
endpoints. They need Python only, no package."""
import os
import re
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

E2E = Path(__file__).parents[1] / "e2e"
if str(E2E) not in sys.path:
    sys.path.append(str(E2E))

from processes import Child, wait_until

ROOT = Path(__file__).parents[2]
ENDPOINT = E2E / "endpoint.py"


@dataclass(frozen=True)
class Region:
    """The names of a region and of what is in it. Its net is 10.(200 + i).0.0/16."""

    name: str
    server: str
    vantage: str
    nats: str
    endpoints: tuple

    @property
    def i(self):
        return REGIONS.index(self)

    def host(self, n):
        return f"10.{200 + self.i}.0.{n}"


REGIONS = [
    Region("eu-central", "ns1", "fra1", "nats1", ("eu1", "eu2")),
    Region("us-east", "ns2", "nyc1", "nats2", ("us1", "us2")),
    Region("ap-south", "ns3", "bom1", "nats3", ("ap1", "ap2")),
]
NODES = [node for region in REGIONS for node in (region.server, region.vantage)]
# Milliseconds one way, about those of the Internet.
DELAYS = {("eu-central", "us-east"): 40, ("us-east", "ap-south"): 95, ("eu-central", "ap-south"): 60}
# Host parts of the addresses in a region: those of the server and the vantage, of NATS, of a client, of the first endpoint.
SERVER, VANTAGE, NATS, CLIENT, ENDPOINTS = 1, 2, 4, 100, 10
# The addresses of `www.svc.example` and so on are those of the endpoints.
ADDRESSES = {name: region.host(ENDPOINTS + nth) for region in REGIONS for nth, name in enumerate(region.endpoints)}
REGION_OF = {name: region.name for region in REGIONS for name in region.endpoints}


def region_of(node):
    """The region of a server or a vantage."""
    return next(region for region in REGIONS if node in (region.server, region.vantage))


def addresses_in(*regions):
    """The addresses of the endpoints of these regions."""
    return {ADDRESSES[name] for name, of in REGION_OF.items() if of in regions}


def find_program(name, *places):
    """The path of a program: the first of these places that has it, or PATH; None if it is nowhere."""
    for place in places:
        if place and Path(place).is_file():
            return str(Path(place).resolve())
    return shutil.which(name)


class Part:
    """A process of the world. It can be killed, paused, and started again with what it stored."""

    def __init__(self, name, argv, dir, place, ready, env=None):
        self.name, self.argv, self.dir, self.place, self.ready, self.env = name, argv, Path(dir), place, ready, env
        self.lives, self.child, self.is_paused = 0, None, False

    def start(self, wait=True, bound=60):
        """Starts it. With `wait` returns once it has printed that it is ready."""
        self.lives += 1
        self.child = Child(self.argv, self.dir, f"{self.name}-{self.lives}", place=self.place, env=self.env)
        if wait:
            self.wait_ready(bound)

    def is_ready(self):
        if not self.is_running():
            raise AssertionError(f"{self.name} ended with {self.child.process.returncode}\n{self.child.output()}")
        return re.search(self.ready, "\n".join(self.child.out()) + "\n" + self.child.err(), re.M)

    def wait_ready(self, bound=60):
        return wait_until(self.is_ready, bound, 0.05)

    def is_running(self):
        return self.child is not None and self.child.is_running()

    @property
    def pid(self):
        return self.child.pid

    def kill(self):
        """Ends it without a chance to write or send anything."""
        self.child.process.kill()
        self.child.wait()
        self.is_paused = False

    def pause(self):
        """Stops it: the kernel still accepts connections for it, and nothing answers."""
        self.child.signal(signal.SIGSTOP)
        self.is_paused = True

    def go_on(self):
        self.child.signal(signal.SIGCONT)
        self.is_paused = False

    def log(self):
        """What it wrote to standard error since its last start."""
        return self.child.err()

    def logs(self):
        """The same of all its lives."""
        return "".join((self.dir / f"{self.name}-{n + 1}.err").read_text(errors="replace") for n in range(self.lives))

    def end(self):
        if self.child is not None:
            if self.is_paused:
                self.go_on()
            self.child.end()


def nats_part(region, dir, place, program, env):
    """Ready once it accepts clients; the cluster may not have elected its leader yet."""
    data = dir / region.nats
    data.mkdir(exist_ok=True)
    routes = ", ".join(f'"nats://{of.host(NATS)}:6222"' for of in REGIONS)
    more = {"NAME": region.nats, "DATA": f'"{data}"', "ROUTES": f"[{routes}]"}
    return Part(region.nats, [program, "-c", ROOT / "docker/nats/nats.conf"], dir, place, "Server is ready", {**env, **more})


def node_part(region, name, dir, place, program, env):
    """A server or a vantage, of its name."""
    is_server = name == region.server
    host = region.host(SERVER if is_server else VANTAGE)
    state = own_directory(dir / name)
    # The NATS server of its own region first.
    nats = ",".join(f"nats://{of.host(NATS)}:4222" for of in sorted(REGIONS, key=lambda of: of is not region))
    more = {
        "PORTOLAN__REGION": region.name, "PORTOLAN__NODE": name, "PORTOLAN__LISTEN__DNS": f"{host}:53",
        "PORTOLAN__LISTEN__HTTP": f"{host}:8053", "PORTOLAN__STATE__DIR": str(state / "state"),
        "PORTOLAN__FLEET__CREDENTIALS": str(dir / f"{name}.secret"), "PORTOLAN__API__TOKEN_FILE": str(dir / "tokens"),
        "PORTOLAN__FLEET__NATS": nats,
    }
    argv = [program, "serve" if is_server else "probe", "--config", dir / "portolan.toml"]
    return Part(name, argv, dir, place, r"^ready ", {**env, **more})


def endpoint_part(region, name, dir, place):
    return Part(name, [sys.executable, ENDPOINT, ADDRESSES[name], "8080", '{"status": 200, "body": "ok"}'], dir, place, "^ready ")


def own_directory(path):
    """A directory that belongs to the user that a node becomes when root starts it."""
    path.mkdir(exist_ok=True)
    give_away(path)
    return path


def give_away(path):
    if os.geteuid() == 0:
        shutil.chown(path, "nobody")
