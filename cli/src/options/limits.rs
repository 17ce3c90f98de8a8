//! Limits of RUNs and containers, in Docker's words.

use super::size;
use crate::{args::LimitFlags, error::UsageError};
use rbuild::{Limits, Most, Resource, Ulimit};
use std::{str::FromStr, time::Duration};

/// The period of `--cpus`, microseconds.
const PERIOD: u64 = 100_000;
/// The least memory that Docker lets a container have.
const LEAST_MEMORY: u64 = 6 << 20;

/// Reads the flags, and the parts of `--resource` (`memory=1g,cpu-shares=512`), which come after them.
pub(super) fn limits(flags: &LimitFlags, resources: &[String]) -> Result<Limits, UsageError> {
    let mut limits = Limits {
        cpuset_cpus: given(flags.cpuset_cpus.as_deref()).map(str::to_owned),
        cpuset_mems: given(flags.cpuset_mems.as_deref()).map(str::to_owned),
        pids: number("pids-limit", flags.pids_limit.as_deref())?,
        parent: given(flags.cgroup_parent.as_deref()).map(str::to_owned),
        ulimits: flags.ulimit.iter().map(|text| ulimit(text)).collect::<Result<_, _>>()?,
        ..Limits::default()
    };
    let named = [
        ("memory", &flags.memory),
        ("memory-swap", &flags.memory_swap),
        ("cpu-shares", &flags.cpu_shares),
        ("cpu-quota", &flags.cpu_quota),
        ("cpu-period", &flags.cpu_period),
    ];
    for (name, value) in named {
        if let Some(value) = value {
            set(&mut limits, name, value)?;
        }
    }
    for part in resources.iter().flat_map(|text| text.split(',')).filter(|part| !part.is_empty()) {
        let wrong =
            || UsageError::in_build(format!("invalid value {part:?} for --resource: give NAME=VALUE"));
        let (name, value) = part.split_once('=').ok_or_else(wrong)?;
        set(&mut limits, name.trim(), value.trim())?;
    }
    if let Some(text) = given(flags.cpus.as_deref()) {
        if limits.cpu_quota.is_some() || limits.cpu_period.is_some() {
            let message =
                "conflicting options: --cpus and --cpu-quota or --cpu-period cannot be used together";
            return Err(UsageError::new(message));
        }
        let cpus = text.parse::<f64>().ok().filter(|cpus| cpus.is_finite() && *cpus >= 0.0);
        let cpus = cpus.ok_or_else(|| invalid("cpus", text, "it is no number of processors"))?;
        if cpus > 0.0 {
            (limits.cpu_period, limits.cpu_quota) = (Some(PERIOD), Some((cpus * PERIOD as f64) as u64));
        }
    }
    agreeing(limits)
}

/// Sees that a container asks for no more than the machine's `processors`, as docker's daemon does.
///
/// # Errors
/// [`UsageError`] in Docker's words.
pub(crate) fn within(processors: usize, flags: &LimitFlags) -> Result<(), UsageError> {
    let asked = given(flags.cpus.as_deref()).and_then(|text| text.parse::<f64>().ok());
    if asked.is_none_or(|cpus| cpus <= processors as f64) {
        return Ok(());
    }
    Err(UsageError::refused(format!(
        "range of CPUs is from 0.01 to {processors}.00, as there are only {processors} CPUs available"
    )))
}

/// Limits that are to be changed.
#[derive(Debug)]
pub(crate) struct ChangedLimits(LimitFlags);

impl ChangedLimits {
    /// Those that the flags name.
    pub(crate) fn new(flags: LimitFlags) -> Self {
        Self(flags)
    }

    /// True if no flag is given.
    pub(crate) fn is_empty(&self) -> bool {
        let LimitFlags { memory, memory_swap, cpus, cpu_shares, cpu_quota, cpu_period, .. } = &self.0;
        let flags = [memory, memory_swap, cpus, cpu_shares, cpu_quota, cpu_period];
        let more = [&self.0.cpuset_cpus, &self.0.cpuset_mems, &self.0.pids_limit];
        flags.iter().chain(&more).all(|flag| flag.is_none())
    }

