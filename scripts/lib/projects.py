"""Random projects for `faults` and `random-edits`: a Dockerfile and a context made from a seed, edited at random, and the image that
rbuild makes of them, file by file. Commands in them depend on nothing but what they read, so that two builds give the same files."""

import hashlib
import io
import json
import os
import random
import re
import shutil
import subprocess
import tarfile

BUSYBOX = "/bin/busybox"
WORDS = ["alpha", "beta", "gamma", "delta", "eps", "zeta"]
TIMEOUT = 300


def base_archive(path):
    """The root filesystem of the image busybox."""
    with tarfile.open(path, "w") as tar:
        program = tarfile.TarInfo("bin/busybox")
        program.mode, program.size = 0o755, os.path.getsize(BUSYBOX)
        with open(BUSYBOX, "rb") as source:
            tar.addfile(program, source)
        for name in ["sh", "cat", "cp", "mkdir", "chmod", "ln", "rm", "mv", "ls", "find", "sort", "head", "sleep", "true", "sed", "wc"]:
            link = tarfile.TarInfo("bin/" + name)
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for name in ["tmp", "etc"]:
            directory = tarfile.TarInfo(name)
            directory.type, directory.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(directory)
    return path


class Store:
    """One rbuild with a store of its own."""

    def __init__(self, binary, root, preload=None):
        self.binary, self.root = os.path.abspath(binary), root
        self.environment = dict(os.environ, RBUILD_ROOT=root, NO_COLOR="1", **({"LD_PRELOAD": preload} if preload else {}))

    def start(self, *words, **more):
        return subprocess.Popen([self.binary, *words], env={**self.environment, **more}, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)

    def run(self, *words, **more):
        ran = self.start(*words, **more)
        out, err = ran.communicate(timeout=TIMEOUT)
        return ran.returncode, out, err.decode(errors="replace")

    def base(self, folder):
        archive = base_archive(os.path.join(folder, "busybox.tar"))
        code, _, err = self.run("import", archive, "busybox")
        if code:
            raise SystemExit(f"rbuild import: {err}")

    def build(self, project, *flags):
        """The exit code, how many steps came from the cache and how many ran, and the end of what was said."""
        code, _, err = self.run("build", "--progress=plain", "-t", "x", *project.flags(), *flags, project.folder)
        return code, len(re.findall(r"(?m)^#\d+ CACHED$", err)), len(re.findall(r"(?m)^#\d+ DONE", err)), err[-1500:]

    def image(self, name="x"):
        """Every file of an image but for its time, and its settings."""
        code, archive, err = self.run("save", name)
        if code:
            return {"error": err}
        files = {}
        with tarfile.open(fileobj=io.BytesIO(archive)) as outer:
            manifest = json.load(outer.extractfile("manifest.json"))[0]
            config = json.load(outer.extractfile(manifest["Config"]))
            for layer in manifest["Layers"]:
                with tarfile.open(fileobj=io.BytesIO(outer.extractfile(layer).read())) as tar:
                    apply(tar, files)
        history = [entry.get("created_by") for entry in config.get("history", [])]
        return {"files": files, "config": config.get("config"), "history": history}

    def unresolved(self):
        """Names that do not lead to an image whose files can be read."""
        code, out, err = self.run("images", "--format", "{{.Repository}}:{{.Tag}}")
        if code:
            return [f"images: {err}"]
        bad = []
        for name in out.decode().split():
            if "<none>" in name:
                continue
            code, _, err = self.run("save", name)
            if code:
                bad.append(f"{name}: {err.strip()}")
        return bad

    def verify(self, repair=False):
        code, out, err = self.run("cache", "verify", *(["--repair"] if repair else []))
        return code, out.decode() + err


def apply(tar, files):
    for member in tar:
        path = os.path.normpath(member.name).lstrip("/")
        folder, name = os.path.split(path)
        if name == ".wh..wh..opq":
            for known in [known for known in files if known.startswith(folder + "/")]:
                del files[known]
        elif name.startswith(".wh."):
            gone = os.path.join(folder, name[4:])
            for known in [known for known in files if known == gone or known.startswith(gone + "/")]:
                del files[known]
        else:
            if not member.isdir():
                for known in [known for known in files if known.startswith(path + "/")]:
                    del files[known]
            content = hashlib.sha256(tar.extractfile(member).read()).hexdigest() if member.isreg() else ""
            if member.islnk():
                files[path] = files.get(os.path.normpath(member.linkname))
            else:
                files[path] = (member.type.decode(), member.mode, member.uid, member.gid, member.linkname, content)


