//! The limits of a container in its record: numbers, -1 for what is not limited.

use rbuild_cache::{ContainerLimits, ContainerUlimit};
use rbuild_executor::{Limits, Most, Resource, Ulimit};

/// What stands in a record for any number.
const UNLIMITED: i64 = -1;

/// `limits` for a record.
pub(super) fn to_record(limits: &Limits) -> ContainerLimits {
    ContainerLimits {
        memory: limits.memory,
        memory_and_swap: limits.memory_and_swap.map(number),
        cpu_shares: limits.cpu_shares,
        cpu_quota: limits.cpu_quota,
        cpu_period: limits.cpu_period,
        cpuset_cpus: limits.cpuset_cpus.clone(),
        cpuset_mems: limits.cpuset_mems.clone(),
        pids: limits.pids,
        parent: limits.parent.clone(),
        ulimits: limits.ulimits.iter().map(ulimit_to_record).collect(),
    }
}

/// The limits of a record. A resource that this rbuild does not know is not limited.
pub(super) fn from_record(limits: &ContainerLimits) -> Limits {
    Limits {
        memory: limits.memory,
        memory_and_swap: limits.memory_and_swap.map(most),
        cpu_shares: limits.cpu_shares,
        cpu_quota: limits.cpu_quota,
        cpu_period: limits.cpu_period,
        cpuset_cpus: limits.cpuset_cpus.clone(),
        cpuset_mems: limits.cpuset_mems.clone(),
        pids: limits.pids,
        parent: limits.parent.clone(),
        ulimits: limits.ulimits.iter().filter_map(ulimit_from_record).collect(),
    }
}

fn ulimit_to_record(limit: &Ulimit) -> ContainerUlimit {
    ContainerUlimit {
        name: limit.resource.name().to_owned(),
        soft: number(limit.soft),
        hard: number(limit.hard),
    }
}

fn ulimit_from_record(limit: &ContainerUlimit) -> Option<Ulimit> {
    let resource = Resource::by_name(&limit.name)?;
    Some(Ulimit { resource, soft: most(limit.soft), hard: most(limit.hard) })
}

fn number(most: Most) -> i64 {
    match most {
        Most::Of(number) => i64::try_from(number).unwrap_or(UNLIMITED),
        Most::Unlimited => UNLIMITED,
    }
}

fn most(number: i64) -> Most {
    u64::try_from(number).map_or(Most::Unlimited, Most::Of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_come_back_as_they_were() {
        let nofile = Resource::by_name("nofile").unwrap();
        let limits = Limits {
            memory: Some(1 << 20),
            memory_and_swap: Some(Most::Unlimited),
            cpuset_cpus: Some("0-1".to_owned()),
            ulimits: vec![Ulimit { resource: nofile, soft: Most::Of(5), hard: Most::Unlimited }],
            ..Limits::default()
        };
        assert_eq!(from_record(&to_record(&limits)), limits);
    }
}
