//! What a reference of a remote leads to, and bringing commits into the store's repository of that remote.

use super::{GitAccess, GitError, program::Git};
use rbuild_cache::GitRepository;
use rbuild_executor::{ExecutorError, MAX_DEFINITION, RemoteIdentity};
use rbuild_planner::{GitSource, GitTimes, Submodules};
use std::{
    fs,
    path::{Component, Path},
};

/// A commit that a source leads to, and which of its files are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GitCommit {
    pub(super) source: GitSource,
    /// Its number in full.
    pub(super) commit: String,
    /// The branch or tag that leads to it, with `refs/` before it, where one was asked for.
    reference: Option<String>,
}

impl GitCommit {
    /// Finds what `source` leads to. A commit that is named in full is not asked for; where a checksum is, and its commit is
    /// here, neither.
    ///
    /// # Errors
    /// [`GitError`].
    pub(crate) fn find(access: &GitAccess, source: GitSource) -> Result<Self, GitError> {
        let asked = source.reference.clone();
        if let Some(commit) = asked.as_deref().filter(|text| is_commit(text)).map(str::to_ascii_lowercase) {
            check(&commit, source.checksum.as_deref())?;
            return Ok(Self { source, commit, reference: None });
        }
        if let Some(commit) = source.checksum.as_deref().filter(|text| is_commit(text))
            && has(access, &locked(access, &source.remote)?, commit)?
        {
            return Ok(Self { commit: commit.to_ascii_lowercase(), source, reference: None });
        }
        let (commit, reference) = ask(access, &source.remote, asked.as_deref())?;
        check(&commit, source.checksum.as_deref())?;
        Ok(Self { source, commit, reference: Some(reference) })
    }

    /// The commit that a lock file has for `source`, whose reference may lead elsewhere by now.
    pub(crate) fn locked(source: GitSource, commit: String) -> Self {
        let reference = source.reference.clone().filter(|text| text.starts_with("refs/"));
        Self { source, commit, reference }
    }

    /// True if its source names it, so that it cannot move.
    pub(crate) fn is_pinned(&self) -> bool {
        is_pinned(&self.source)
    }

    /// Its number in full.
    pub(crate) fn number(&self) -> &str {
        &self.commit
    }

    /// What `source` leads to as far as nobody has to be asked.
    pub(crate) fn known(access: &GitAccess, source: GitSource) -> Option<Self> {
        let asks_nobody =
            [&source.reference, &source.checksum].into_iter().flatten().any(|text| is_commit(text));
        let is_here = |source: &GitSource| {
            let checksum = source.checksum.as_deref().filter(|text| is_commit(text))?;
            let repository = locked(access, &source.remote).ok()?;
            has(access, &repository, checksum).ok()?.then_some(())
        };
        let is_whole = source.reference.as_deref().is_some_and(is_commit);
        if !asks_nobody || !(is_whole || is_here(&source).is_some()) {
            return None;
        }
        Self::find(access, source).ok()
    }

    /// What its key is made of.
    pub(crate) fn identity(&self) -> RemoteIdentity {
        let keeps = self.source.keep_git_dir == Some(true);
        let parts = [
            (keeps, ".git"),
            (self.source.submodules == Submodules::Fetched, "submodules"),
            (self.source.times == GitTimes::Commit, "times of the commit"),
        ];
        RemoteIdentity::Repository {
            commit: self.commit.clone(),
            subdirectory: self.source.subdirectory.clone().unwrap_or_default(),
            parts: parts.into_iter().filter_map(|(is_made, part)| is_made.then_some(part)).collect(),
        }
    }

