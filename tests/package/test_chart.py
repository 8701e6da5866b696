"""The Helm chart, linted and rendered by Helm: each document is valid for Kubernetes, its parts fit together, and wrong values
are refused with what to write. It is not applied to a cluster."""
import json
import re

import kubernetes_validate
import pytest
import yaml

from charts import CHART, DEFAULTS, ROOT, SCHEMA, Refused, Rendered

ZONES = {
    "svc.example.zone": "$TTL 60\n@ SOA ns1 hostmaster 1 7200 900 1209600 30\n@ NS ns1\n@ NS ns2\nns1 A 192.0.2.53\nns2 A 192.0.2.54\n",
    "svc.example.policy.toml": 'zone = "svc.example."\n[endpoint.one]\naddresses = ["192.0.2.1"]\n[name.www]\npool = "one"\n',
}
SERVER = ["ConfigMap", "ConfigMap", "PodDisruptionBudget", "Service", "Service", "Service", "ServiceAccount", "StatefulSet"]
ENCRYPTED = {"dot": {"enabled": True}, "doh": {"enabled": True}, "doq": {"enabled": True}}
FLEET = {"nats": ["tls://nats1.example", "tls://nats2.example"], "cluster": "prod"}

# Values, the kinds that they have more than a server by default has, and those that they have less.
SETS = {
    "defaults": ({}, [], []),
    "zones and tokens": ({"zones": ZONES, "api": {"tokens": "ops operate 0123456789abcdef\n"}}, ["Secret"], []),
    "existing objects": (
        {
            "existingSettings": "settings-of-mine", "zonesFrom": {"configMaps": ["more-zones"], "secrets": ["kubeconfigs"]},
            "api": {"existingSecret": "tokens-of-mine", "hosts": ["dns.example"]},
            "serviceAccount": {"create": False, "name": "mine"}, "persistence": {"enabled": False},
        },
        [], ["ConfigMap", "ServiceAccount"],
    ),
    "encrypted": ({"dns": ENCRYPTED, "tls": {"existingSecret": "ns1-tls"}}, [], []),
    "a Service for each pod": ({"replicas": 3, "service": {"perPod": True, "loadBalancerClass": "a/b"}}, ["Service", "Service"], []),
    "node port": ({"service": {"type": "NodePort", "nodePort": 30053}}, [], []),
    "host port": ({"service": {"enabled": False}, "dns": {"hostPort": 53}}, [], ["Service"]),
    "both families": ({"addresses": ["0.0.0.0", "[::]"], "service": {"ipFamilyPolicy": "RequireDualStack"}}, [], []),
    "fleet": (
        {
            "region": "eu-west", "node": "eu-$(POD_NAME)",
            "fleet": {**FLEET, "credentials": {"existingSecret": "nodes"}, "tls": {"existingSecret": "ca", "clientCertificate": True}},
        },
        [], [],
    ),
    "discovery": (
        {"discovery": {"namespaces": ["shop", "cart"], "ingresses": True, "gateways": True}},
        ["Role", "Role", "RoleBinding", "RoleBinding"], [],
    ),
    "vantage": (
        {"mode": "vantage", "replicas": 1, "region": "us-east", "icmp": True, "fleet": FLEET}, [], ["ConfigMap", "Service"],
    ),
    "placed": (
        {
            "spread": {"required": True}, "nodeSelector": {"dns": "yes"}, "tolerations": [{"key": "dns", "operator": "Exists"}],
            "priorityClassName": "system-cluster-critical", "imagePullSecrets": [{"name": "registry"}],
            "env": [{"name": "PORTOLAN_LOG", "value": "debug"}], "podLabels": {"a": "b"}, "podAnnotations": {"c": "d"},
            "extraVolumes": [{"name": "programs", "emptyDir": {}}],
            "extraVolumeMounts": [{"name": "programs", "mountPath": "/usr/local/lib/checks"}],
            "affinity": {"nodeAffinity": {}}, "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "persistence": {"storageClass": "fast"}, "fullnameOverride": "ns",
        },
        ["ServiceMonitor"], [],
    ),
    "guarded": ({"networkPolicy": {"enabled": True, "apiFrom": [{"podSelector": {}}]}}, ["NetworkPolicy"], []),
    "guarded vantage": (
        {"mode": "vantage", "fleet": FLEET, "networkPolicy": {"enabled": True}}, ["NetworkPolicy"], ["ConfigMap", "Service"],
    ),
}


