"""`portolan schema`, as editors use it: a foreign validator accepts every example and refuses wrong files."""
import json
import re
import tomllib
from pathlib import Path

import jsonschema
import pytest

from portolan import command

ROOT = Path(__file__).parents[2]


def validator(of):
    result = command("schema", of)
    assert result.returncode == 0, result.stderr
    schema = json.loads(result.stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.fixture(scope="module")
def policy():
    return validator("policy")


@pytest.fixture(scope="module")
def settings():
    return validator("settings")


def wrong(validator, text):
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(tomllib.loads(text))]


def blocks():
    """The whole files in the documents."""
    for document in [ROOT / "README.md", ROOT / "zones" / "README.md", *(ROOT / "docs").glob("*.md")]:
        for block in re.findall(r"^```toml\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL):
            try:
                tables = tomllib.loads(block)
            except tomllib.TOMLDecodeError:
                continue
            if isinstance(tables.get("zone"), str):
                yield "policy", document.name, block
            elif "region" in tables:
                yield "settings", document.name, block


def test_every_example_is_valid_by_the_schema(policy, settings):
    examples = [("policy", path, path.read_text()) for path in ROOT.glob("zones/**/*.policy.toml")]
    examples += [("settings", path, path.read_text()) for path in ROOT.glob("zones/**/portolan.toml")]
    examples += [("settings", path, path.read_text()) for path in ROOT.glob("docker/portolan.toml")]
    assert len(examples) >= 7, examples
    shown = list(blocks())
    assert {of for of, *_ in shown} == {"policy", "settings"} or len(shown) >= 2, shown
    for of, name, text in examples + shown:
        assert wrong({"policy": policy, "settings": settings}[of], text) == [], name


ZONE = 'zone = "svc.example."\n'


@pytest.mark.parametrize("text", [
    "",
    ZONE + "colour = 3",
    ZONE + "[defaults]\nanswers = 0",
    ZONE + "[defaults]\nttl = 20",
    ZONE + "[defaults]\nttl = { max = '20s', mni = '5s' }",
    ZONE + "[defaults]\non_empty = ['nodata', 'nodata']",
    ZONE + "[ecs]\nv4 = 33",
    ZONE + "[monitor.web]\nport = 80",
    ZONE + "[monitor.web]\ntype = 'gprc'",
    ZONE + "[monitor.web]\ntype = 'http'\ninterval = 'often'",
    ZONE + "[monitor.web]\ntype = 'http'\nexpect = { status = [] }",
    ZONE + "[monitor.web]\ntype = 'http'\nhold = 'yes'",
    ZONE + "[monitor.web]\ntype = 'http'\nquorum = { per_region = 'most' }",
    ZONE + "[monitor.web]\ntype = 'http'\nquorum = { regions_down = 0 }",
    ZONE + "[endpoint.fra1]\nweight = 3",
    ZONE + "[endpoint.fra1]\naddresses = ['192.0.2.1']\ncname = 'a.example.'",
    ZONE + "[endpoint.fra1]\naddresses = ['192.0.2.1']\nstate = 'drained'",
    ZONE + "[endpoint.'fra 1']\naddresses = ['192.0.2.1']",
    ZONE + "[pool.eu]\nsteer = 'geo'",
    ZONE + "[pool.eu]\nmembers = ['a']\nsteer = 'weigthed'",
    ZONE + "[pool.eu]\nmembers = [{ weight = 3 }]",
    ZONE + "[pool.eu]\nmembers = [{ to = 'a', when = {} }]",
    ZONE + "[pool.eu]\nmembers = ['a']\nmin_up = 50",
    ZONE + "[fence.eu]\nclients = { unknown = true }",
    ZONE + "[fence.eu]\nclients = { continents = ['Europe'] }\nallow = { countries = ['DE'] }",
    ZONE + "[name.www]\ntypes = ['A']",
    ZONE + "[name.www]\npool = 'eu'\ntypes = ['MX']",
    ZONE + "[name.www]\npool = 'eu'\nfailover = 'both'",
    ZONE + "[name.www]\npool = 'eu'\nfailback = 3",
])
def test_broken_policies_are_refused(policy, text):
    assert wrong(policy, text) != []


@pytest.mark.parametrize("text", [
    "regoin = 'eu'",
    "[listen]\ndns = '127.0.0.1:53'",
    "[listen]\nworkers = -1",
    "[listen.xdp]\ninterface = 'eth0'",
    "[rrl]\nrate = 1001",
    "[regions.eu]\nlocation = [53.34]",
    "[regions.eu]\nlocation = [153.34, 0]",
    "[regions.eu]\nasns = ['ASX']",
    "[fleet]\nnats = []",
])
def test_broken_settings_are_refused(settings, text):
    assert wrong(settings, text) != []


def test_other_spellings_are_accepted(policy):
    """Values in upper or lower case, and lengths of time in several spellings."""
    text = ZONE + """
[monitor.web]
type = "http"
interval = "1m 30s"
[endpoint.fra1]
addresses = ["192.0.2.1", "2001:db8::1"]
country = "de"
[pool.eu]
members = ["fra1"]
[name.www]
pool = "eu"
types = ["a", "Https"]
failback = "10m"
affinity = true
[name."*.app"]
pool = "fra1"
on_empty = "eu"
"""
    assert wrong(policy, text) == []
