//! What a container's first process and its kernel are told, and why some of docker's flags are refused.

use crate::{
    args::{ProcessFlags, UnmetFlags},
    error::UsageError,
};
use rbuild::ProcessOptions;
use std::collections::BTreeMap;

/// Parameters that belong to the message queues and the shared memory of a container.
const OF_MEMORY: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Reads the flags. `network` is false for a container whose network is not its own.
///
/// # Errors
/// [`UsageError`] in Docker's words.
pub(super) fn process(flags: &ProcessFlags, has_network: bool) -> Result<ProcessOptions, UsageError> {
    streams(&flags.attach)?;
    Ok(ProcessOptions {
        groups: flags.group_add.clone(),
        domain: flags.domainname.clone().filter(|name| !name.is_empty()),
        memory_score: flags
            .oom_score_adj
            .as_deref()
            .map(memory_score)
            .transpose()?
            .filter(|score| *score != 0),
        kernel: flags.sysctl.iter().map(|text| parameter(text, has_network)).collect::<Result<_, _>>()?,
        annotations: flags
            .annotation
            .iter()
            .map(|text| annotation(text))
            .collect::<Result<BTreeMap<_, _>, _>>()?,
    })
}

fn memory_score(text: &str) -> Result<i32, UsageError> {
    let score: i64 = text.parse().map_err(|_| {
        UsageError::new(format!("invalid argument {text:?} for \"--oom-score-adj\" flag: it is no number"))
    })?;
    let range = "range for oom score adj is [-1000, 1000]";
    let in_range = (-1000..=1000).contains(&score).then_some(score as i32);
    in_range.ok_or_else(|| UsageError::new(format!("Invalid value {score}, {range}")))
}