@pytest.fixture(params=SETS, ids=lambda name: name.replace(" ", "-"))
def rendered(helm, request):
    return Rendered(helm, SETS[request.param][0])


def notes(helm, values):
    """What `helm install` prints at its end."""
    text = helm.run("install", "portolan", CHART, "--namespace=dns", "--dry-run=client", "--output=json", values=values)
    return json.loads(text)["info"]["notes"]


@pytest.mark.parametrize("name", SETS, ids=lambda name: name.replace(" ", "-"))
def test_helm_has_no_complaint(helm, name):
    printed = helm.run("lint", "--strict", CHART, values=SETS[name][0])
    assert "0 chart(s) failed" in printed and "[WARNING]" not in printed and "[ERROR]" not in printed


@pytest.mark.parametrize("name", SETS, ids=lambda name: name.replace(" ", "-"))
def test_the_kinds_are_those_of_the_values(helm, name):
    values, more, less = SETS[name]
    expected = SERVER + more
    for kind in less:
        expected.remove(kind)
    assert Rendered(helm, values).kinds() == sorted(expected)


@pytest.mark.parametrize("kubernetes", ["v1.26.0", "v1.30.2-eks-1a2b3c", "v1.37.0"])
@pytest.mark.parametrize("name", SETS, ids=lambda name: name.replace(" ", "-"))
def test_every_document_is_valid_for_kubernetes(helm, name, kubernetes):
    for document in Rendered(helm, SETS[name][0], kubernetes=kubernetes).documents:
        if document["kind"] != "ServiceMonitor":  # it is no part of Kubernetes
            kubernetes_validate.validate(document, re.match(r"v(\d+\.\d+)", kubernetes)[1], strict=True)


def test_a_wrong_document_is_noticed(helm):
    pod = Rendered(helm, {}).only("StatefulSet")
    pod["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(pod, "1.37", strict=True)


def test_the_parts_fit_together(rendered):
    documents, values, pod, container = rendered.documents, rendered.values, rendered.pod, rendered.container
    names = {(of["kind"], of["metadata"].get("namespace"), of["metadata"]["name"]) for of in documents}
    assert len(names) == len(documents), "two documents have one name"
    existing = {values["existingSettings"], values["api"]["existingSecret"], values["tls"]["existingSecret"]}
    existing |= {*values["zonesFrom"]["configMaps"], *values["zonesFrom"]["secrets"], values["serviceAccount"]["name"]}
    existing |= {values["fleet"]["credentials"]["existingSecret"], values["fleet"]["tls"]["existingSecret"]}

    def is_there(kind, name):
        return (kind, "dns", name) in names or name in existing

    assert is_there("ServiceAccount", pod["serviceAccountName"])
    volumes = {of["name"]: of for of in pod["volumes"]}
    for of in volumes.values():
        for source in of["projected"]["sources"] if "projected" in of else [of]:
            for kind, part in {"ConfigMap": source.get("configMap"), "Secret": source.get("secret")}.items():
                assert part is None or is_there(kind, part.get("name") or part["secretName"]), of
    claims = rendered.only("StatefulSet")["spec"].get("volumeClaimTemplates", [])
    mounts = [of["name"] for of in container["volumeMounts"]]
    assert sorted(mounts) == sorted([*volumes, *(of["metadata"]["name"] for of in claims)])
    assert not any("subPath" in of for of in container["volumeMounts"]), "the kubelet does not update these"

    template, ports = rendered.only("StatefulSet")["spec"]["template"], [of["name"] for of in container["ports"]]
    labels = template["metadata"]["labels"]
    assert rendered.only("StatefulSet")["spec"]["selector"]["matchLabels"].items() <= labels.items()
    for service in [of for of in documents if of["kind"] == "Service"]:
        selector = dict(service["spec"]["selector"])
        selector.pop("statefulset.kubernetes.io/pod-name", None)
        assert selector.items() <= labels.items(), service["metadata"]["name"]
        assert {of["targetPort"] for of in service["spec"]["ports"]} <= set(ports)
    assert rendered.only("StatefulSet")["spec"]["serviceName"] in {of["metadata"]["name"] for of in documents}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] in ports
    for binding in [of for of in documents if of["kind"] == "RoleBinding"]:
        assert ("Role", binding["metadata"]["namespace"], binding["roleRef"]["name"]) in names
        (subject,) = binding["subjects"]
        assert (subject["namespace"], subject["name"]) == ("dns", pod["serviceAccountName"])


