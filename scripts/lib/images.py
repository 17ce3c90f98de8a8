"""Reading images out of docker-archives and telling two of them apart. Used by `compare` and `differential`."""

import hashlib
import json
import os
import re
import subprocess
import tarfile
from collections import Counter

# Differences that two builds by the same builder show as well: logs, caches and byte code that contain times or random numbers.
VOLATILE = re.compile(r"\.pyc$|^var/(log|cache)/|^etc/ld\.so\.cache$|/pip/cache|\.dist-info/(RECORD|direct_url\.json)$")
# A time after this one (2020-01-01) is that of the build or of a checkout: the two builders cannot agree on it.
RECENT = 1577836800


class CommandFailed(Exception):
    """A command that has to work did not."""


def run(*argv):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise CommandFailed(f"{' '.join(argv)}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


class Image:
    """The image of a docker-archive: `files` is {path: attributes}, `layers` the paths each layer has, whiteouts left out."""

    def __init__(self, archive=None):
        self.files, self.layers, self.config = {}, [], {}
        if archive:
            self.read(archive)

    @classmethod
    def without_layers(cls, tool, name):
        """The image as `inspect` and `history` show it: docker does not save an image that has no layers."""
        image, shown = cls(), json.loads(run(tool, "image", "inspect", name))[0]
        image.config = {"architecture": shown["Architecture"], "os": shown["Os"], "author": shown.get("Author"), "config": {}}
        image.config["config"] = {key: value for key, value in shown["Config"].items() if value}
        lines = run(tool, "history", "--no-trunc", "--format", "{{json .CreatedBy}}\t{{json .Comment}}", name).splitlines()
        entries = [[json.loads(word) for word in line.split("\t")] for line in reversed(lines)]
        image.config["history"] = [{"created_by": by, "comment": comment, "empty_layer": True} for by, comment in entries]
        return image

    def read(self, archive):
        with tarfile.open(archive) as outer:
            manifest = json.load(outer.extractfile("manifest.json"))[0]
            self.config = json.load(outer.extractfile(manifest["Config"]))
            for layer in manifest["Layers"]:
                with tarfile.open(fileobj=outer.extractfile(layer)) as tar:
                    self.layers.append(apply(tar, self.files))

    def history(self):
        keys = ("created_by", "comment", "empty_layer", "author")
        return [{key: entry[key] for key in keys if entry.get(key)} for entry in self.config.get("history", [])]


def apply(tar, files):
    here = {}
    for member in tar:
        path = os.path.normpath(member.name).lstrip("/")
        folder, name = os.path.split(path)
        if name == ".wh..wh..opq":
            hide(files, folder, itself=False)
        elif name.startswith(".wh."):
            hide(files, os.path.join(folder, name[4:]), itself=True)
        elif member.islnk():
            first = os.path.normpath(member.linkname)
            here[path] = here.get(first, ("in a lower layer",)) + (f"the same file as {first}",)
        else:
            here[path] = attributes(tar, member)
    for path, entry in here.items():
        if path in files and (files[path][0] == "5") != (entry[0] == "5"):
            hide(files, path, itself=True)
    files.update(here)
    return set(here)


def attributes(tar, member):
    digest = hashlib.sha256(tar.extractfile(member).read()).hexdigest()[:16] if member.isreg() else ""
    link = f"-> {member.linkname}" if member.issym() else ""
    device = f"{member.devmajor}:{member.devminor}" if member.ischr() or member.isblk() else ""
    extended = ",".join(f"{key}={value!r}" for key, value in sorted(member.pax_headers.items()) if "xattr" in key)
    time = "new" if member.mtime >= RECENT else f"@{int(member.mtime)}"
    owner = f"{member.uid}:{member.gid}"
    found = (member.type.decode(), oct(member.mode), owner, f"{member.size} bytes", time, digest, link, device, extended)
    return tuple(value for value in found if value)


def hide(files, path, itself):
    for known in [k for k in files if k.startswith(path + "/") or (itself and k == path)]:
        del files[known]


def differences(ours, theirs):
    for path in sorted(ours.files.keys() | theirs.files.keys()):
        one, other = ours.files.get(path), theirs.files.get(path)
        if one != other and path != "." and not VOLATILE.search(path):
            yield f"file {path}: rbuild {one}, docker {other}"
    for key in sorted((ours.config.keys() | theirs.config.keys()) - {"created", "history", "rootfs", "config"}):
        yield from pair(f"config {key}", ours.config.get(key), theirs.config.get(key))
    one, other = ours.config.get("config") or {}, theirs.config.get("config") or {}
    for key in sorted(one.keys() | other.keys()):
        yield from pair(f"config {key}", one.get(key), other.get(key))
    yield from lists("history", ours.history(), theirs.history())
    yield from pair("number of layers", len(ours.layers), len(theirs.layers))
    for number, (one, other) in enumerate(zip(ours.layers, theirs.layers)):
        volatile = {path for path in one ^ other if VOLATILE.search(path)} | {"."}
        yield from pair(f"layer {number} has", sorted(one - other - volatile), sorted(other - one - volatile))


def pair(what, ours, theirs):
    if ours != theirs:
        yield f"{what}: rbuild {ours}, docker {theirs}"


def bags(what, ours, theirs):
    """Each line that only one of the two has, or has more often."""
    ours, theirs = Counter(ours), Counter(theirs)
    for line in sorted((ours - theirs).keys() | (theirs - ours).keys()):
        yield f"{what}: rbuild {ours[line]} times, docker {theirs[line]}: {line}"


def lists(what, ours, theirs):
    """Entry by entry; the length only when all else is the same."""
    before = len(ours), len(theirs)
    found = [f"{what} {number}: rbuild {a}, docker {b}" for number, (a, b) in enumerate(zip(ours, theirs)) if a != b]
    if before[0] != before[1]:
        found.append(f"{what}: rbuild has {before[0]} entries, docker {before[1]}")
    yield from found
