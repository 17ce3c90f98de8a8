//! Overlays in which nothing runs any more. The kernel waits for all processors before it lets go of mounts, so a thread of its own
//! unmounts them while the build goes on.
//!
//! A layer is used at once, while what it was made in may still be mounted: nobody looks through that mount. Only a new overlay over the
//! layer waits for the old one, because overlayfs warns of a directory that two of them have.

use super::RootView;
use rbuild_cache::ScratchDir;
use std::{
    os::fd::OwnedFd,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
};

/// The overlays on their way out. Dropping it waits for them.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    mounted: Arc<Mounted>,
    thread: Mutex<Option<Unmounting>>,
}

/// What is left of a root: dropping it unmounts it.
pub(super) struct Left {
    pub(super) root: (OwnedFd, RootView),
    /// The mount namespace of what ran in it.
    pub(super) namespace: Option<OwnedFd>,
    /// The kernel's own directory, removed afterwards.
    pub(super) work: Option<ScratchDir>,
}

#[derive(Debug)]
struct Unmounting {
    sender: Sender<Left>,
    thread: JoinHandle<()>,
}

/// How many are still mounted.
#[derive(Debug, Default)]
struct Mounted {
    count: Mutex<usize>,
    changed: Condvar,
}

impl Leaving {
    /// Unmounts what is left of a root soon.
    pub(super) fn take(&self, left: Left) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_none() {
            let ((sender, receiver), mounted) = (channel(), self.mounted.clone());
            let started = thread::Builder::new().name("unmount".to_owned());
            let started = started.spawn(move || unmount_all(&receiver, &mounted));
            // without another thread it is done here
            let Ok(started) = started else { return };
            *thread = Some(Unmounting { sender, thread: started });
        }
        *self.mounted.count() += 1;
        if let Some(Unmounting { sender, .. }) = &*thread
            && sender.send(left).is_err()
        {
            self.mounted.is_one_less();
        }
    }

    /// Waits until all are unmounted.
    pub(super) fn wait(&self) {
        let none_left = self.mounted.changed.wait_while(self.mounted.count(), |count| *count > 0);
        drop(none_left.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Unmounting { sender, thread }) = thread {
            drop(sender);
            // one that panicked has dropped all
            let _ = thread.join();
        }
    }
}

impl Mounted {
    fn count(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_one_less(&self) {
        *self.count() -= 1;
        self.changed.notify_all();
    }
}

fn unmount_all(receiver: &Receiver<Left>, mounted: &Mounted) {
    for Left { root, namespace, work } in receiver {
        drop((root, namespace));
        mounted.is_one_less();
        drop(work);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rooted::Rooted;
    use nix::fcntl::OFlag;
    use rbuild_cache::{Store, Writer};
    use rbuild_oci::Clock;
    use std::{
        fs::{self, File},
        io::Read,
    };

    #[test]
    fn what_is_left_is_closed_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::new(rbuild_testkit::now);
        let store = Store::open(&directory.path().join("s"), &Writer::Root, clock).unwrap();
        let (leaving, mut removed) = (Leaving::default(), Vec::new());
        leaving.wait();
        for _ in 0..3 {
            let (reader, namespace) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
            let root = File::open(directory.path()).unwrap();
            let view = RootView::of_mount(&store, Rooted::new(root.try_clone().unwrap().into()), 0);
            let work = store.scratch_dir().unwrap();
            fs::create_dir_all(work.path().join("work/incompat")).unwrap();
            removed.push(work.path().to_owned());
            leaving.take(Left { root: (root.into(), view), namespace: Some(namespace), work: Some(work) });
            leaving.wait();
            assert_eq!(*leaving.mounted.count(), 0);
            // a child that another test is just starting may have it for a moment
            assert_eq!(File::from(reader).read(&mut [0]).unwrap(), 0);
        }
        drop(leaving);
        assert!(removed.iter().all(|path| !path.exists()));
    }
}
