//! The calls a program may hold, one method each, so that every argument has the type its call wants.

use super::{
    Argument, CStr, CapSet, Expect, Filter, MountAttributes, Number, PATH_MAX, Program, Slot, VERSION_3,
};
use crate::limits::Ulimit;
use libc::c_ulong;
use std::os::fd::RawFd;

macro_rules! number {
    ($name:ident) => {
        Number { name: stringify!($name), number: numbers::$name }
    };
}

/// The numbers under the calls' own names.
mod numbers {
    #![expect(non_upper_case_globals, reason = "named as the system calls are")]
    macro_rules! numbers {
        ($($name:ident = $number:ident),* $(,)?) => { $(pub(super) const $name: i64 = libc::$number;)* };
    }
    numbers! {
        capset = SYS_capset, chdir = SYS_chdir, dup3 = SYS_dup3, fchdir = SYS_fchdir, fchownat = SYS_fchownat, fsconfig = SYS_fsconfig,
        fsmount = SYS_fsmount, fsopen = SYS_fsopen, getcwd = SYS_getcwd, ioctl = SYS_ioctl, keyctl = SYS_keyctl,
        mkdirat = SYS_mkdirat, mknodat = SYS_mknodat, mount = SYS_mount,
        mount_setattr = SYS_mount_setattr, move_mount = SYS_move_mount, open_tree = SYS_open_tree,
        openat = SYS_openat, openat2 = SYS_openat2, prlimit64 = SYS_prlimit64, pivot_root = SYS_pivot_root, prctl = SYS_prctl, read = SYS_read, seccomp = SYS_seccomp,
        setdomainname = SYS_setdomainname, setgroups = SYS_setgroups, sethostname = SYS_sethostname, setns = SYS_setns, setresgid = SYS_setresgid,
        setresuid = SYS_setresuid, setsid = SYS_setsid, socket = SYS_socket, symlinkat = SYS_symlinkat,
        umask = SYS_umask, umount2 = SYS_umount2, unshare = SYS_unshare, write = SYS_write,
    }
}

/// `SIOCSIFFLAGS` and the flags of a loopback that is up.
const SET_INTERFACE_FLAGS: u64 = 0x8914;
const INTERFACE_UP_RUNNING: u64 = (libc::IFF_UP | libc::IFF_RUNNING) as u64;

/// Which directory a relative path of a call starts from.
#[derive(Clone, Copy, Debug)]
pub enum At {
    /// The working directory.
    Here,
    /// A descriptor opened by the parent.
    Fd(RawFd),
    /// A descriptor the program opens.
    Slot(Slot),
}

/// How openat2(2) resolves a path below a descriptor. Links of proc to other places (`/proc/self/fd/N`, `/proc/1/root`)
/// are never followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// As a process whose root is the descriptor would: absolute links start there, `..` stops there.
    InRoot,
    /// Below the descriptor, without any symbolic link.
    NoLinks,
}

impl Resolution {
    fn bits(self) -> u64 {
        libc::RESOLVE_NO_MAGICLINKS
            | match self {
                Self::InRoot => libc::RESOLVE_IN_ROOT,
                Self::NoLinks => libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS,
            }
    }
}

/// A file system for mount(2): where, what and how.
#[derive(Clone, Copy, Debug)]
pub struct Mount<'a> {
    /// Device or text that stands for it.
    pub source: &'a CStr,
    /// Where, resolved in the child when the call is made.
    pub target: &'a CStr,
    /// Type; empty for bind and remount.
    pub kind: &'a CStr,
    /// `MS_*`.
    pub flags: c_ulong,
    /// Options of the file system.
    pub options: &'a CStr,
}

impl Program {
    /// mount(2).
    pub fn mount(&mut self, mount: &Mount<'_>) -> &mut Self {
        let mut text = |text: &CStr| if text.is_empty() { 0_usize.into() } else { self.text(text) };
        let (source, target) = (text(mount.source), text(mount.target));
        let (kind, options) = (text(mount.kind), text(mount.options));
        self.push(number!(mount), &[source, target, kind, mount.flags.into(), options])
    }

    /// Stops mounts of this namespace from spreading to others.
    pub fn make_mounts_private(&mut self) -> &mut Self {
        let flags = libc::MS_REC | libc::MS_PRIVATE;
        self.mount(&Mount { source: c"", target: c"/", kind: c"", flags, options: c"" })
    }