    /// `limits` with the changes.
    ///
    /// # Errors
    /// [`UsageError`] for a value that is none, or that contradicts another one.
    pub(crate) fn applied_to(&self, mut limits: Limits) -> Result<Limits, UsageError> {
        let flags = &self.0;
        if flags.cpus.is_some() {
            (limits.cpu_quota, limits.cpu_period) = (None, None);
        }
        let new = self::limits(
            &LimitFlags {
                // what is not given is as it was
                memory: flags.memory.clone().or_else(|| limits.memory.map(|bytes| bytes.to_string())),
                ..flags.clone()
            },
            &[],
        )?;
        let given = |flag: &Option<String>| flag.is_some();
        if given(&flags.memory) {
            limits.memory = new.memory;
        }
        if given(&flags.memory_swap) {
            limits.memory_and_swap = new.memory_and_swap;
        }
        if given(&flags.cpu_shares) {
            limits.cpu_shares = new.cpu_shares;
        }
        if given(&flags.cpu_quota) || given(&flags.cpus) {
            limits.cpu_quota = new.cpu_quota;
        }
        if given(&flags.cpu_period) || given(&flags.cpus) {
            limits.cpu_period = new.cpu_period;
        }
        if given(&flags.cpuset_cpus) {
            limits.cpuset_cpus = new.cpuset_cpus;
        }
        if given(&flags.cpuset_mems) {
            limits.cpuset_mems = new.cpuset_mems;
        }
        if given(&flags.pids_limit) {
            limits.pids = new.pids;
        }
        agreeing(limits)
    }
}

/// Reads `90`, `1h30m`, `2m`, `1.5s` for the flag `flag`; nothing and 0 ask for no limit.
pub(super) fn duration(flag: &str, text: Option<&str>) -> Result<Option<Duration>, UsageError> {
    let Some(text) = given(text) else { return Ok(None) };
    let wrong = || invalid(flag, text, "give a duration such as 90s, 10m or 1h30m");
    let plain = text.chars().all(|c| c == '.' || c.is_ascii_digit());
    let (mut seconds, seconds_text) = (0.0, format!("{text}s"));
    let mut rest = if plain { seconds_text.as_str() } else { text };
    while !rest.is_empty() {
        let end = rest.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        seconds += number
            * match unit {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return Err(wrong()),
            };
        rest = after;
    }
    let duration = Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
    Ok((!duration.is_zero()).then_some(duration))
}

/// One limit, by the name of its flag.
fn set(limits: &mut Limits, name: &str, value: &str) -> Result<(), UsageError> {
    match name {
        "memory" => {
            limits.memory =
                given(Some(value)).map(|text| size::bytes(name, text)).transpose()?.filter(|n| *n > 0);
        }
        "memory-swap" => {
            limits.memory_and_swap = match value {
                "" | "0" => None,
                "-1" => Some(Most::Unlimited),
                text => Some(Most::Of(size::bytes(name, text)?)),
            }
        }
        "cpu-shares" => limits.cpu_shares = number(name, Some(value))?,
        "cpu-quota" => limits.cpu_quota = number(name, Some(value))?,
        "cpu-period" => limits.cpu_period = number(name, Some(value))?,
        "cpuset-cpus" => limits.cpuset_cpus = given(Some(value)).map(str::to_owned),
        "cpuset-mems" => limits.cpuset_mems = given(Some(value)).map(str::to_owned),
        _ => {
            let known = "memory, memory-swap, cpu-shares, cpu-quota, cpu-period, cpuset-cpus or cpuset-mems";
            return Err(UsageError::in_build(format!("unknown resource {name:?}: give {known}")));
        }
    }
    Ok(())
}

/// Limits that do not contradict each other.
fn agreeing(limits: Limits) -> Result<Limits, UsageError> {
    let wrong = |message: &str| Err(UsageError::new(message));
    match (limits.memory, limits.memory_and_swap) {
        (Some(memory), _) if memory < LEAST_MEMORY => wrong("Minimum memory limit allowed is 6MB"),
        (None, Some(_)) => {
            wrong("You should always set the Memory limit when using Memoryswap limit, see usage")
        }
        (Some(memory), Some(Most::Of(both))) if both < memory => {
            wrong("Minimum memoryswap limit should be larger than memory limit, see usage")
        }
        _ => Ok(limits),
    }
}

/// Docker's `NAME=SOFT[:HARD]`.
fn ulimit(text: &str) -> Result<Ulimit, UsageError> {
    let wrong =
        |why: String| UsageError::new(format!("invalid argument {text:?} for \"--ulimit\" flag: {why}"));
    let Some((name, values)) = text.split_once('=').filter(|(name, _)| !name.is_empty()) else {
        return Err(wrong(format!("invalid ulimit argument: {text}")));
    };
    let resource = Resource::by_name(name).ok_or_else(|| wrong(format!("invalid ulimit type: {name}")))?;
    let parts: Vec<&str> = values.split(':').collect();
    let number = |text: &str| match text {
        "-1" | "unlimited" => Ok(Most::Unlimited),
        text => u64::from_str(text).map(Most::Of).map_err(|_| wrong(format!("{text:?} is no limit"))),
    };
    let (soft, hard) = match parts.as_slice() {
        [both] => (number(both)?, number(both)?),
        [soft, hard] => (number(soft)?, number(hard)?),
        _ => {
            return Err(wrong(format!(
                "too many limit values - {values}, can only have up to two, `soft[:hard]`"
            )));
        }
    };
    let exceeds = match (soft, hard) {
        (Most::Of(soft), Most::Of(hard)) => soft > hard,
        (Most::Unlimited, Most::Of(_)) => true,
        (_, Most::Unlimited) => false,
    };
    if exceeds {
        let why = format!("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}");
        return Err(wrong(why));
    }
    Ok(Ulimit { resource, soft, hard })
}

