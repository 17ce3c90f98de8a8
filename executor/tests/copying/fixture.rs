//! Directory trees written down as lines of text, and printed as such.
//!
//! `dir|file|link|hard|fifo|sock|char|gone|tar PATH [MODE] [own=U:G] [at=SECONDS] [text=…] [to=…] [xattr=name=value]`;
//! lines below a `tar` that begin with `+` are its entries.

use std::{
    collections::HashMap,
    ffi::CString,
    fs,
    io::Write,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink},
    path::Path,
};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

/// What the clock of a test shows.
pub(crate) const NOW: u64 = 1_700_000_000;

struct Line<'a> {
    kind: &'a str,
    path: &'a str,
    mode: Option<u32>,
    own: (u32, u32),
    at: i64,
    text: String,
    to: &'a str,
    xattr: Option<(&'a str, &'a str)>,
    codec: &'a str,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Self {
        let (line, text) = line.split_once(" text=").unwrap_or((line, ""));
        let mut words = line.split_whitespace();
        let (kind, path) = (words.next().expect("a kind"), words.next().expect("a path"));
        let mut parsed = Self {
            kind,
            path,
            mode: None,
            own: (0, 0),
            at: 100,
            text: text.replace("\\n", "\n"),
            to: "",
            xattr: None,
            codec: "",
        };
        for word in words {
            match word.split_once('=') {
                None => parsed.mode = Some(u32::from_str_radix(word, 8).expect("an octal mode")),
                Some(("own", own)) => {
                    let (uid, gid) = own.split_once(':').expect("uid:gid");
                    parsed.own = (uid.parse().unwrap(), gid.parse().unwrap());
                }
                Some(("at", at)) => parsed.at = at.parse().unwrap(),
                Some(("to", to)) => parsed.to = to,
                Some(("codec", codec)) => parsed.codec = codec,
                Some(("xattr", pair)) => parsed.xattr = pair.split_once('='),
                Some(_) => panic!("what is {word}?"),
            }
        }
        parsed
    }
}

/// Makes the tree that `lines` describe below `root`; times are set last.
pub(crate) fn build(root: &Path, lines: &[&str]) {
    let mut times = Vec::new();
    let mut index = 0;
    while index < lines.len() {
        let line = Line::parse(lines[index]);
        index += 1;
        let path = root.join(line.path);
        if let Some(parent) = path.parent() {
            make_dirs(root, parent);
        }
        let entries = lines[index..].iter().take_while(|line| line.starts_with('+')).count();
        make(root, &path, &line, &lines[index..index + entries]);
        index += entries;
        if line.kind != "hard" && line.kind != "gone" {
            chown_link(&path, line.own);
        }
        if !matches!(line.kind, "link" | "hard" | "gone") {
            let default = if line.kind == "dir" { 0o755 } else { 0o644 };
            fs::set_permissions(&path, fs::Permissions::from_mode(line.mode.unwrap_or(default))).unwrap();
        }
        if let Some((name, value)) = line.xattr {
            rustix::fs::setxattr(&path, name, value.as_bytes(), XattrFlags::empty()).unwrap();
        }
        times.push((path, line.at));
    }
    // directories no line named
    age_dirs(root);
    for (path, at) in times.iter().rev() {
        set_time(path, *at);
    }
}

fn age_dirs(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            age_dirs(&path);
        }
    }
    set_time(dir, 100);
}

/// Makes `dir` and those above it up to `root`, with modes that do not depend on the umask.
fn make_dirs(root: &Path, dir: &Path) {
    if dir == root || dir.exists() {
        return;
    }
    make_dirs(root, dir.parent().expect("it is below the root"));
    fs::create_dir(dir).unwrap();
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
}

fn make(root: &Path, path: &Path, line: &Line<'_>, entries: &[&str]) {
    match line.kind {
        "dir" => fs::create_dir_all(path).unwrap(),
        "file" => fs::write(path, &line.text).unwrap(),
        "link" => symlink(line.to, path).unwrap(),
        "hard" => fs::hard_link(root.join(line.to), path).unwrap(),
        "fifo" => node(path, FileType::Fifo, 0),
        "char" => node(path, FileType::CharacterDevice, rustix::fs::makedev(1, 3)),
        "gone" => node(path, FileType::CharacterDevice, 0),
        "sock" => drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
        "tar" => fs::write(path, archive(line.codec, entries)).unwrap(),
        "big" => fs::write(path, "0123456789abcdef".repeat(1 << 15)).unwrap(),
        other => panic!("what is {other}?"),
    }
}

fn node(path: &Path, kind: FileType, device: u64) {
    rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(0o644), device).unwrap();
}