    /// fsopen, its options, fsmount: a new file system in a slot, attached nowhere. Every call may fail as `on_error`
    /// says, so the slot decides whether there is one.
    pub fn new_filesystem(
        &mut self,
        kind: &CStr,
        options: &[(&CStr, &CStr)],
        attributes: MountAttributes,
        on_error: super::OnError,
    ) -> Slot {
        let (context, mount) = (self.slot(), self.slot());
        let name = self.text(kind);
        self.push_kept(context, number!(fsopen), &[name, libc::FSOPEN_CLOEXEC.into()]).on_error(on_error);
        for (key, value) in [(c"source", kind)].iter().chain(options) {
            let (key, value) = (self.text(key), self.text(value));
            let args = [context.into(), libc::FSCONFIG_SET_STRING.into(), key, value];
            self.push(number!(fsconfig), &args).on_error(on_error);
        }
        self.push(number!(fsconfig), &[context.into(), libc::FSCONFIG_CMD_CREATE.into()]).on_error(on_error);
        let args = [context.into(), libc::FSMOUNT_CLOEXEC.into(), attributes.bits().into()];
        self.push_kept(mount, number!(fsmount), &args).on_error(on_error);
        mount
    }

    /// Opens `path` below `directory` as a place (`O_PATH`), into `slot`.
    pub fn open_place(
        &mut self,
        slot: Slot,
        directory: At,
        path: &CStr,
        resolution: Resolution,
    ) -> &mut Self {
        let directory = self.descriptor(directory);
        let path = self.text(path);
        // struct open_how: flags, mode, resolve.
        let how = [(libc::O_PATH | libc::O_CLOEXEC) as u64, 0, resolution.bits()];
        let how = self.buffer(Box::new(how));
        self.push_kept(slot, number!(openat2), &[directory, path, how, 24_u32.into()])
    }

    /// Opens `name` in the working directory for reading, as the process's descriptor `number`.
    pub fn open_as(&mut self, number: i32, name: &CStr) -> &mut Self {
        let slot = self.slot();
        let name = self.text(name);
        let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NOFOLLOW;
        self.push_kept(slot, number!(openat), &[libc::AT_FDCWD.into(), name, flags.into()]);
        self.push(number!(dup3), &[slot.into(), number.into()])
    }

    /// Opens the root's `/dev/null`, which must not be a link, as each of the descriptors `numbers`.
    pub fn open_null_as(&mut self, numbers: &[i32]) -> &mut Self {
        let slot = self.slot();
        let path = self.text(c"dev/null");
        // it may get one of the numbers itself, and stays open then
        let flags = libc::O_RDWR | libc::O_NOFOLLOW | libc::O_NOCTTY | libc::O_NONBLOCK;
        let how = self.buffer(Box::new([flags as u64, 0, Resolution::NoLinks.bits()]));
        let here = libc::AT_FDCWD.into();
        self.push_kept(slot, number!(openat2), &[here, path, how, 24_u32.into()]);
        for number in numbers {
            let same = super::OnError::IgnoreOnly(&[libc::EINVAL]);
            self.push(number!(dup3), &[slot.into(), (*number).into()]).on_error(same);
        }
        self
    }

    /// A detached copy of the mounts at and below `path`, which starts at `directory`, into `slot`. An empty path is
    /// the directory itself.
    pub fn clone_tree(&mut self, slot: Slot, directory: At, path: &CStr) -> &mut Self {
        self.clone_mounts(slot, directory, path, libc::AT_RECURSIVE as u32)
    }

    /// A detached copy of the one mount that `place` was opened in, without what was mounted on it later, into `slot`.
    pub fn clone_mount(&mut self, slot: Slot, place: At) -> &mut Self {
        self.clone_mounts(slot, place, c"", 0)
    }

    fn clone_mounts(&mut self, slot: Slot, directory: At, path: &CStr, below: u32) -> &mut Self {
        let directory = self.descriptor(directory);
        let path = self.text(path);
        let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_EMPTY_PATH as u32 | below;
        self.push_kept(slot, number!(open_tree), &[directory, path, flags.into()])
    }