def test_no_pod_has_a_right_that_it_does_not_need(rendered):
    """What the level "restricted" of Kubernetes' Pod Security Standards demands, and a read-only file system."""
    pod, container = rendered.pod, rendered.container
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 5353
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    context = container["securityContext"]
    assert context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert all(of["containerPort"] > 1023 for of in container["ports"]), "a port below needs a capability"
    safe = {"net.ipv4.ping_group_range"} if rendered.values["icmp"] else set()
    assert {of["name"] for of in pod["securityContext"].get("sysctls", [])} == safe
    assert all(mount.get("readOnly") or mount["name"] in ("state", "programs") for mount in container["volumeMounts"])
    assert pod["automountServiceAccountToken"] == bool(rendered.values["discovery"]["namespaces"])


def test_dns_is_on_one_address_by_udp_and_tcp_and_the_addresses_of_clients_stay(helm):
    service = Rendered(helm, {"dns": ENCRYPTED, "tls": {"existingSecret": "a"}}).named("Service", "portolan-dns")["spec"]
    assert (service["type"], service["externalTrafficPolicy"]) == ("LoadBalancer", "Local")
    ports = {(of["port"], of["protocol"]) for of in service["ports"]}
    assert ports == {(53, "UDP"), (53, "TCP"), (853, "TCP"), (443, "TCP"), (853, "UDP")}
    each = Rendered(helm, {"service": {"perPod": True}})
    for pod in ("portolan-0", "portolan-1"):
        assert each.named("Service", f"{pod}-dns")["spec"]["selector"]["statefulset.kubernetes.io/pod-name"] == pod
    internal = Rendered(helm, {"service": {"type": "ClusterIP"}}).named("Service", "portolan-dns")["spec"]
    assert "externalTrafficPolicy" not in internal


def test_a_network_policy_lets_everybody_ask_and_few_call_the_api(helm):
    server = Rendered(helm, SETS["guarded"][0]).only("NetworkPolicy")["spec"]["ingress"]
    assert server == [
        {"ports": [{"port": 5300, "protocol": "UDP"}, {"port": 5300, "protocol": "TCP"}]},
        {"from": [{"podSelector": {}}], "ports": [{"port": 8053, "protocol": "TCP"}]},
    ]
    assert Rendered(helm, SETS["guarded vantage"][0]).only("NetworkPolicy")["spec"]["ingress"] == []


def test_a_pod_that_stops_has_time_for_its_drain(helm):
    new = Rendered(helm, {"drain": {"delaySeconds": 20, "graceSeconds": 15}})
    assert new.container["lifecycle"] == {"preStop": {"sleep": {"seconds": 20}}}
    assert new.pod["terminationGracePeriodSeconds"] == 35
    old = Rendered(helm, {}, kubernetes="v1.29.9")
    assert "lifecycle" not in old.container and old.pod["terminationGracePeriodSeconds"] == 30
    assert "lifecycle" not in Rendered(helm, {"drain": {"delaySeconds": 0}}).container


def test_the_rights_are_those_of_the_plain_manifest(helm):
    plain = yaml.safe_load_all((ROOT / "docker/kubernetes/discover.yaml").read_text())
    (expected,) = [of["rules"] for of in plain if of["kind"] == "Role"]
    every = Rendered(helm, SETS["discovery"][0])
    roles = {of["metadata"]["namespace"]: of["rules"] for of in every.documents if of["kind"] == "Role"}
    assert roles == {"shop": expected, "cart": expected}
    (slices,) = [of for of in Rendered(helm, {"discovery": {"namespaces": ["shop"]}}).documents if of["kind"] == "Role"]
    assert [rule["resources"] for rule in slices["rules"]] == [["endpointslices"]]


def test_changed_settings_replace_the_pods_and_changed_zones_do_not(helm):
    def template(**values):
        return Rendered(helm, values).only("StatefulSet")["spec"]["template"]

    assert template(zones=ZONES) == template()
    assert template(settings="[rrl]\nrate = 20\n") != template()
    assert template(settings="[rrl]\nrate = 20\n", restartOnSettings=False) == template(restartOnSettings=False)