fn chown_link(path: &Path, (uid, gid): (u32, u32)) {
    if path.is_symlink() {
        std::os::unix::fs::lchown(path, Some(uid), Some(gid)).unwrap();
    } else {
        chown(path, Some(uid), Some(gid)).unwrap();
    }
}

fn set_time(path: &Path, at: i64) {
    let time = Timespec { tv_sec: at, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// A tar with `entries`, compressed.
fn archive(codec: &str, entries: &[&str]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        let line = Line::parse(&entry[1..]);
        let mut header = tar::Header::new_gnu();
        let (kind, mode) = match line.kind {
            "dir" => (tar::EntryType::Directory, 0o755),
            "link" => (tar::EntryType::Symlink, 0o777),
            "hard" => (tar::EntryType::Link, 0o644),
            "fifo" => (tar::EntryType::Fifo, 0o644),
            "odd" => (tar::EntryType::new(b'Z'), 0o644),
            _ => (tar::EntryType::Regular, 0o644),
        };
        header.set_entry_type(kind);
        header.set_mode(line.mode.unwrap_or(mode));
        header.set_uid(line.own.0.into());
        header.set_gid(line.own.1.into());
        header.set_mtime(line.at as u64);
        header.set_size(line.text.len() as u64);
        // written as bytes: the hostile names tests need are refused by the crate's own setters
        let name = &mut header.as_old_mut().name;
        name[..line.path.len()].copy_from_slice(line.path.as_bytes());
        header.as_old_mut().linkname[..line.to.len()].copy_from_slice(line.to.as_bytes());
        header.set_cksum();
        builder.append(&header, line.text.as_bytes()).unwrap();
    }
    compress(codec, &builder.into_inner().unwrap())
}

fn compress(codec: &str, bytes: &[u8]) -> Vec<u8> {
    match codec {
        "gz" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "bz2" => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "xz" => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "zst" => zstd::encode_all(bytes, 1).unwrap(),
        _ => bytes.to_vec(),
    }
}

/// The tree below `root`, a line each, without the root itself. Names of one file show the first one.
pub(crate) fn print(root: &Path) -> String {
    let mut out = String::new();
    print_below(root, Path::new(""), &mut HashMap::new(), &mut out);
    out
}

fn print_below(root: &Path, dir: &Path, seen: &mut HashMap<u64, String>, out: &mut String) {
    let mut names: Vec<_> =
        fs::read_dir(root.join(dir)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    for name in names {
        let relative = dir.join(&name);
        let path = root.join(&relative);
        let meta = fs::symlink_metadata(&path).unwrap();
        let (kind, detail) = describe(&path, &meta);
        let at = match meta.mtime() {
            now if now == NOW as i64 => "now".to_owned(),
            // younger than any time a test names: the moment it ran
            real if real > NOW as i64 => "LATER".to_owned(),
            at => at.to_string(),
        };
        let mode = meta.mode() & 0o7777;
        *out += &format!(
            "  {kind} {mode:04o} {}:{} @{at} {}{detail}",
            meta.uid(),
            meta.gid(),
            relative.display()
        );
        if meta.nlink() > 1 && !meta.is_dir() {
            match seen.get(&meta.ino()) {
                Some(first) => *out += &format!(" = {first}"),
                None => drop(seen.insert(meta.ino(), relative.display().to_string())),
            }
        }
        for name in ["user.k", "trusted.overlay.opaque"] {
            let mut value = [0_u8; 64];
            let name = CString::new(name).unwrap();
            if let Ok(length) = rustix::fs::lgetxattr(&path, &name, &mut value[..]) {
                let (name, value) = (name.to_str().unwrap(), String::from_utf8_lossy(&value[..length]));
                *out += &format!(" [{name}={value}]");
            }
        }
        out.push('\n');
        if meta.is_dir() {
            print_below(root, &relative, seen, out);
        }
    }
}

fn describe(path: &Path, meta: &fs::Metadata) -> (&'static str, String) {
    let kind = meta.file_type();
    if kind.is_dir() {
        ("dir ", "/".to_owned())
    } else if kind.is_symlink() {
        ("link", format!(" -> {}", fs::read_link(path).unwrap().display()))
    } else if kind.is_fifo() {
        ("fifo", String::new())
    } else if kind.is_char_device() {
        ("char", format!(" {}", meta.rdev()))
    } else if kind.is_block_device() {
        ("block", format!(" {}", meta.rdev()))
    } else if meta.len() > 64 {
        ("file", format!(" {} bytes", meta.len()))
    } else {
        ("file", format!(" {:?}", String::from_utf8_lossy(&fs::read(path).unwrap())))
    }
}