    /// The content of the file at `path` in its directory, as it was committed; `None` when there is no such file, or the way to it
    /// is not as plain as it looks: a link, or a repository inside of this one. The commit is fetched if it is not here.
    ///
    /// # Errors
    /// [`GitError`], also for a file that is too long.
    pub(crate) fn file(&self, access: &GitAccess, path: &Path) -> Result<Option<Vec<u8>>, GitError> {
        let whole = Path::new(self.source.subdirectory.as_deref().unwrap_or("")).join(path);
        let is_plain = whole.components().all(|part| matches!(part, Component::Normal(_)));
        let (true, Some(name)) = (is_plain, whole.to_str()) else { return Ok(None) };
        let repository = self.fetched(access)?;
        let git = |action| Git::new(access, action).repository(repository.path());
        let list = git("ls-tree").env("GIT_LITERAL_PATHSPECS", "1");
        let listed = list.args(["-z", "-l", "--full-tree", &self.commit, "--", name]).run()?;
        let listed = String::from_utf8_lossy(&listed);
        // mode, kind, object, size, a tab and the name
        let parts: Vec<&str> = listed.split('\t').next().unwrap_or("").split_ascii_whitespace().collect();
        let [mode, "blob", object, size] = parts.as_slice() else { return Ok(None) };
        if !mode.starts_with("100") {
            return Ok(None);
        }
        if size.parse::<u64>().is_ok_and(|size| size > MAX_DEFINITION) {
            return Err(ExecutorError::DefinitionTooLong { path: path.to_owned() }.into());
        }
        git("cat-file").args(["blob", object]).run().map(Some)
    }

    /// When it was committed, in seconds since 1970. It is fetched if it is not here.
    ///
    /// # Errors
    /// [`GitError`].
    pub(crate) fn time(&self, access: &GitAccess) -> Result<i64, GitError> {
        self.time_in(&self.fetched(access)?, access)
    }

    /// The same if the commit is here.
    pub(crate) fn known_time(&self, access: &GitAccess) -> Option<i64> {
        let repository = locked(access, &self.source.remote).ok()?;
        has(access, &repository, &self.commit).ok()?.then(|| self.time_in(&repository, access).ok())?
    }

    /// The same of a commit that is in `repository`.
    pub(super) fn time_in(&self, repository: &GitRepository, access: &GitAccess) -> Result<i64, GitError> {
        let git = Git::new(access, "show").repository(repository.path());
        let shown = git.args(["--no-patch", "--format=%ct", &self.commit, "--"]).run()?;
        Ok(String::from_utf8_lossy(&shown).trim().parse().unwrap_or(0))
    }

    /// The store's repository, in which the commit is from then on.
    ///
    /// # Errors
    /// [`GitError`].
    pub(crate) fn fetched(&self, access: &GitAccess) -> Result<GitRepository, GitError> {
        let repository = locked(access, &self.source.remote)?;
        if has(access, &repository, &self.commit)? {
            return Ok(repository);
        }
        create(access, repository.path())?;
        let fetch = |depth: &[&str], refs: &[&str]| -> Result<bool, GitError> {
            let git = Git::new(access, "fetch").repository(repository.path()).remote(&self.source.remote)?;
            let flags = ["--progress", "--no-tags", "--no-write-fetch-head", "--force", "--update-head-ok"];
            git.args(flags).args(depth.iter().copied()).arg("origin").args(refs.iter().copied()).run()?;
            has(access, &repository, &self.commit)
        };
        let kept = format!("refs/rbuild/{}", self.commit);
        let by_number = format!("{}:{kept}", self.commit);
        let by_name = self.reference.as_ref().map(|name| format!("{name}:{kept}"));
        let first = by_name.as_deref().unwrap_or(&by_number);
        let shallow = fetch(&["--depth=1"], &[first]);
        if matches!(shallow, Ok(true)) {
            return Ok(repository);
        }
        if let Err(error @ (GitError::Stalled { .. } | GitError::Program(_) | GitError::Executor(_))) =
            shallow
        {
            return Err(error);
        }
        // servers may refuse commits that no branch ends with, and shallow copies
        match fetch(&[], &["refs/heads/*:refs/heads/*", "refs/tags/*:refs/tags/*"]) {
            Ok(true) => Ok(repository),
            Ok(false) => Err(GitError::NoReference { reference: self.commit.clone(), hint: "" }),
            Err(error) => Err(shallow.err().unwrap_or(error)),
        }
    }
}