    /// mount_setattr(2) on the one mount of a place.
    pub fn set_own_attributes(&mut self, mount: At, attributes: MountAttributes) -> &mut Self {
        self.change_attributes(mount, c"", attributes, libc::AT_EMPTY_PATH)
    }

    /// mount_setattr(2) on `path` below `directory` (an empty path is the directory's own mount) and all
    /// below it.
    pub fn set_attributes(&mut self, directory: At, path: &CStr, attributes: MountAttributes) -> &mut Self {
        self.change_attributes(directory, path, attributes, libc::AT_EMPTY_PATH | libc::AT_RECURSIVE)
    }

    fn change_attributes(
        &mut self,
        directory: At,
        path: &CStr,
        attributes: MountAttributes,
        flags: i32,
    ) -> &mut Self {
        let directory = self.descriptor(directory);
        let path = self.text(path);
        // struct mount_attr: attributes to set, to clear, propagation, user namespace.
        let change = self.buffer(Box::new([attributes.bits(), 0, 0, 0]));
        self.push(number!(mount_setattr), &[directory, path, flags.into(), change, 32_u32.into()])
    }

    /// Attaches a detached mount at `path` below `directory`; an empty path is the directory itself. A symbolic link as
    /// the last component is not followed, so paths of an image are opened with [`Self::open_place`] first.
    pub fn move_mount(&mut self, mount: At, directory: At, path: &CStr) -> &mut Self {
        let (mount, directory) = (self.descriptor(mount), self.descriptor(directory));
        let (empty, path) = (self.text(c""), self.text(path));
        let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
        self.push(number!(move_mount), &[mount, empty, directory, path, flags.into()])
    }

    /// Makes the detached mount `root` the root of everything and lets go of what was (pivot_root(2),
    /// "pivot_root(".", ".")"). Nothing of the old root can be named afterwards.
    pub fn attach_root(&mut self, root: RawFd) -> &mut Self {
        // The target hides the old root directory from itself only: the next calls go by descriptor.
        self.move_mount(At::Fd(root), At::Here, c"/");
        self.enter(At::Fd(root));
        let here = self.text(c".");
        self.push(number!(pivot_root), &[here, here]);
        // The old root now lies on top of the new one, and "." resolves to it.
        self.push(number!(umount2), &[here, libc::MNT_DETACH.into()]);
        self.chdir(c"/")
    }

    /// mkdirat(2).
    pub fn make_directory(&mut self, directory: At, path: &CStr, mode: u32) -> &mut Self {
        let directory = self.descriptor(directory);
        let path = self.text(path);
        self.push(number!(mkdirat), &[directory, path, mode.into()])
    }

    /// mknodat(2) of an empty regular file.
    pub fn make_file(&mut self, directory: At, path: &CStr, mode: u32) -> &mut Self {
        self.make_node(directory, path, libc::S_IFREG | mode, 0)
    }

    /// mknodat(2); `mode` has the file type, `device` is as makedev(3) makes it.
    pub fn make_node(&mut self, directory: At, path: &CStr, mode: u32, device: u64) -> &mut Self {
        let directory = self.descriptor(directory);
        let path = self.text(path);
        self.push(number!(mknodat), &[directory, path, mode.into(), device.into()])
    }

    /// fchownat(2) of a path that is no link.
    pub fn change_owner(&mut self, directory: At, path: &CStr, (uid, gid): (u32, u32)) -> &mut Self {
        let directory = self.descriptor(directory);
        let path = self.text(path);
        let flags = libc::AT_SYMLINK_NOFOLLOW.into();
        self.push(number!(fchownat), &[directory, path, uid.into(), gid.into(), flags])
    }

    /// symlinkat(2).
    pub fn make_symlink(&mut self, target: &CStr, directory: At, path: &CStr) -> &mut Self {
        let directory = self.descriptor(directory);
        let (target, path) = (self.text(target), self.text(path));
        self.push(number!(symlinkat), &[target, directory, path])
    }

    /// sethostname(2).
    pub fn set_hostname(&mut self, name: &CStr) -> &mut Self {
        let length = name.to_bytes().len();
        let name = self.text(name);
        self.push(number!(sethostname), &[name, length.into()])
    }

    /// setdomainname(2).
    pub fn set_domain_name(&mut self, name: &CStr) -> &mut Self {
        let length = name.to_bytes().len();
        let name = self.text(name);
        self.push(number!(setdomainname), &[name, length.into()])
    }

