"""A zone for tests in which whole regions fail: two endpoints in each region, and `www` gives all that are up."""
from portolan import SETTINGS, files, policy


def names_in(regions):
    """The names of the endpoints: eu1, eu2, us1, ..."""
    return [f"{region}{nth}" for region in regions for nth in (1, 2)]


def addresses_in(regions):
    """The addresses of the endpoints, in the same order."""
    return [f"192.0.2.{nth + 1}" for nth in range(2 * len(regions))]


def region_settings(regions, control=None):
    """Settings with these regions in addition to the node's own, and a control target if there is one."""
    tables = "".join(f"\n[regions.{region}]\nlocation = [0, 0]\n" for region in regions)
    return SETTINGS + tables + (f'\n[vantage]\ncontrol = ["{control}"]\n' if control else "")


def region_files(probes, interval="500ms", timeout="400ms", sorry=None):
    """The files of the zone. `probes` is {name: "HOST:PORT"}; the region is the name without its last character. `sorry` is
    the address that is answered when nothing is up."""
    endpoints = {
        name: {"addresses": [f"192.0.2.{nth + 1}"], "region": name[:-1], "probe": probe, "monitor": "web"}
        for nth, (name, probe) in enumerate(probes.items())
    }
    last_resort = {"sorry": {"addresses": [sorry]}} if sorry else {}
    return files(policy(
        defaults={"ttl": "1s"},
        monitor={"web": {"type": "http", "path": "/healthz", "interval": interval, "timeout": timeout}},
        endpoint={**endpoints, **last_resort},
        pool={"web": {"members": list(endpoints), "steer": "all"}},
        name={"www": {"pool": "web", **({"on_empty": "sorry"} if sorry else {})}},
    ))