/// The store's repository of `remote`, which may have nothing yet.
fn locked(access: &GitAccess, remote: &str) -> Result<GitRepository, GitError> {
    let repository = access.store().git_repository(remote, access.cancel())?;
    repository.ok_or_else(|| ExecutorError::Canceled.into())
}

/// Makes the repository at `path`, unless it is there.
fn create(access: &GitAccess, path: &Path) -> Result<(), GitError> {
    if path.exists() {
        return Ok(());
    }
    let scratch = access.store().scratch_dir()?;
    let made = scratch.path().join("repository");
    Git::new(access, "init").args(["--quiet", "--bare", "--"]).arg(&made).run()?;
    fs::rename(&made, path).map_err(GitError::Files)
}

/// True if `commit` is in `repository`.
fn has(access: &GitAccess, repository: &GitRepository, commit: &str) -> Result<bool, GitError> {
    if !repository.path().exists() {
        return Ok(false);
    }
    let git = Git::new(access, "cat-file").repository(repository.path());
    git.args(["-e", &format!("{commit}^{{commit}}")]).succeeds()
}

/// Asks `remote` what `reference` leads to: the commit, and the reference in full. A branch comes before a tag of its name.
fn ask(access: &GitAccess, remote: &str, reference: Option<&str>) -> Result<(String, String), GitError> {
    let asked = reference.unwrap_or("HEAD");
    if asked.starts_with('-')
        || asked.chars().any(|c| c.is_whitespace() || c.is_control() || "*?[\\^~:".contains(c))
    {
        return Err(GitError::BadReference { reference: asked.to_owned() });
    }
    let peeled = format!("{asked}^{{}}");
    let listed = Git::new(access, "ls-remote").remote(remote)?.args(["origin", asked, &peeled]).run()?;
    let listed = String::from_utf8_lossy(&listed).into_owned();
    let commit_of = |name: &str| {
        let lines = listed.lines().filter_map(|line| line.split_once('\t'));
        let mut commits = lines.filter(|(commit, found)| *found == name && is_commit(commit));
        commits.next().map(|(commit, _)| commit.to_owned())
    };
    let names = if asked == "HEAD" {
        vec!["HEAD".to_owned()]
    } else if asked.starts_with("refs/") {
        vec![asked.to_owned()]
    } else {
        vec![format!("refs/heads/{asked}"), format!("refs/tags/{asked}"), format!("refs/{asked}")]
    };
    let found = names.into_iter().find_map(|name| {
        let commit = commit_of(&format!("{name}^{{}}")).or_else(|| commit_of(&name))?;
        Some((commit, name))
    });
    found.ok_or_else(|| {
        let is_short = (4..40).contains(&asked.len()) && asked.bytes().all(|byte| byte.is_ascii_hexdigit());
        let hint = if is_short {
            ": of a commit, write all digits, because a server cannot be asked for its beginning"
        } else {
            ""
        };
        GitError::NoReference { reference: asked.to_owned(), hint }
    })
}

fn check(found: &str, expected: Option<&str>) -> Result<(), GitError> {
    match expected {
        Some(expected) if !expected.eq_ignore_ascii_case(found) => {
            Err(GitError::Mismatch { expected: expected.to_owned(), found: found.to_owned() })
        }
        Some(_) | None => Ok(()),
    }
}

/// True if `source` names its commit, so that it cannot move.
pub(crate) fn is_pinned(source: &GitSource) -> bool {
    source.checksum.as_deref().is_some_and(is_commit) || source.reference.as_deref().is_some_and(is_commit)
}

/// True if `text` is the whole number of a commit.
fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