fn parameter(text: &str, has_network: bool) -> Result<(String, String), UsageError> {
    let refused = |why: &str| {
        UsageError::new(format!("invalid argument {text:?} for \"--sysctl\" flag: sysctl '{text}' {why}"))
    };
    let (name, value) = text.split_once('=').ok_or_else(|| refused("is not allowed"))?;
    // the name becomes a path
    let is_part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    let is_of_network = name.starts_with("net.");
    let is_known = is_of_network || name.starts_with("fs.mqueue.") || OF_MEMORY.contains(&name);
    if !is_known || !name.split(['.', '/']).all(is_part) || value.contains('\0') {
        return Err(refused("is not allowed"));
    }
    if is_of_network && !has_network {
        return Err(refused("not allowed in host network namespace"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// One without a value has an empty one.
fn annotation(text: &str) -> Result<(String, String), UsageError> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    if name.is_empty() {
        let message = "invalid Annotations: the empty string is not permitted as an annotation key";
        return Err(UsageError::refused(message));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// Takes what is so anyway: a program's whole output is shown, and it reads with `--interactive`.
fn streams(asked: &[String]) -> Result<(), UsageError> {
    let asked: Vec<String> = asked.iter().map(|stream| stream.to_ascii_lowercase()).collect();
    if let Some(wrong) = asked.iter().find(|stream| !matches!(stream.as_str(), "stdin" | "stdout" | "stderr"))
    {
        return Err(UsageError::new(format!(
            "invalid argument {wrong:?} for \"-a, --attach\" flag: valid streams are STDIN, STDOUT and STDERR"
        )));
    }
    let has = |stream: &str| asked.iter().any(|asked| asked == stream);
    if asked.is_empty() || (has("stdout") && has("stderr")) {
        return Ok(());
    }
    Err(UsageError::new(
        "--attach of some streams alone is not supported: redirect those that are not to be seen, or use --detach and 'rbuild logs'",
    ))
}

/// Refuses the first of `flags` that asks for something.
///
/// # Errors
/// [`UsageError`] with the reason; in Docker's words where Docker refuses it, too.
pub(crate) fn check(flags: &UnmetFlags) -> Result<(), UsageError> {
    flags.given.iter().try_for_each(|(name, value)| match refusal(name, value) {
        None => Ok(()),
        Some(message) => Err(UsageError::new(message)),
    })
}

fn refusal(name: &str, value: &str) -> Option<String> {
    let because = |why: &str| Some(format!("--{name} is not supported: {why}"));
    let wrong_mode = |word: &str| Some(format!("--{name}: invalid {word} mode"));
    let of_container = value.strip_prefix("container:").is_some_and(|name| !name.is_empty());
    match (name, value) {
        _ if asks_for_nothing(name, value) => None,
        ("cgroupns", "host") => because("a container sees no control groups but its own"),
        ("cgroupns", _) => wrong_mode("CGROUP"),
        ("ipc", "host" | "none" | "shareable") => because(OWN_MEMORY),
        ("ipc", _) if of_container => because(OWN_MEMORY),
        ("ipc", other) => Some(format!("invalid IPC mode: {other}")),
        ("isolation", other) => Some(format!("invalid isolation ({other}): linux only supports 'default'")),
        ("pid", other) if of_container || other == "host" => because(
            "the processes of a container are by themselves, so that none is left when it ends; 'rbuild exec' and 'rbuild top' \
             look into another one",
        ),
        ("pid", _) => wrong_mode("PID"),
        ("userns", _) => wrong_mode("USER"),
        ("uts", "host") => because("a container has a host name of its own, which --hostname sets"),
        ("uts", _) => wrong_mode("UTS"),
        (name, _) => because(reason(name)),
    }
}

/// True if the value says what is so anyway.
fn asks_for_nothing(name: &str, value: &str) -> bool {
    match name {
        "disable-content-trust" => true,
        "cgroupns" | "ipc" => matches!(value, "" | "private"),
        "isolation" => matches!(value, "" | "default"),
        "userns" => matches!(value, "" | "host"),
        "pid" | "runtime" | "uts" => value.is_empty(),
        "memory-swappiness" => value == "-1",
        "oom-kill-disable" | "use-api-socket" => {
            matches!(value, "false" | "0" | "f" | "F" | "FALSE" | "False")
        }
        "blkio-weight" | "cpu-rt-period" | "cpu-rt-runtime" | "kernel-memory" | "memory-reservation" => {
            value == "0"
        }
        _ => false,
    }
}

const OWN_MEMORY: &str =
    "each container has message queues and shared memory of its own; --shm-size sets its size";

/// Why a flag is not done, whatever its value is.
fn reason(name: &str) -> &'static str {
    match name {
        "runtime" => "containers are started by rbuild itself",
        "link-local-ip" => "a container has one address of each family in a network",
        "link" => "there are no links between containers; those of one --network NAME find each other",
        "mac-address" => "the program that makes the network chooses the address",
        "storage-opt" => "the files of containers are in the store, whose disk alone limits them",
        "gpus" => {
            "give devices with --device, by their paths or by the names that descriptions have for them"
        }
        "device-cgroup-rule" => "give each device with --device",
        "use-api-socket" => "there is no daemon whose socket that could be",
        "oom-kill-disable" => "control groups of version 2 cannot do that",
        "memory-reservation" | "memory-swappiness" | "kernel-memory" => {
            "memory is limited by --memory and --memory-swap alone"
        }
        "cpu-rt-period" | "cpu-rt-runtime" => {
            "processors are limited by --cpus, --cpu-shares, --cpu-period and --cpu-quota alone"
        }
        // those of disks
        _ => "how much is read from disks and written to them is not limited",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_those_of_a_container_and_lead_nowhere() {
        for good in
            ["net.core.somaxconn=9", "kernel.sem=1 2 3 4", "fs.mqueue.msg_max=5", "net.ipv4.conf.a/b.x=1"]
        {
            assert!(parameter(good, true).is_ok(), "{good}");
        }
        for bad in [
            "kernel.pid_max=1",
            "net.core",
            "net.=1",
            "net...=1",
            "net.a/../../kernel/pid_max=1",
            "net./kernel=1",
            "vm.swappiness=1",
            "=1",
        ] {
            assert!(parameter(bad, true).unwrap_err().to_string().ends_with("is not allowed"), "{bad}");
        }
        let said = parameter("net.core.somaxconn=9", false).unwrap_err().to_string();
        assert!(said.ends_with("not allowed in host network namespace"), "{said}");
    }
}