def test_texts_stay_as_they_are(helm):
    text = "; {{ .Values.region }} $(POD_NAME)\n\n  @ TXT \"a: 'b' # \\\" \u00fc\"  \n\t\n"
    rendered = Rendered(helm, {"zones": {"a.zone": text, "b.zone": "", "c.zone": "0123"}, "settings": text})
    assert rendered.named("ConfigMap", "portolan-zones")["data"] == {"a.zone": text, "b.zone": "", "c.zone": "0123"}
    assert rendered.named("ConfigMap", "portolan-settings")["data"] == {"portolan.toml": text}


@pytest.mark.parametrize(
    "values, message",
    [
        ({"mode": "vantage"}, "set fleet.nats and fleet.cluster"),
        ({"fleet": {"nats": ["nats://a"]}}, "fleet.nats needs fleet.cluster"),
        ({"dns": {"dot": {"enabled": True}}}, "tls.existingSecret"),
        ({"dns": {"port": 8053}}, "TCP ports of one container"),
        ({"dns": {"port": 8853, "doq": {"enabled": True}}, "tls": {"existingSecret": "a"}}, "UDP ports of one container"),
        ({"service": {"perPod": True, "nodePort": 30053}}, "service.perPod"),
        ({"settings": "a", "existingSettings": "b"}, "use one of them"),
        ({"api": {"tokens": "a", "existingSecret": "b"}}, "use one of them"),
        # The schema.
        ({"mode": "probe"}, "'/mode': value must be one of 'server', 'vantage'"),
        ({"dns": {"port": 53}}, "'/dns/port': minimum: got 53, want 1,024"),
        ({"replica": 3}, "additional properties 'replica' not allowed"),
        ({"service": {"typ": "NodePort"}}, "'/service': additional properties 'typ' not allowed"),
        ({"zones": {"a/b.zone": ""}}, "invalid propertyName 'a/b.zone'"),
        ({"zones": {"a.zone": 3}}, "'/zones/a.zone': got number, want string"),
        ({"addresses": ["::"]}, "'/addresses/0': '::' does not match"),
        ({"persistence": {"accessModes": ["ReadWriteMany"]}}, "'/persistence/accessModes/0': value must be one of"),
        ({"fleet": {"nats": ["nats://a,nats://b"], "cluster": "c"}}, "'/fleet/nats/0'"),
    ],
)
def test_wrong_values_are_refused(helm, values, message):
    with pytest.raises(Refused) as refused:
        Rendered(helm, values)
    assert message in str(refused.value)


def test_the_schema_has_the_keys_of_the_values():
    def compare(schema, values, path):
        assert schema.get("additionalProperties") is False, f"{path}: any key is accepted"
        assert schema["properties"].keys() - {"global"} == values.keys(), path
        for key, value in values.items():
            if isinstance(value, dict) and "properties" in schema["properties"][key]:
                compare(schema["properties"][key], value, f"{path}.{key}")

    compare(SCHEMA, DEFAULTS, "values")


def test_the_version_is_that_of_the_program():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = re.search(r'^version\s*= "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    assert (chart["appVersion"], chart["version"]) == (version, version)


def test_the_notes_say_how_to_ask_and_how_to_delegate(helm):
    empty, full = notes(helm, {}), notes(helm, {"zones": ZONES})
    assert "There are no zones yet" in empty and "There are no zones yet" not in full
    for part in ("dig @ADDRESS svc.example SOA +tcp", "NS  ns1.svc", "component=dns", "exec portolan-0 -- portolan status"):
        assert part in full, part
    assert "dig @ADDRESS -p PORT svc.example" in notes(helm, SETS["node port"][0])
    vantage = notes(helm, SETS["vantage"][0])
    assert "probes for the fleet prod" in vantage and "dig" not in vantage


@pytest.mark.parametrize("release, name", [("portolan", "portolan"), ("eu", "eu-portolan"), ("a" * 53, "a" * 52)])
def test_the_names_of_pods_are_valid(helm, release, name):
    rendered = Rendered(helm, {}, release=release)
    assert rendered.only("StatefulSet")["metadata"]["name"] == name
    assert all(len(of["metadata"]["name"]) <= 63 for of in rendered.documents)
