//! Health checks: what is run and how often, and what its results mean. Times, numbers and rules are Docker's.

use super::request::ContainerRequest;
use crate::{Engine, Error};
use rbuild_cache::{Container, ContainerHealth, ContainerState, HealthResult, HealthStatus};
use rbuild_oci::{ContainerConfig, Platform};
use std::time::Duration;

/// What a check has that says nothing else.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;

/// Results that are kept.
const KEPT: usize = 5;

/// The health check of a container.
pub(super) struct HealthCheck {
    /// Program and arguments.
    pub(super) command: Vec<String>,
    /// Time after which it counts as failed.
    pub(super) timeout: Duration,
    interval: Duration,
    start_period: Duration,
    start_interval: Duration,
    retries: u32,
}

impl HealthCheck {
    /// That of `config`, if it has one.
    pub(super) fn of(config: &ContainerConfig) -> Option<Self> {
        let check = config.healthcheck.as_ref()?;
        let (kind, words) = check.test.split_first()?;
        let mut command = match (kind.as_str(), config.shell.as_slice()) {
            ("CMD", _) => Vec::new(),
            ("CMD-SHELL", []) => vec!["/bin/sh".to_owned(), "-c".to_owned()],
            ("CMD-SHELL", shell) => shell.to_vec(),
            _ => return None,
        };
        command.extend_from_slice(words);
        let time = |nanoseconds: i64, usual| match u64::try_from(nanoseconds) {
            Ok(0) | Err(_) => usual,
            Ok(nanoseconds) => Duration::from_nanos(nanoseconds),
        };
        Some(Self {
            command,
            timeout: time(check.timeout, TIMEOUT),
            interval: time(check.interval, INTERVAL),
            start_period: time(check.start_period, Duration::ZERO),
            start_interval: time(check.start_interval, START_INTERVAL),
            retries: u32::try_from(check.retries).ok().filter(|retries| *retries > 0).unwrap_or(RETRIES),
        })
    }

    /// The time until the next one, in a container that was started so long ago.
    pub(super) fn pause(&self, status: HealthStatus, since_start: Duration) -> Duration {
        let is_starting = status == HealthStatus::Starting && since_start < self.start_period;
        if is_starting { self.start_interval } else { self.interval }
    }

    /// Adds a result to `health`; the check began so long after the start of the container.
    pub(super) fn count(&self, health: &mut ContainerHealth, result: HealthResult, since_start: Duration) {
        let is_starting = health.status == HealthStatus::Starting && since_start < self.start_period;
        if result.exit_code == 0 {
            (health.status, health.failing_streak) = (HealthStatus::Healthy, 0);
        } else if !is_starting {
            health.failing_streak = health.failing_streak.saturating_add(1);
            if health.failing_streak >= self.retries {
                health.status = HealthStatus::Unhealthy;
            }
        }
        health.log.push(result);
        let surplus = health.log.len().saturating_sub(KEPT);
        health.log.drain(..surplus);
    }
}

impl Engine {
    /// True if a container that is asked for is to have its health checked.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], [`Error::Image`] when its config cannot be read.
    pub fn checks_health(&self, request: &ContainerRequest) -> Result<bool, Error> {
        // not held: what is made of the image afterwards finds out whether it is still there
        let image = self.find_image(&request.image)?;
        let id = match image.for_platform(&request.platform.clone().unwrap_or_else(Platform::host)) {
            Some(id) => id,
            None if image.platforms.is_empty() => image.id,
            // starting it says what it is for
            None => return Ok(false),
        };
        let config = request.applied(self.image_config(&id)?.config);
        Ok(HealthCheck::of(&config).is_some())
    }

    /// The health of a container; `None` when nothing checks it. What has ended counts as unhealthy, as docker has it.
    pub(super) fn health_of(&self, container: &Container) -> Result<Option<ContainerHealth>, Error> {
        if container.state == ContainerState::Created || HealthCheck::of(&container.config).is_none() {
            return Ok(None);
        }
        let noted = self.store.container(&container.id).health()?;
        Ok(Some(match container.state {
            ContainerState::Created | ContainerState::Running => noted,
            ContainerState::Exited(_) => ContainerHealth { status: HealthStatus::Unhealthy, ..noted },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rbuild_oci::{Healthcheck, Timestamp};

    fn check(retries: i64, start_period: i64) -> HealthCheck {
        let test = vec!["CMD-SHELL".to_owned(), "look".to_owned()];
        let healthcheck = Some(Healthcheck { test, retries, start_period, ..Healthcheck::default() });
        HealthCheck::of(&ContainerConfig { healthcheck, ..ContainerConfig::default() }).unwrap()
    }

    fn result(exit_code: i32) -> HealthResult {
        let moment: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        HealthResult { start: moment, end: moment, exit_code, output: String::new() }
    }

    #[test]
    fn a_check_is_what_the_config_says() {
        let of = |test: &[&str], shell: &[&str]| {
            let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
            let healthcheck = Some(Healthcheck { test: words(test), ..Healthcheck::default() });
            let config = ContainerConfig { healthcheck, shell: words(shell), ..ContainerConfig::default() };
            HealthCheck::of(&config).map(|check| check.command.join("|"))
        };
        assert_eq!(of(&["CMD", "a", "b c"], &[]).as_deref(), Some("a|b c"));
        assert_eq!(of(&["CMD-SHELL", "a b"], &[]).as_deref(), Some("/bin/sh|-c|a b"));
        assert_eq!(of(&["CMD-SHELL", "a b"], &["/bin/ash", "-ec"]).as_deref(), Some("/bin/ash|-ec|a b"));
        assert_eq!(of(&["NONE"], &[]), None);
        assert_eq!(of(&[], &[]), None);
        assert!(HealthCheck::of(&ContainerConfig::default()).is_none());
    }

    #[test]
    fn failures_count_after_the_start_period_and_until_a_success() {
        const SECOND: i64 = 1_000_000_000;
        let (check, mut health) = (check(2, 10 * SECOND), ContainerHealth::default());
        let mut after = |seconds, code| {
            check.count(&mut health, result(code), Duration::from_secs(seconds));
            (health.status.word(), health.failing_streak, health.log.len())
        };
        assert_eq!(after(1, 1), ("starting", 0, 1));
        assert_eq!(after(11, 1), ("starting", 1, 2));
        assert_eq!(after(12, 0), ("healthy", 0, 3));
        assert_eq!(after(13, -1), ("healthy", 1, 4));
        assert_eq!(after(14, 7), ("unhealthy", 2, 5));
        assert_eq!(after(15, 0), ("healthy", 0, 5));
        // once it was healthy, failures count whenever they come
        assert_eq!(after(2, 1), ("healthy", 1, 5));
        assert_eq!(after(3, 1), ("unhealthy", 2, 5));
    }

    #[test]
    fn checks_come_at_docker_s_times() {
        let check = check(0, 20_000_000_000);
        let pause = |status, seconds| check.pause(status, Duration::from_secs(seconds)).as_secs();
        assert_eq!(pause(HealthStatus::Starting, 1), 5);
        assert_eq!(pause(HealthStatus::Starting, 20), 30);
        assert_eq!(pause(HealthStatus::Healthy, 1), 30);
        assert_eq!((check.retries, check.timeout.as_secs()), (3, 30));
    }
}
