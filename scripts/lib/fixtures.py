"""The cases of `differential`, made ready to be built: context, command line and base images.

A case is a folder with a Dockerfile and, if it needs them, context files, `setup` (a shell script run in the copy of the context, for
what Git does not keep: modes, times, links, archives) and `options.json`, whose keys are those of testdata/planner and `flags` (more
words for the command line); a context that is a relative path is a folder of the case. A case of testdata/planner has no context; it
gets one made of the paths in its plan, and base images with its configs around one root file system."""

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import zlib

# Times of context files: fixed, and different for every path.
OLD = 1262304000
# Images that are what they are in planner cases too.
OWN = {"scratch", "busybox", "docker.io/library/busybox:latest"}
BASE_CONFIG = {
    "architecture": "amd64", "os": "linux", "created": "2024-01-01T00:00:00Z",
    "config": {"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["sh"]},
    "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "base"}],
}
# What makes planner cases unfit for two builders on one machine.
UNFIT = {"everything": "is about checks without a build", "show_platform": "needs a build for several platforms"}
# The commands in planner cases are made up: the shell of their base image runs what it can and succeeds.
SHELL = b'#!/bin/busybox sh\n/bin/busybox sh "$@" 2>/dev/null\nexit 0\n'


class Unfit(Exception):
    """The reason why a case cannot be compared."""


class Case:
    def __init__(self, folder):
        self.folder = folder
        self.name = "/".join(os.path.abspath(folder).split("/")[-3:])
        self.tag = "differential-" + self.name.replace("/", "-")
        self.options = json.loads(self.text("options.json") or "{}")
        self.plan = self.text("expected.txt")
        for key, reason in UNFIT.items():
            if key in self.options:
                raise Unfit(reason)
        if self.options.get("platform", "linux/amd64") != "linux/amd64":
            raise Unfit("builds for another platform")
        if any(image.get("os", "linux") != "linux" for image in self.options.get("images", {}).values()):
            raise Unfit("needs a base image of another system")
        if "oci-layout" in self.options.get("contexts", {}).values():
            raise Unfit("needs an OCI layout as context")

    def text(self, name):
        path = os.path.join(self.folder, name)
        return open(path, encoding="utf-8", errors="surrogateescape").read() if os.path.exists(path) else None

    def images(self):
        """{reference: what its config changes} of the base images a planner case finds."""
        special = {tagged(name): change for name, change in self.options.get("images", {}).items()}
        if self.plan is None:
            return {}
        used = re.findall(r"\bimage (docker\.io/[\w./-]+:[\w.-]+)", self.plan)
        used += re.findall(r"(?m)^\s*(?i:FROM) (?:--\S+ )*([a-z0-9][a-z0-9:./-]*)(?=\s|$)", self.text("Dockerfile"))
        return {tagged(name): special.get(tagged(name), {}) for name in used if name not in OWN} | special

    def paths(self, source):
        """The paths the plan of a planner case takes from the source: `context`, or `image` for images and stages alike."""
        found, here = [], ""
        for line in (self.plan or "").splitlines():
            here = line.split()[1] if line.startswith("    copy ") else here
            path = re.fullmatch(r'    path "(.+)"', line)
            if path and not re.search(r"[*?\[]", path[1]) and (source == "context") == (here == "context"):
                found.append(os.path.normpath(f"/{path[1]}").lstrip("/"))
        return [path for path in found if path]

    def mount_points(self):
        """What must not be a file in a base image."""
        return set(re.findall(r"(?m)^    mount /(\S+)", self.plan or ""))

    def context(self, scratch):
        """Makes the context and returns the words of the command line."""
        here = os.path.join(scratch, self.tag)
        shutil.rmtree(here, ignore_errors=True)
        no_context = shutil.ignore_patterns("expected.txt", "options.json", "setup")
        shutil.copytree(self.folder, here, symlinks=True, ignore=no_context)
        fill(here, self.paths("context"))
        if self.text("setup"):
            subprocess.run(["sh", "-euc", self.text("setup")], cwd=here, check=True)
        age(here)
        return here, ["-t", self.tag, *self.flags(here)]

    def flags(self, here):
        options = self.options
        words = [f"--build-arg={name}={value}" for name, value in options.get("build_args", {}).items()]
        if "hostname" in options:
            words.append(f"--build-arg=BUILDKIT_SANDBOX_HOSTNAME={options['hostname']}")
        words += [f"--label={name}={value}" for name, value in options.get("labels", {}).items()]
        for name, value in options.get("contexts", {}).items():
            if self.plan is not None and value == "/dir":
                value = here
            elif "://" not in value:
                value = os.path.join(here, value)
            words.append(f"--build-context={name}={value}")
        if "target" in options:
            words.append(f"--target={options['target']}")
        words.append(f"--network={options.get('network', 'host')}")
        return words + options.get("flags", [])


def tagged(name):
    name = name.removeprefix("docker.io/").removeprefix("library/")
    return name if ":" in name else name + ":latest"


def fill(folder, paths):
    for path in sorted(paths, key=len, reverse=True):
        target = os.path.join(folder, path)
        if not os.path.lexists(target):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "w") as file:
                file.write(path + "\n")