    /// Writes `text` to the file `path`, which is there.
    pub fn write_file(&mut self, slot: Slot, path: &CStr, text: &CStr) -> &mut Self {
        let path = self.text(path);
        let flags = libc::O_WRONLY | libc::O_CLOEXEC | libc::O_NOFOLLOW;
        self.push_kept(slot, number!(openat), &[libc::AT_FDCWD.into(), path, flags.into()]);
        let length = text.to_bytes().len();
        let text = self.text(text);
        self.push(number!(write), &[slot.into(), text, length.into()])
    }

    /// Brings the loopback interface of the network namespace up.
    pub fn loopback_up(&mut self) -> &mut Self {
        let socket = self.slot();
        let args = [libc::AF_INET.into(), (libc::SOCK_DGRAM | libc::SOCK_CLOEXEC).into()];
        self.push_kept(socket, number!(socket), &args);
        // struct ifreq: the name in 16 bytes, then the flags in the first two of 24.
        let request = [u64::from_ne_bytes(*b"lo\0\0\0\0\0\0"), 0, INTERFACE_UP_RUNNING.to_le(), 0, 0];
        let request = self.buffer(Box::new(request));
        self.push(number!(ioctl), &[socket.into(), SET_INTERFACE_FLAGS.into(), request])
    }

    /// chdir(2).
    pub fn chdir(&mut self, path: &CStr) -> &mut Self {
        let path = self.text(path);
        self.push(number!(chdir), &[path])
    }

    /// fchdir(2).
    pub fn enter(&mut self, directory: At) -> &mut Self {
        let directory = self.descriptor(directory);
        self.push(number!(fchdir), &[directory])
    }

    /// Fails with `EXDEV` unless the working directory lies inside the root (getcwd(2)).
    pub fn require_directory_inside_root(&mut self) -> &mut Self {
        self.push(number!(getcwd), &[Argument::Scratch, PATH_MAX.into()]);
        if let Some(call) = self.calls.last_mut() {
            call.expect = Expect::PathInsideRoot;
        }
        self
    }

    /// read(2) of a byte from a descriptor of the parent's, for which the process waits. It is not started when none comes.
    pub fn await_byte(&mut self, fd: RawFd) -> &mut Self {
        let fd = self.descriptor(At::Fd(fd));
        self.push(number!(read), &[fd, Argument::Scratch, 1_usize.into()]);
        if let Some(call) = self.calls.last_mut() {
            call.expect = Expect::Byte;
        }
        self
    }

    /// write(2) of `text` to a descriptor of the parent's.
    pub fn write(&mut self, fd: RawFd, text: &CStr) -> &mut Self {
        let length = text.to_bytes().len();
        let fd = self.descriptor(At::Fd(fd));
        let text = self.text(text);
        self.push(number!(write), &[fd, text, length.into()])
    }

    /// unshare(2) of the control group namespace: the group that the process is in becomes the root of what it sees.
    pub fn own_cgroup_namespace(&mut self) -> &mut Self {
        self.push(number!(unshare), &[libc::CLONE_NEWCGROUP.into()])
    }

    /// setns(2) to a network namespace.
    pub fn join_network(&mut self, network: RawFd) -> &mut Self {
        let network = self.descriptor(At::Fd(network));
        self.push(number!(setns), &[network, libc::CLONE_NEWNET.into()])
    }

    /// setns(2) to the namespaces `flags` of a process. With those of mounts the root and the working directory are the root of
    /// their namespace.
    pub fn join_namespaces(&mut self, process: RawFd, flags: i32) -> &mut Self {
        let process = self.descriptor(At::Fd(process));
        self.push(number!(setns), &[process, flags.into()])
    }

    /// umask(2).
    pub fn umask(&mut self, mask: u32) -> &mut Self {
        self.push(number!(umask), &[mask.into()])
    }

