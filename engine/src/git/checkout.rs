//! The files of a commit, in a directory that goes with the build.

use super::{GitAccess, GitCommit, GitError, program::Git};
use nix::{
    fcntl::AT_FDCWD,
    sys::{
        stat::{UtimensatFlags, utimensat},
        time::TimeSpec,
    },
};
use rbuild_cache::ScratchDir;
use rbuild_executor::ContextDirectory;
use rbuild_planner::{GitTimes, Submodules};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The files of a commit. They go when this is dropped.
pub(crate) struct Checkout {
    directory: ContextDirectory,
    _scratch: ScratchDir,
}

impl Checkout {
    /// The directory with the files.
    pub(crate) fn directory(&self) -> &ContextDirectory {
        &self.directory
    }

    /// Writes the files of `commit`, which is fetched if it is not here.
    ///
    /// # Errors
    /// [`GitError`].
    pub(crate) fn of(commit: &GitCommit, access: &GitAccess) -> Result<Self, GitError> {
        let scratch = access.store().scratch_dir()?;
        let files = scratch.path().join("files");
        fs::create_dir(&files).map_err(GitError::Files)?;
        let writing = Writing { commit, access, files: &files };
        let repository = commit.fetched(access)?;
        let (keeps, source) = (commit.source.keep_git_dir == Some(true), &commit.source);
        let submodules =
            source.submodules == Submodules::Fetched && writing.has_submodules(repository.path())?;
        let seconds = commit.time_in(&repository, access)?;
        if keeps || submodules {
            writing.clone_from(repository.path())?;
            // submodules are fetched from elsewhere: the repository is free meanwhile
            drop(repository);
            if submodules {
                writing.submodules()?;
            }
            if keeps {
                writing.settle()?;
            } else {
                remove_git(&files).map_err(GitError::Files)?;
            }
        } else {
            let index = scratch.path().join("index");
            writing.files_of(repository.path(), &index)?;
        }
        if source.times == GitTimes::Commit {
            set_times(&files, seconds).map_err(GitError::Files)?;
        }
        let directory = ContextDirectory::open_temporary(&files)?;
        let directory = match &source.subdirectory {
            None => directory,
            Some(below) => directory.below(Path::new(below))?.ok_or_else(|| GitError::NoDirectory {
                subdirectory: below.clone(),
                commit: commit.commit.clone(),
            })?,
        };
        Ok(Self { directory, _scratch: scratch })
    }
}

struct Writing<'a> {
    commit: &'a GitCommit,
    access: &'a GitAccess,
    files: &'a Path,
}

impl Writing<'_> {
    fn has_submodules(&self, repository: &Path) -> Result<bool, GitError> {
        let git = Git::new(self.access, "cat-file").repository(repository);
        git.args(["-e", &format!("{}:.gitmodules", self.commit.commit)]).succeeds()
    }

    /// Writes the files without a repository of their own.
    fn files_of(&self, repository: &Path, index: &Path) -> Result<(), GitError> {
        let git = |action| {
            let git = Git::new(self.access, action).repository(repository).directory(self.files);
            git.env("GIT_WORK_TREE", self.files).env("GIT_INDEX_FILE", index)
        };
        git("read-tree").arg(&self.commit.commit).run()?;
        git("checkout-index").args(["--all", "--force", "--quiet"]).run().map(drop)
    }

    /// Makes a repository of the files, with the commit and nothing that leads to the store.
    fn clone_from(&self, repository: &Path) -> Result<(), GitError> {
        let git = |action| Git::new(self.access, action).directory(self.files);
        let kept = format!("refs/rbuild/{}", self.commit.commit);
        Git::new(self.access, "update-ref")
            .repository(repository)
            .args([&*kept, &self.commit.commit])
            .run()?;
        git("init").args(["--quiet", "--", "."]).run()?;
        let fetch = git("fetch").with_files_as_remotes().args(["--quiet", "--depth=1", "--no-tags", "--"]);
        fetch.arg(format!("file://{}", repository.display())).arg(kept).run()?;
        git("checkout").args(["--quiet", "--force", "--detach", &self.commit.commit, "--"]).run().map(drop)
    }

    fn submodules(&self) -> Result<(), GitError> {
        let git =
            Git::new(self.access, "submodule").directory(self.files).remote(&self.commit.source.remote)?;
        git.args(["update", "--init", "--recursive", "--depth=1", "--force"]).run().map(drop)
    }

    /// Leaves in `.git` what a person expects there: the remote, without a login.
    fn settle(&self) -> Result<(), GitError> {
        let git = |action| Git::new(self.access, action).directory(self.files);
        let remote = crate::urls::without_login(&self.commit.source.remote);
        git("remote").args(["add", "origin", &remote]).run()?;
        git("reflog").args(["expire", "--all", "--expire=now"]).run()?;
        for name in ["FETCH_HEAD", "ORIG_HEAD"] {
            let _ = fs::remove_file(self.files.join(".git").join(name));
        }
        Ok(())
    }
}

/// Removes `.git` of the repository at `directory` and of those inside of it.
fn remove_git(directory: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let is_directory = entry.file_type()?.is_dir();
        match (entry.file_name() == ".git", is_directory) {
            (true, true) => fs::remove_dir_all(entry.path())?,
            (true, false) => fs::remove_file(entry.path())?,
            (false, true) => remove_git(&entry.path())?,
            (false, false) => {}
        }
    }
    Ok(())
}

/// Gives all below `directory`, and itself, the time `seconds`.
fn set_times(directory: &Path, seconds: i64) -> std::io::Result<()> {
    let mut below: Vec<PathBuf> = vec![directory.to_owned()];
    while let Some(path) = below.pop() {
        if fs::symlink_metadata(&path)?.is_dir() {
            for entry in fs::read_dir(&path)? {
                below.push(entry?.path());
            }
        }
        let time = TimeSpec::new(seconds, 0);
        utimensat(AT_FDCWD, &path, &time, &time, UtimensatFlags::NoFollowSymlink)?;
    }
    Ok(())
}
