"""The files in docker/ that describe the fleet for containers: they can be read, and they describe the world that the tests run."""
import os
import re
import subprocess

import yaml

from parts import ADDRESSES, ENDPOINTS, NATS, NODES, REGIONS, ROOT, SERVER, VANTAGE, region_of
from nats import PROGRAM as NATS_SERVER
from portolan import command

DOCKER = ROOT / "docker"
SERVICES = yaml.safe_load((DOCKER / "compose.fleet.yaml").read_text())["services"]


def address(service):
    return SERVICES[service]["networks"]["fleet"]["ipv4_address"]


def environment_of(service):
    """The environment of a service, with a password for each variable."""
    values = SERVICES[service]["environment"]
    return {key: re.sub(r"\$\{(\w+)[^}]*\}", r"1secret-of-\1", value) for key, value in values.items()}


def test_the_containers_have_the_addresses_of_the_namespaces():
    for region in REGIONS:
        assert address(region.server) == region.host(SERVER) and address(region.vantage) == region.host(VANTAGE)
        assert address(region.nats) == region.host(NATS)
        assert [address(name) for name in region.endpoints] == [region.host(ENDPOINTS), region.host(ENDPOINTS + 1)]
    policy = (DOCKER / "fleet/zones/svc.example.policy.toml").read_text()
    for name, of in ADDRESSES.items():
        assert f'[endpoint.{name}]\naddresses = ["{of}"]' in policy
    assert len(SERVICES) == 3 * 5 + 1


def test_check_accepts_the_settings_of_every_node(dir):
    (dir / "credentials").write_text("ns1 secret\n")
    for node in NODES:
        env = {**environment_of(node), "PORTOLAN__FLEET__CREDENTIALS": str(dir / "credentials")}
        checked = command("check", "--config", DOCKER / "fleet/portolan.toml", env=env)
        assert checked.returncode == 0 and "no problems" in checked.stderr, (node, checked)
        region = region_of(node)
        assert env["PORTOLAN__REGION"] == region.name and env["PORTOLAN__NODE"] == node
        assert env["PORTOLAN__FLEET__NATS"].startswith(f"nats://{region.host(NATS)}:4222,"), "the nearest first"


def test_nats_server_accepts_its_configuration():
    for region in REGIONS:
        env = {**os.environ, **environment_of(region.nats)}
        argv = [NATS_SERVER, "-t", "-c", DOCKER / "nats/nats.conf"]
        checked = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=env)
        assert checked.returncode == 0, checked


def test_files_volumes_and_passwords_that_are_used_exist():
    compose = yaml.safe_load((DOCKER / "compose.fleet.yaml").read_text())
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            source = volume["source"] if isinstance(volume, dict) else volume.split(":")[0]
            assert (DOCKER / source).exists() if source.startswith(".") else source in compose["volumes"], (name, volume)
        for config in service.get("configs", []):
            assert config["source"] in compose["configs"], (name, config)
            assert not service.get("read_only"), f"{name}: Compose puts no config with `content` into a read-only container"
    variables = set(re.findall(r"\$\{(\w+)", (DOCKER / "compose.fleet.yaml").read_text()))
    made = re.search(r"^for name in (.*); do echo", (DOCKER / "README.md").read_text(), re.M)[1]
    assert variables == set(made.split())
    wanted = set(re.findall(r"\$([A-Z]+\d)", (DOCKER / "nats/fleet.conf").read_text()))
    assert wanted == {node.upper() for node in NODES}


def test_prometheus_scrapes_every_node_and_its_rules_use_metrics_that_exist():
    config = yaml.safe_load((DOCKER / "fleet/prometheus.yml").read_text())
    targets = {of["targets"][0]: of["labels"] for of in config["scrape_configs"][0]["static_configs"]}
    assert {labels["node"] for labels in targets.values()} == set(NODES)
    for region in REGIONS:
        assert targets[f"{region.host(SERVER)}:8053"] == {"node": region.server, "region": region.name}
        assert targets[f"{region.host(VANTAGE)}:8053"] == {"node": region.vantage, "region": region.name}
    families = (ROOT / "src/telemetry/families.rs").read_text()
    for group in yaml.safe_load((DOCKER / "fleet/alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["expr"].count("(") == rule["expr"].count(")") and rule["annotations"]["summary"]
            for metric in re.findall(r"\bportolan_\w+", rule["expr"]):
                assert re.search(rf'"{metric}"', families), f"{rule['alert']}: there is no {metric}"