/// A number that limits something; nothing, 0 and -1 limit nothing.
fn number(flag: &str, text: Option<&str>) -> Result<Option<u64>, UsageError> {
    let Some(text) = given(text) else { return Ok(None) };
    match text.parse::<i64>() {
        Ok(number) if number >= -1 => Ok(u64::try_from(number).ok().filter(|number| *number > 0)),
        Ok(_) | Err(_) => Err(invalid(flag, text, "it is no number that limits anything")),
    }
}

fn given(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

fn invalid(flag: &str, text: &str, why: &str) -> UsageError {
    UsageError::new(format!("invalid argument {text:?} for \"--{flag}\" flag: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(flags: &LimitFlags, resources: &[&str]) -> String {
        let resources: Vec<String> = resources.iter().map(|text| (*text).to_owned()).collect();
        limits(flags, &resources).unwrap_err().to_string()
    }

    #[test]
    fn flags_become_limits() {
        let text = |text: &str| Some(text.to_owned());
        let flags = LimitFlags {
            memory: text("512m"),
            memory_swap: text("-1"),
            cpus: text("1.5"),
            pids_limit: text("-1"),
            ulimit: vec!["nofile=10:20".to_owned(), "core=-1".to_owned()],
            ..LimitFlags::default()
        };
        let found = limits(&flags, &["cpu-shares=512,cpuset-cpus=0".to_owned()]).unwrap();
        assert_eq!((found.memory, found.memory_and_swap), (Some(512 << 20), Some(Most::Unlimited)));
        assert_eq!((found.cpu_quota, found.cpu_period, found.pids), (Some(150_000), Some(PERIOD), None));
        assert_eq!((found.cpu_shares, found.cpuset_cpus.as_deref()), (Some(512), Some("0")));
        let ulimits: Vec<String> = found.ulimits.iter().map(ToString::to_string).collect();
        assert_eq!(ulimits, ["nofile=10:20", "core=unlimited:unlimited"]);
        assert_eq!(limits(&LimitFlags::default(), &[]).unwrap(), Limits::default());
    }

    #[test]
    fn mistakes_are_told_in_docker_s_words() {
        let memory = |memory: &str, swap: Option<&str>| LimitFlags {
            memory: Some(memory.to_owned()),
            memory_swap: swap.map(str::to_owned),
            ..LimitFlags::default()
        };
        let ulimit = |text: &str| LimitFlags { ulimit: vec![text.to_owned()], ..LimitFlags::default() };
        for (flags, resource, part) in [
            (memory("1m", None), "", "Minimum memory limit allowed is 6MB"),
            (
                memory("64m", Some("32m")),
                "",
                "Minimum memoryswap limit should be larger than memory limit, see usage",
            ),
            (
                memory("0", Some("32m")),
                "",
                "You should always set the Memory limit when using Memoryswap limit",
            ),
            (memory("x", None), "", "invalid size: 'x'"),
            (ulimit("nofile"), "", "invalid ulimit argument: nofile"),
            (ulimit("files=1"), "", "invalid ulimit type: files"),
            (
                ulimit("nofile=1:2:3"),
                "",
                "too many limit values - 1:2:3, can only have up to two, `soft[:hard]`",
            ),
            (ulimit("nofile=3:2"), "", "ulimit soft limit must be less than or equal to hard limit: 3 > 2"),
            (LimitFlags::default(), "disk=1g", "unknown resource \"disk\""),
            (LimitFlags::default(), "memory", "invalid value \"memory\" for --resource"),
        ] {
            let said = message(&flags, &[resource]);
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn durations_are_those_of_go_and_of_timeout() {
        let read = |text| duration("timeout", Some(text)).map_err(|error| error.to_string());
        assert_eq!(read("90"), Ok(Some(Duration::from_secs(90))));
        assert_eq!(read("1h30m"), Ok(Some(Duration::from_secs(5400))));
        assert_eq!(read("1.5s"), Ok(Some(Duration::from_millis(1500))));
        assert_eq!(read("250ms"), Ok(Some(Duration::from_millis(250))));
        assert_eq!((read("0"), read("")), (Ok(None), Ok(None)));
        for text in ["x", "1d", "-1", "1h30", "s", "1e9999999"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
