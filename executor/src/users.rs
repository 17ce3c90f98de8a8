//! Names of users and groups, looked up in a root filesystem's own `/etc/passwd` and `/etc/group`.
//!
//! Two rules, deliberately different (`spec` §6.8 and §7.2): `--chown` and WORKDIR never fail and take a number for
//! user and group alike; RUN fails on unknown names and gives a bare number group 0.

use crate::{ExecutorError, RootView};
use rbuild_oci::ImagePath;
use rustix::io::Errno;

/// Longer files are not read.
const LONGEST: u64 = 10 << 20;

/// The highest number of a user or group.
const HIGHEST_ID: u32 = i32::MAX as u32;

/// Who a command runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary groups, the primary one first.
    pub groups: Vec<u32>,
    /// Home directory of the user id; `/` when it has none.
    pub home: String,
}

impl Identity {
    /// The same with the groups called `names` in `view` as well, or by number (`--group-add`).
    ///
    /// # Errors
    /// [`ExecutorError::UnknownGroup`], [`ExecutorError::IdOutOfRange`].
    pub fn with_groups(mut self, view: &RootView, names: &[String]) -> Result<Self, ExecutorError> {
        if names.is_empty() {
            return Ok(self);
        }
        let known = Groups::read(view)?;
        for name in names {
            let group = known.named(name).or_else(|| name.parse().ok());
            let group = group.ok_or_else(|| ExecutorError::UnknownGroup { name: name.clone() })?;
            in_range([group])?;
            if !self.groups.contains(&group) {
                self.groups.push(group);
            }
        }
        Ok(self)
    }
}

/// The owner `--chown=text` (or USER `text`, for WORKDIR) means in `view`: a user that is not there is root, a group that is
/// not there is the user's own.
///
/// # Errors
/// [`ExecutorError::System`] when a file that is there cannot be read, [`ExecutorError::IdOutOfRange`].
pub fn chown_owner(view: &RootView, text: &str) -> Result<(u32, u32), ExecutorError> {
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let (uid, own_gid) = match number(user) {
        Some(uid) => (uid, uid),
        None => match Passwd::read(view)?.named(user) {
            Some(entry) => (entry.uid, entry.gid),
            None => (0, 0),
        },
    };
    let gid = match group {
        None => own_gid,
        Some(group) => match number(group) {
            Some(gid) => gid,
            None => Groups::read(view)?.named(group).unwrap_or(own_gid),
        },
    };
    in_range([uid, gid])?;
    Ok((uid, gid))
}

/// Who `USER text` makes a command run as in `view`.
///
/// # Errors
/// [`ExecutorError::UnknownUser`], [`ExecutorError::UnknownGroup`] and [`ExecutorError::IdOutOfRange`].
pub fn run_identity(view: &RootView, text: &str) -> Result<Identity, ExecutorError> {
    let identity = find_identity(view, text)?;
    in_range([identity.uid, identity.gid].into_iter().chain(identity.groups.iter().copied()))?;
    Ok(identity)
}

/// The kernel takes the highest number for "leave it as it is" (setresuid(2), chown(2)), so that a process that asked for
/// that id would stay root. Docker's limit is lower, and the same here.
fn in_range(ids: impl IntoIterator<Item = u32>) -> Result<(), ExecutorError> {
    match ids.into_iter().find(|id| *id > HIGHEST_ID) {
        None => Ok(()),
        Some(id) => Err(ExecutorError::IdOutOfRange { id }),
    }
}