class Project:
    """A context with a Dockerfile, both of `dice`."""

    def __init__(self, folder, dice):
        self.folder, self.dice, self.arguments, self.count = folder, dice, {}, 0
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        for name in ["src", "data"]:
            os.makedirs(os.path.join(folder, name))
            with open(os.path.join(folder, name, "first"), "w") as file:
                file.write(name)
        for _ in range(dice.randint(4, 12)):
            self.add_file()
        self.stages = [self.stage(number) for number in range(dice.randint(1, 3))]
        self.write()

    def flags(self):
        return [f"--build-arg={name}={value}" for name, value in sorted(self.arguments.items())]

    def word(self):
        self.count += 1
        return f"{self.dice.choice(WORDS)}{self.count}"

    def files(self):
        found = []
        for folder, _, names in os.walk(self.folder):
            found += [os.path.join(folder, name) for name in names if name != "Dockerfile"]
        return sorted(found)

    def add_file(self):
        folder = os.path.join(self.folder, self.dice.choice(["", "src", "src/deep", "data"]))
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, self.word())
        if self.dice.random() < 0.15:
            os.symlink(self.dice.choice(WORDS), path)
        else:
            with open(path, "w") as file:
                file.write(self.word() * self.dice.choice([0, 1, 50, 5000]))
            os.chmod(path, self.dice.choice([0o644, 0o600, 0o755]))

    def stage(self, number):
        lines = [self.instruction(number) for _ in range(self.dice.randint(2, 6))]
        return [f"FROM busybox AS s{number}", f"COPY {self.dice.choice(['.', 'src', 'data'])} /in{number}", *lines]

    def instruction(self, number):
        dice, out = self.dice, self.word()
        kinds = [
            lambda: f"RUN find /in{number} -type f | sort | head -n {dice.randint(1, 9)} > /{out}",
            lambda: f"RUN mkdir -p /d/{out} && cat /in{number}/* > /d/{out}/all 2>/dev/null; chmod {dice.choice(['644', '600', '755'])} /d/{out}/all",
            lambda: f"RUN --mount=target=/m ls /m > /{out}",
            lambda: f"RUN ln -s /{out} /link-{out}; echo {dice.choice(WORDS)} > /{out}",
            lambda: f"RUN rm -rf /d /{dice.choice(WORDS)}1; echo gone",
            lambda: f"COPY{dice.choice(['', ' --chmod=640', ' --chown=7:8', ' --link'])} src /{out}/",
            lambda: f"COPY --exclude=*{dice.randint(1, 9)} . /{out}/",
            lambda: f"ENV {dice.choice(WORDS).upper()}={out}",
            lambda: f"LABEL {dice.choice(WORDS)}={out}",
            lambda: f"WORKDIR /work/{out}",
            lambda: f"ARG VALUE=default\nRUN echo $VALUE > /{out}",
            lambda: f"COPY <<END /{out}\n{self.word()}\nEND",
        ]
        if number:
            source = dice.randrange(number)
            kinds += 2 * [lambda: f"COPY --from=s{source} /in{source} /{out}",
                          lambda: f"RUN --mount=from=s{source},target=/m find /m/in{source} | sort > /{out}"]
        return dice.choice(kinds)()

    def write(self):
        with open(os.path.join(self.folder, "Dockerfile"), "w") as file:
            file.write("\n".join(line for stage in self.stages for line in stage) + "\n")

    def edit(self):
        """One random edit; its name."""
        dice, files = self.dice, self.files()
        number = dice.randrange(len(self.stages))
        stage = self.stages[number]

        def edit_file():
            plain = [file for file in files if not os.path.islink(file)]
            if plain:
                with open(dice.choice(plain), dice.choice(["w", "a"])) as file:
                    file.write(self.word())

        def chmod():
            plain = [file for file in files if not os.path.islink(file)]
            if plain:
                os.chmod(dice.choice(plain), dice.choice([0o644, 0o600, 0o755, 0o444]))

        def touch():
            if files:
                os.utime(dice.choice(files), (dice.randrange(10**9), dice.randrange(10**9)), follow_symlinks=False)

        def rename():
            if files:
                file = dice.choice(files)
                os.rename(file, os.path.join(os.path.dirname(file), self.word()))

        def delete():
            if len(files) > 3:
                os.remove(dice.choice(files))

        def retarget():
            links = [file for file in files if os.path.islink(file)]
            if links:
                link = dice.choice(links)
                os.remove(link)
                os.symlink(self.word(), link)

        def directory():
            os.makedirs(os.path.join(self.folder, "data", self.word()), exist_ok=True)

        def insert():
            stage.insert(dice.randint(2, len(stage)), self.instruction(number))

        def remove():
            if len(stage) > 3:
                stage.pop(dice.randrange(2, len(stage)))

        def swap():
            if len(stage) > 3:
                at = dice.randrange(2, len(stage) - 1)
                stage[at], stage[at + 1] = stage[at + 1], stage[at]

        def argument():
            self.arguments["VALUE"] = self.word()

        def ignore():
            with open(os.path.join(self.folder, ".dockerignore"), "w") as file:
                file.write(f"*{dice.randint(1, 9)}\n{dice.choice(['', '!src', 'data/**'])}\n")

        edits = [edit_file, edit_file, chmod, touch, rename, delete, retarget, directory, insert, insert, remove, swap, argument,
                 ignore, self.add_file]
        chosen = dice.choice(edits)
        chosen()
        self.write()
        return chosen.__name__


def dice(seed, *what):
    return random.Random(":".join(map(str, [seed, *what])))


def difference(one, other):
    """The first difference of two images, or None."""
    if one == other:
        return None
    for key in sorted(one.keys() | other.keys()):
        mine, theirs = one.get(key), other.get(key)
        if mine == theirs:
            continue
        if isinstance(mine, dict) and isinstance(theirs, dict):
            for name in sorted(mine.keys() | theirs.keys()):
                if mine.get(name) != theirs.get(name):
                    return f"{key} {name}: {mine.get(name)} and {theirs.get(name)}"
        return f"{key}: {mine} and {theirs}"
    return None