    /// Becomes `uid`, `gid` and a member of exactly `groups`, without the locks and signals of libc's setuid.
    pub fn set_identity(&mut self, uid: u32, gid: u32, groups: &[u32]) -> &mut Self {
        let words = groups.chunks(2).map(|pair| {
            let mut bytes = [0; 8];
            bytes[..4].copy_from_slice(&pair[0].to_ne_bytes());
            bytes[4..].copy_from_slice(&pair.get(1).copied().unwrap_or(0).to_ne_bytes());
            u64::from_ne_bytes(bytes)
        });
        let list = self.buffer(words.collect());
        self.push(number!(setgroups), &[groups.len().into(), list]);
        self.push(number!(setresgid), &[gid.into(), gid.into(), gid.into()]);
        self.push(number!(setresuid), &[uid.into(), uid.into(), uid.into()])
    }

    /// Removes from the bounding set everything that is not in `keep`.
    pub fn limit_capabilities(&mut self, keep: CapSet) -> &mut Self {
        for number in (0..64).filter(|number| CapSet::known().difference(keep).contains(*number)) {
            // EINVAL: the number is above the last capability of a kernel that does not report it.
            let ignore = super::OnError::IgnoreOnly(&[libc::EINVAL]);
            self.push(number!(prctl), &[libc::PR_CAPBSET_DROP.into(), number.into()]).on_error(ignore);
        }
        self
    }

    /// capset(2).
    pub fn set_capabilities(&mut self, effective_and_permitted: CapSet, inheritable: CapSet) -> &mut Self {
        let header = self.buffer(Box::new([u64::from(VERSION_3).to_le()]));
        let data = CapSet::capset_data(effective_and_permitted, inheritable);
        let pair = |at: usize| u64::from(data[at]) | u64::from(data[at + 1]) << 32;
        let data = self.buffer(Box::new([pair(0), pair(2), pair(4)]));
        self.push(number!(capset), &[header, data])
    }

    /// Raises each capability of `set` in the ambient set; it must be permitted and inheritable.
    pub fn raise_ambient(&mut self, set: CapSet) -> &mut Self {
        for number in (0..64).filter(|number| set.contains(*number)) {
            let args = [libc::PR_CAP_AMBIENT.into(), libc::PR_CAP_AMBIENT_RAISE.into(), number.into()];
            self.push(number!(prctl), &args);
        }
        self
    }

    /// Keeps permitted capabilities over the change of identity that follows.
    pub fn keep_capabilities(&mut self) -> &mut Self {
        self.push(number!(prctl), &[libc::PR_SET_KEEPCAPS.into(), 1_usize.into()])
    }

    /// No program that it executes gets more rights than it has.
    pub fn refuse_new_privileges(&mut self) -> &mut Self {
        self.push(number!(prctl), &[libc::PR_SET_NO_NEW_PRIVS.into(), 1_usize.into()])
    }

    /// Puts a system call filter on the process. Needs CAP_SYS_ADMIN.
    pub fn filter_calls(&mut self, filter: &Filter) -> &mut Self {
        let instructions = self.buffer(filter.words());
        let Argument::Buffer(index) = instructions else { return self };
        // struct sock_fprog: the count in the first two bytes, the address in the second word.
        let address = self.buffers[index].as_ptr() as u64;
        let program = self.buffer(Box::new([(filter.len() as u64).to_le(), address]));
        self.push(number!(seccomp), &[libc::SECCOMP_SET_MODE_FILTER.into(), filter.flags().into(), program])
    }

    /// setrlimit(2).
    pub fn limit_resource(&mut self, limit: &Ulimit) -> &mut Self {
        let values = self.buffer(Box::new([limit.soft.as_rlimit(), limit.hard.as_rlimit()]));
        self.push(number!(prlimit64), &[0_usize.into(), limit.resource.number().into(), values])
    }

    /// The terminal that is standard input becomes the controlling one of the new session.
    pub fn take_terminal(&mut self) -> &mut Self {
        self.push(number!(ioctl), &[0_usize.into(), libc::TIOCSCTTY.into()])
    }

    /// keyctl(2): a session keyring of its own, with nothing in it. Where the kernel has no keys, or a filter around this program
    /// keeps it from them, there is none to be kept from.
    pub fn own_keyring(&mut self) -> &mut Self {
        let absent = super::OnError::IgnoreOnly(&[libc::ENOSYS, libc::EPERM]);
        self.push(number!(keyctl), &[libc::KEYCTL_JOIN_SESSION_KEYRING.into(), 0_usize.into()])
            .on_error(absent)
    }

    /// setsid(2).
    pub fn new_session(&mut self) -> &mut Self {
        self.push(number!(setsid), &[])
    }
}
