"""A client that does what external-dns does with a webhook provider: it reads the records, has the wanted ones adjusted,
compares, and sends the changes with ownership records (its TXT registry). And the provider itself, `portolan external-dns`."""
import base64
import json
import urllib.error
import urllib.request
from urllib.parse import urlsplit, urlunsplit

from portolan import BINARY, environment
from processes import Child

MEDIA_TYPE = "application/external.dns.webhook+json;version=1"
READY = r"^ready http=(\S+)(?: health=(\S+))? zones=(\S+)$"


class Provider:
    """with Provider(dir, settings, "--zone", "k8s.example") as provider: ExternalDns(provider.url)"""

    def __init__(self, dir, settings, *argv, name="provider"):
        self.argv = [BINARY, "external-dns", "--config", settings, "--listen", "127.0.0.1:0", *argv]
        self.dir, self.name, self.child = dir, name, None
        self.start()

    def start(self):
        self.child = Child(self.argv, self.dir, self.name, env=environment())
        try:
            ready = self.child.wait_line(READY, 30)
        except BaseException:
            self.child.end()
            raise
        self.url, self.health = f"http://{ready[1]}", ready[2]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.end()


def request(url, body=None, method=None, headers=None):
    """Status, headers and text. A body that is no text is sent as JSON with the media type of the protocol."""
    parts = urlsplit(url)
    sent = {"Accept": MEDIA_TYPE, **(headers or {})}
    if parts.username:
        sent["Authorization"] = "Basic " + base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
        url = urlunsplit(parts._replace(netloc=f"{parts.hostname}:{parts.port}"))
    data = None
    if body is not None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        sent.setdefault("Content-Type", MEDIA_TYPE)
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, sent, method=method), timeout=30) as reply:
            return reply.status, reply.headers, reply.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.headers, refused.read().decode()


def record(name, *targets, type="A", set="", ttl=0, **properties):
    """A record as a source of external-dns makes it: `weight="70"` is the annotation `webhook-portolan-weight`."""
    made = {"dnsName": name, "targets": list(targets), "recordType": type, "labels": {"resource": f"service/shop/{name}"}}
    if set:
        made["setIdentifier"] = set
    if ttl:
        made["recordTTL"] = ttl
    if properties:
        made["providerSpecific"] = [
            {"name": f"webhook/portolan-{key.replace('_', '-')}", "value": value} for key, value in properties.items()
        ]
    return made


class ExternalDns:
    """One installation, with its owner id."""

    def __init__(self, url, owner="default"):
        self.url, self.owner = url, owner
        status, headers, text = request(url)
        assert status == 200 and headers["Content-Type"] == MEDIA_TYPE and headers["Vary"] == "Content-Type", (status, text)
        self.filter = json.loads(text)["include"]

    def records(self):
        status, headers, text = request(self.url + "/records")
        assert status == 200 and headers["Content-Type"] == MEDIA_TYPE, (status, text)
        return json.loads(text)

    def adjust(self, wanted):
        status, headers, text = request(self.url + "/adjustendpoints", wanted)
        assert status == 200 and headers["Content-Type"] == MEDIA_TYPE, (status, text)
        return json.loads(text)

    def sync(self, wanted):
        """One round; returns how many records it created, updated and deleted."""
        current = {key(of): of for of in self.records() if of["recordType"] != "TXT" and self._owns(of)}
        desired = {key(of): of for of in self.adjust(wanted)}
        created = [self._owned(of) for at, of in desired.items() if at not in current]
        gone = [of for at, of in current.items() if at not in desired]
        changed = [at for at, of in desired.items() if at in current and differs(of, current[at])]
        changes = {
            "create": [of for new in created for of in (new, self._ownership(new))],
            "delete": [of for old in gone for of in (old, self._ownership(old))],
            "updateOld": [current[at] for at in changed],
            "updateNew": [self._owned(desired[at]) for at in changed],
        }
        if any(changes.values()):
            status, _, text = request(self.url + "/records", changes)
            assert status == 204 and text == "", (status, text)
        return len(created), len(changed), len(gone)

    def _owns(self, record):
        return record.get("labels", {}).get("owner") == self.owner

    def _owned(self, record):
        return {**record, "labels": {**record.get("labels", {}), "owner": self.owner}}

    def _ownership(self, record):
        """The TXT record that goes with a record: its name has the type before the first label, in or out of the zone."""
        name = record["dnsName"].replace("*", "any")
        text = f'"heritage=external-dns,external-dns/owner={self.owner}"'
        return {
            **{k: v for k, v in record.items() if k in ("setIdentifier", "providerSpecific")},
            "dnsName": f"{record['recordType'].lower()}-{name}", "recordType": "TXT", "targets": [text],
            "labels": {"ownedRecord": record["dnsName"]},
        }


def key(record):
    return record["dnsName"].rstrip(".").lower(), record["recordType"], record.get("setIdentifier", "")


def differs(desired, current):
    """What external-dns compares: targets, a TTL that is wanted, and the properties."""
    ttl = desired.get("recordTTL", 0)
    properties = [sorted((p["name"], p["value"]) for p in of.get("providerSpecific", [])) for of in (desired, current)]
    return (
        sorted(desired["targets"]) != sorted(current["targets"])
        or (ttl > 0 and ttl != current.get("recordTTL", 0))
        or properties[0] != properties[1]
    )
