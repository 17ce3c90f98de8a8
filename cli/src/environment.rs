//! What the process was started in: variables, user, terminals, clock. Taken once, so that everything after is a function of
//! values and can be tested with other ones.

use crate::{shown::Color, streams};
use nix::{
    sched::{CpuSet, sched_getaffinity},
    unistd::Pid,
};
use rbuild::{Clock, Timestamp};
use std::{
    collections::HashMap,
    io::IsTerminal,
    path::{Path, PathBuf},
    time::SystemTime,
};

const BUILDER: &str = "BUILDX_BUILDER";

/// The surroundings of one run of the program.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    variables: HashMap<String, String>,
    /// The user who started the program.
    pub(crate) user: User,
    /// That user's number.
    pub(crate) uid: u32,
    /// Processors that the program may use.
    pub(crate) processors: usize,
    /// True if stderr is a terminal.
    stderr_is_terminal: bool,
    /// When it was started.
    pub(crate) now: Timestamp,
    /// The machine's clock.
    pub(crate) clock: Clock,
}

/// The user who runs the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum User {
    /// uid 0.
    Root,
    /// Anybody else.
    Ordinary,
}

impl Environment {
    /// The real one.
    #[expect(clippy::disallowed_methods, reason = "the one place")]
    pub(crate) fn capture() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let uid = nix::unistd::geteuid();
        let user = if uid.is_root() { User::Root } else { User::Ordinary };
        let clock = Clock::new(SystemTime::now);
        let stderr_is_terminal = streams::stderr().is_terminal();
        Self {
            variables,
            user,
            uid: uid.as_raw(),
            processors: processors(),
            stderr_is_terminal,
            now: clock.now().into(),
            clock,
        }
    }

    /// A made-up one, started at the epoch.
    #[cfg(test)]
    pub(crate) fn of(variables: &[(&str, &str)], user: User) -> Self {
        let variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self {
            variables,
            user,
            uid: if user == User::Root { 0 } else { 1000 },
            processors: 2,
            stderr_is_terminal: false,
            now: SystemTime::UNIX_EPOCH.into(),
            clock: Clock::new(|| SystemTime::UNIX_EPOCH),
        }
    }

    /// The same, where docker's client keeps its configuration in `directory`.
    pub(crate) fn with_docker_config(mut self, directory: String) -> Self {
        self.variables.insert("DOCKER_CONFIG".to_owned(), directory);
        self
    }

    /// The same, where `name` is the builder that docker's plugin is asked for.
    pub(crate) fn with_builder(mut self, name: String) -> Self {
        self.variables.insert(BUILDER.to_owned(), name);
        self
    }

    /// The builder that docker's plugin is asked for.
    pub(crate) fn builder(&self) -> Option<&str> {
        self.filled(BUILDER)
    }

    /// A variable that is set, even if to nothing.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// A variable that is set to something.
    pub(crate) fn filled(&self, name: &str) -> Option<&str> {
        self.variable(name).filter(|value| !value.is_empty())
    }

    /// The store: `RBUILD_ROOT`, or the place for the user who asks.
    pub(crate) fn store_root(&self) -> PathBuf {
        if let Some(root) = self.filled("RBUILD_ROOT") {
            return PathBuf::from(root);
        }
        match self.user {
            User::Root => PathBuf::from("/var/lib/rbuild"),
            User::Ordinary => match self.filled("XDG_DATA_HOME") {
                Some(data) => Path::new(data).join("rbuild"),
                None => self.home().join(".local/share/rbuild"),
            },
        }
    }

    /// The home directory, `/` when `HOME` is not set.
    pub(crate) fn home(&self) -> &Path {
        Path::new(self.filled("HOME").unwrap_or("/"))
    }

    /// Where Docker's client keeps `config.json`.
    pub(crate) fn docker_config(&self) -> PathBuf {
        self.filled("DOCKER_CONFIG")
            .map_or_else(|| self.home().join(".docker"), PathBuf::from)
            .join("config.json")
    }

    /// The directory of the user's own configuration files.
    pub(crate) fn config_home(&self) -> PathBuf {
        self.filled("XDG_CONFIG_HOME").map_or_else(|| self.home().join(".config"), PathBuf::from)
    }

    /// The file into which `login` writes.
    pub(crate) fn login_file(&self) -> PathBuf {
        self.filled("REGISTRY_AUTH_FILE").map_or_else(|| self.docker_config(), PathBuf::from)
    }

    /// Where the containers tools keep credentials, best first.
    pub(crate) fn containers_auth(&self) -> Vec<PathBuf> {
        let named = self.filled("REGISTRY_AUTH_FILE").map(PathBuf::from);
        let runtime = self.filled("XDG_RUNTIME_DIR").map(|dir| Path::new(dir).join("containers/auth.json"));
        // where these tools write when a session has no directory of its own
        let system = match (self.user, &runtime) {
            (User::Root, None) => Some(PathBuf::from("/run/containers/0/auth.json")),
            (User::Root, Some(_)) | (User::Ordinary, _) => None,
        };
        let own = self.config_home().join("containers/auth.json");
        named.into_iter().chain(runtime).chain(system).chain([own]).collect()
    }

    /// True if stderr takes colours: a terminal that is not dumb, while `NO_COLOR` is not set.
    pub(crate) fn color(&self) -> Color {
        if self.filled("NO_COLOR").is_none() && self.live_terminal() { Color::On } else { Color::Off }
    }

    /// True if stderr is a terminal on which lines can be redrawn.
    pub(crate) fn live_terminal(&self) -> bool {
        self.stderr_is_terminal && self.variable("TERM") != Some("dumb")
    }
}

/// Not fewer where a control group limits their time: more of it may be asked for.
fn processors() -> usize {
    let usable = sched_getaffinity(Pid::from_raw(0));
    usable.map_or(usize::MAX, |set| {
        (0..CpuSet::count()).filter(|number| set.is_set(*number).unwrap_or(false)).count()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_is_where_the_user_may_write() {
        let root = |variables: &[(&str, &str)], user| Environment::of(variables, user).store_root();
        assert_eq!(root(&[], User::Root), Path::new("/var/lib/rbuild"));
        assert_eq!(root(&[("RBUILD_ROOT", "/s")], User::Root), Path::new("/s"));
        assert_eq!(root(&[("HOME", "/home/a")], User::Ordinary), Path::new("/home/a/.local/share/rbuild"));
        let both = [("HOME", "/home/a"), ("XDG_DATA_HOME", "/d")];
        assert_eq!(root(&both, User::Ordinary), Path::new("/d/rbuild"));
    }
}
