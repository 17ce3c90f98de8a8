//! Other limits for a container that runs.

use super::{Lack, Limited, place, refusal, write};
use crate::{
    SandboxError,
    cgroup::{
        Shared,
        settings::{Controller, Setting, Version},
    },
    limits::{Limits, UnmetLimit},
};
use nix::{
    errno::Errno,
    fcntl::AtFlags,
    unistd::{AccessFlags, faccessat},
};
use std::{io, os::fd::AsFd};

impl Limited {
    /// Puts the limits `new` into force where they differ from `old`. Processes, which `processes` lists, move to a new group where
    /// they are in none that can limit them. Returns those that cannot be put into force.
    ///
    /// # Errors
    /// [`SandboxError::Limit`] for a value that the kernel does not take.
    pub(in crate::cgroup) fn update(
        &mut self,
        shared: &Shared,
        (old, new): (&Limits, &Limits),
        processes: &dyn Fn() -> io::Result<Vec<i32>>,
    ) -> Result<Vec<UnmetLimit>, SandboxError> {
        let before = std::mem::take(&mut self.unmet);
        let mut failed = None;
        for controller in Controller::ALL {
            let [then, now] = [old, new].map(|limits| controller.settings(limits, Version::Two));
            if then == now {
                continue;
            }
            if let Err(error) = self.update_one(shared, controller, (old, new), processes) {
                failed.get_or_insert(error);
            }
        }
        let unmet = std::mem::replace(&mut self.unmet, before);
        failed.map_or(Ok(unmet), Err)
    }

    fn update_one(
        &mut self,
        shared: &Shared,
        controller: Controller,
        (old, new): (&Limits, &Limits),
        processes: &dyn Fn() -> io::Result<Vec<i32>>,
    ) -> Result<(), SandboxError> {
        let there = self.groups.iter().position(|(version, group)| {
            let settings = [old, new].map(|limits| controller.settings(limits, *version)).concat();
            settings.first().is_some_and(|setting| {
                let flags = AtFlags::empty();
                faccessat(&group.directory, setting.file, AccessFlags::F_OK, flags).is_ok()
            })
        });
        let index = match there {
            Some(index) => index,
            None if controller.settings(new, Version::Two).is_empty() => return Ok(()),
            None => match self.moved(shared, controller, processes) {
                Ok(index) => index,
                Err(Lack::Refused(error)) => return Err(error),
                Err(Lack::Missing(reason)) => {
                    self.lack(&controller.settings(new, Version::Two), &reason);
                    return Ok(());
                }
            },
        };
        let version = self.groups[index].0;
        let settings = changed(controller.settings(old, version), controller.settings(new, version));
        if let (Controller::Memory, Some(limit)) = (controller, new.memory) {
            self.memory = Some((index, limit));
        }
        let backwards = || settings.iter().rev().cloned().collect::<Vec<_>>();
        match self.apply(index, &settings) {
            // memory and swap together are never less than memory alone
            Err(SandboxError::Limit { .. }) if controller == Controller::Memory => {
                self.apply(index, &backwards())
            }
            applied => applied,
        }
    }

    /// A new group for the controller, with all processes in it.
    fn moved(
        &mut self,
        shared: &Shared,
        controller: Controller,
        processes: &dyn Fn() -> io::Result<Vec<i32>>,
    ) -> Result<usize, Lack> {
        let missing = |error: &io::Error| Lack::Missing(refusal(controller, error));
        let place = place(controller, &[controller], None)?;
        self.make(shared, &place).map_err(|error| missing(&error))?;
        let index = self.groups.len() - 1;
        let mut known = Vec::new();
        loop {
            let mut found = processes().map_err(|error| missing(&error))?;
            found.retain(|pid| !known.contains(pid));
            if found.is_empty() {
                return Ok(index);
            }
            for pid in &found {
                match write(self.groups[index].1.directory.as_fd(), "cgroup.procs", &pid.to_string()) {
                    Err(error) if error.raw_os_error() != Some(Errno::ESRCH as i32) => {
                        return Err(missing(&error));
                    }
                    // one that has ended, or its children are in the new group from now on
                    _ => {}
                }
            }
            known.append(&mut found);
        }
    }
}

/// The new settings, and for those that there are no more what limits nothing.
fn changed(old: Vec<Setting>, new: Vec<Setting>) -> Vec<Setting> {
    let gone = old.into_iter().filter(|one| !new.iter().any(|other| other.file == one.file));
    let lifted: Vec<Setting> = gone.filter_map(|one| lifted(&one)).collect();
    new.into_iter().chain(lifted).collect()
}

fn lifted(setting: &Setting) -> Option<Setting> {
    let value = match setting.file {
        "pids.max" | "memory.max" | "memory.swap.max" => "max",
        "memory.limit_in_bytes" | "memory.memsw.limit_in_bytes" | "cpu.cfs_quota_us" => "-1",
        "cpu.max" => "max 100000",
        "cpu.cfs_period_us" => "100000",
        "cpu.shares" => "1024",
        "cpu.weight" => "100",
        _ => return None,
    };
    Some(Setting { value: value.to_owned(), implied: true, ..setting.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_limit_any_more_is_lifted() {
        let limits = Limits { pids: Some(7), cpu_shares: Some(512), ..Limits::default() };
        let settings = |limits: &Limits, controller: Controller| controller.settings(limits, Version::Two);
        let none = Limits::default();
        for (controller, value) in [(Controller::Pids, "max"), (Controller::Cpu, "100")] {
            let changed = changed(settings(&limits, controller), settings(&none, controller));
            assert_eq!(changed.iter().map(|one| one.value.as_str()).collect::<Vec<_>>(), [value]);
        }
        let more = Limits { pids: Some(9), ..none };
        let changed = changed(settings(&limits, Controller::Pids), settings(&more, Controller::Pids));
        assert_eq!(changed.iter().map(|one| one.value.as_str()).collect::<Vec<_>>(), ["9"]);
    }
}