def age(folder):
    """Gives every path of the context a time of its own, unless `setup` gave it an old one."""
    for parent, folders, files in os.walk(folder, topdown=False):
        for path in [os.path.join(parent, name) for name in files + folders] + ([folder] if parent == folder else []):
            if os.lstat(path).st_mtime > OLD * 1.2:
                time = OLD + zlib.crc32(os.path.relpath(path, folder).encode("utf-8", "surrogateescape")) % 10**8
                os.utime(path, (time, time), follow_symlinks=False)


def root_layer(archive, paths):
    """The layer of the planner cases' base images: that of busybox, with their shell and the paths they copy from images."""
    made = io.BytesIO()
    with tarfile.open(archive) as outer, tarfile.open(fileobj=made, mode="w", format=tarfile.GNU_FORMAT) as new:
        layer = json.load(outer.extractfile("manifest.json"))[0]["Layers"][0]
        known = set()
        with tarfile.open(fileobj=outer.extractfile(layer)) as old:
            for member in old:
                known.add(os.path.normpath(member.name))
                if os.path.normpath(member.name) != "bin/sh":
                    new.addfile(member, old.extractfile(member) if member.isreg() else None)
        add(new, "bin/sh", SHELL, 0o755)
        for path in sorted(set(paths), key=len, reverse=True):
            if os.path.normpath(path) not in known and not any(other.startswith(path + "/") for other in known):
                for end in [end for end, char in enumerate(path) if char == "/"]:
                    if os.path.normpath(path[:end]) not in known:
                        add(new, path[:end], None, 0o755)
                        known.add(os.path.normpath(path[:end]))
                add(new, path, path.encode() + b"\n", 0o644)
                known.add(path)
    return made.getvalue()


def add(tar, path, content, mode):
    """Adds a file, or a directory when there is no content."""
    member = tarfile.TarInfo(path)
    member.mode, member.mtime = mode, OLD
    if content is None:
        member.type = tarfile.DIRTYPE
        tar.addfile(member)
    else:
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))


def image_archive(path, layer, images):
    """Writes the images {reference: changes to the config} as a docker-archive."""
    manifest = []
    diff_id = "sha256:" + hashlib.sha256(layer).hexdigest()
    with tarfile.open(path, "w") as tar:
        add(tar, "layer.tar", layer, 0o644)
        for name, change in images.items():
            count = change.get("layers", 1)
            config = BASE_CONFIG | {key: value for key, value in change.items() if key != "layers"}
            config["rootfs"] = {"type": "layers", "diff_ids": [diff_id] * count}
            config = json.dumps(config).encode()
            file = hashlib.sha256(config).hexdigest() + ".json"
            add(tar, file, config, 0o644)
            manifest.append({"Config": file, "RepoTags": [name], "Layers": ["layer.tar"] * count})
        add(tar, "manifest.json", json.dumps(manifest).encode(), 0o644)