fn find_identity(view: &RootView, text: &str) -> Result<Identity, ExecutorError> {
    let passwd = Passwd::read(view)?;
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let group = group.filter(|group| !group.is_empty());
    let identity = |uid, gid, groups| Identity { uid, gid, groups, home: passwd.home(uid) };
    if let (Some(uid), Some(gid)) = (number(user), group.and_then(number)) {
        return Ok(identity(uid, gid, vec![gid]));
    }
    let numeric = if user.is_empty() { Some(0) } else { user.parse().ok() };
    let entry = passwd.named(user).or_else(|| numeric.and_then(|uid| passwd.numbered(uid)));
    let uid = match (&entry, numeric) {
        (Some(entry), _) => entry.uid,
        (None, Some(uid)) => uid,
        (None, None) if user == "root" => 0,
        (None, None) => return Err(ExecutorError::UnknownUser { name: user.to_owned() }),
    };
    let groups = Groups::read(view)?;
    if let Some(group) = group {
        let known = groups.named(group).or_else(|| number(group));
        let gid = known.ok_or_else(|| ExecutorError::UnknownGroup { name: group.to_owned() })?;
        return Ok(identity(uid, gid, vec![gid]));
    }
    let gid = entry.as_ref().map_or(0, |entry| entry.gid);
    let mut all = vec![gid];
    if let Some(entry) = &entry {
        all.extend(groups.of_member(&entry.name).filter(|other| *other != gid));
    }
    Ok(identity(uid, gid, all))
}

/// A user or group that needs no looking up.
fn number(text: &str) -> Option<u32> {
    if text == "root" { Some(0) } else { text.parse().ok() }
}

struct Passwd(String);

struct User {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

impl Passwd {
    fn read(view: &RootView) -> Result<Self, ExecutorError> {
        lines(view, "/etc/passwd").map(Self)
    }

    fn users(&self) -> impl Iterator<Item = User> {
        self.0.lines().filter_map(|line| {
            let mut fields = line.trim().split(':');
            let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
            let mut fields = fields.skip(1);
            let uid = fields.next()?.parse().ok()?;
            let gid = fields.next().and_then(|gid| gid.parse().ok()).unwrap_or(0);
            let home = fields.nth(1).unwrap_or_default().to_owned();
            Some(User { name, uid, gid, home })
        })
    }

    fn named(&self, name: &str) -> Option<User> {
        self.users().find(|user| user.name == name)
    }

    fn numbered(&self, uid: u32) -> Option<User> {
        self.users().find(|user| user.uid == uid)
    }

    fn home(&self, uid: u32) -> String {
        let home = self.numbered(uid).map(|user| user.home).filter(|home| !home.is_empty());
        home.unwrap_or_else(|| "/".to_owned())
    }
}

struct Groups(String);

impl Groups {
    fn read(view: &RootView) -> Result<Self, ExecutorError> {
        lines(view, "/etc/group").map(Self)
    }

    /// Name, number and members.
    fn groups(&self) -> impl Iterator<Item = (&str, u32, &str)> {
        self.0.lines().filter_map(|line| {
            let mut fields = line.trim().split(':');
            let name = fields.next().filter(|name| !name.is_empty())?;
            let gid = fields.nth(1)?.parse().ok()?;
            Some((name, gid, fields.next().unwrap_or_default()))
        })
    }

    fn named(&self, name: &str) -> Option<u32> {
        self.groups().find(|(known, ..)| *known == name).map(|(_, gid, _)| gid)
    }

    fn of_member(&self, user: &str) -> impl Iterator<Item = u32> {
        self.groups()
            .filter(move |(.., members)| members.split(',').any(|member| member.trim() == user))
            .map(|(_, gid, _)| gid)
    }
}

/// A file of the root as text; one that is missing, too long, no file or a link to itself is empty, so that no container keeps
/// others out by it.
fn lines(view: &RootView, path: &str) -> Result<String, ExecutorError> {
    let path: ImagePath = path.parse().expect("the path is absolute");
    let content = match view.read_file(&path, LONGEST) {
        Err(ExecutorError::System { source, .. })
            if source.raw_os_error() == Some(Errno::LOOP.raw_os_error()) =>
        {
            None
        }
        content => content?,
    };
    Ok(String::from_utf8_lossy(&content.unwrap_or_default()).into_owned())
}
