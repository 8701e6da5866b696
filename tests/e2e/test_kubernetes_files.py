"""The manifests of docker/kubernetes: they are YAML, their parts fit together, and the program accepts the options and the files
in them. They are not applied to a cluster."""
from pathlib import Path

import pytest
import yaml

from portolan import command, write_files

MANIFESTS = Path(__file__).parents[2] / "docker/kubernetes"
FILES = sorted(MANIFESTS.glob("*.yaml"))


def parts(file):
    return [part for part in yaml.safe_load_all(file.read_text()) if part]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_parts_of_a_manifest_fit_together(file):
    all_parts = parts(file)
    named = {(part["kind"], part["metadata"]["name"]): part for part in all_parts}
    assert len(named) == len(all_parts), "two parts have one name"
    for (kind, name), part in named.items():
        assert part["apiVersion"], name
        if kind.endswith("Binding"):
            assert (part["roleRef"]["kind"], part["roleRef"]["name"]) in named
            assert all((subject["kind"], subject["name"]) in named for subject in part["subjects"])
        if kind == "Role" or kind == "ClusterRole":
            assert {verb for rule in part["rules"] for verb in rule["verbs"]} <= {"get", "list", "watch"}, "reads only"
        if kind == "Deployment":
            template = part["spec"]["template"]
            pod = template["spec"]
            assert part["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
            assert ("ServiceAccount", pod["serviceAccountName"]) in named
            volumes = {volume["name"]: volume for volume in pod["volumes"]}
            for volume in volumes.values():
                for key, (kind, field) in {
                    "configMap": ("ConfigMap", "name"), "persistentVolumeClaim": ("PersistentVolumeClaim", "claimName"),
                }.items():
                    assert key not in volume or (kind, volume[key][field]) in named, volume
            for container in pod.get("initContainers", []) + pod["containers"]:
                assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes.keys(), container["name"]
                context = container["securityContext"]
                assert context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"], container["name"]
                assert context["capabilities"]["drop"] == ["ALL"]
                ports = {port["name"] for port in container.get("ports", [])}
                for probe in ("readinessProbe", "livenessProbe"):
                    assert probe not in container or container[probe]["httpGet"]["port"] in ports
        if kind == "Service":
            pods = [of["spec"]["template"] for of in all_parts if of["kind"] == "Deployment"]
            chosen = [of for of in pods if part["spec"]["selector"].items() <= of["metadata"]["labels"].items()]
            ports = {port["name"] for of in chosen for container in of["spec"]["containers"] for port in container.get("ports", [])}
            assert {port["targetPort"] for port in part["spec"]["ports"]} <= ports


def test_the_program_accepts_the_files_and_options_of_the_pod(dir):
    all_parts = {part["kind"]: part for part in parts(MANIFESTS / "external-dns.yaml")}
    data = all_parts["ConfigMap"]["data"]
    text = data["portolan.toml"].replace('"/zones"', '"zones"').replace('"/state"', '"state"')
    settings = write_files(dir, text, {name: of for name, of in data.items() if name != "portolan.toml"})
    checked = command("check", "--config", settings)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    containers = {of["name"]: of for of in all_parts["Deployment"]["spec"]["template"]["spec"]["containers"]}
    for name in ("server", "provider"):
        assert command(*containers[name]["args"], "--help").returncode == 0, name
    zones = [arg.partition("=")[2] for arg in containers["provider"]["args"] if arg.startswith("--zone=")]
    assert [f"{zone}.zone" for zone in zones] == [name for name in data if name.endswith(".zone")]
    assert "--webhook-provider-url=http://127.0.0.1:8888" in containers["external-dns"]["args"]
