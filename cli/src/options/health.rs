//! Health checks that are asked for, in Docker's words.

use crate::{args::HealthFlags, error::UsageError};
use rbuild::{Healthcheck, nanoseconds};

/// The shortest time that is not zero, in nanoseconds.
const SHORTEST: i64 = 1_000_000;

/// Reads the flags; `None` leaves the image's check as it is.
pub(super) fn health(flags: &HealthFlags) -> Result<Option<Healthcheck>, UsageError> {
    let command = flags.health_cmd.as_deref().unwrap_or_default();
    let test = if command.is_empty() { Vec::new() } else { vec!["CMD-SHELL".to_owned(), command.to_owned()] };
    let check = Healthcheck {
        test,
        interval: time("interval", "Interval", flags.health_interval.as_deref())?,
        timeout: time("timeout", "Timeout", flags.health_timeout.as_deref())?,
        start_period: time("start-period", "StartPeriod", flags.health_start_period.as_deref())?,
        start_interval: time("start-interval", "StartInterval", flags.health_start_interval.as_deref())?,
        retries: retries(flags.health_retries.as_deref())?,
    };
    let is_given = check != Healthcheck::default();
    match (flags.no_healthcheck, is_given) {
        (true, true) => Err(UsageError::new("--no-healthcheck conflicts with --health-* options")),
        (true, false) => Ok(Some(Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() })),
        (false, true) => Ok(Some(check)),
        (false, false) => Ok(None),
    }
}

/// Reads the time of `--health-{flag}`, which is called `field` in a config.
fn time(flag: &str, field: &str, text: Option<&str>) -> Result<i64, UsageError> {
    let Some(text) = text else { return Ok(0) };
    let time = nanoseconds(text).map_err(|problem| {
        UsageError::new(format!("invalid argument {text:?} for \"--health-{flag}\" flag: time: {problem}"))
    })?;
    match time {
        0 => Ok(0),
        time if time < 0 => Err(UsageError::new(format!("--health-{flag} cannot be negative"))),
        time if time < SHORTEST => {
            Err(UsageError::new(format!("{field} in Healthcheck cannot be less than 1ms")))
        }
        time => Ok(time),
    }
}

fn retries(text: Option<&str>) -> Result<i64, UsageError> {
    let Some(text) = text else { return Ok(0) };
    match text.parse::<i32>() {
        Ok(number) if number < 0 => Err(UsageError::new("--health-retries cannot be negative")),
        Ok(number) => Ok(number.into()),
        Err(_) => Err(UsageError::new(format!(
            "invalid argument {text:?} for \"--health-retries\" flag: strconv.ParseInt: parsing {text:?}: invalid syntax"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_what_was_asked_for() {
        let flags = HealthFlags {
            health_cmd: Some("look".to_owned()),
            health_interval: Some("1m30s".to_owned()),
            health_retries: Some("2".to_owned()),
            ..HealthFlags::default()
        };
        let check = health(&flags).unwrap().unwrap();
        assert_eq!(check.test, ["CMD-SHELL", "look"]);
        assert_eq!((check.interval, check.timeout, check.retries), (90_000_000_000, 0, 2));
        let none = HealthFlags { no_healthcheck: true, ..HealthFlags::default() };
        assert_eq!(health(&none).unwrap().unwrap().test, ["NONE"]);
        assert_eq!(health(&HealthFlags::default()).unwrap(), None);
        let both = HealthFlags { no_healthcheck: true, ..flags };
        assert_eq!(
            health(&both).unwrap_err().to_string(),
            "--no-healthcheck conflicts with --health-* options"
        );
    }

    #[test]
    fn mistakes_are_told_in_docker_s_words() {
        let of = |interval: Option<&str>, retries: Option<&str>| {
            let flags = HealthFlags {
                health_interval: interval.map(str::to_owned),
                health_retries: retries.map(str::to_owned),
                ..HealthFlags::default()
            };
            health(&flags).unwrap_err().to_string()
        };
        assert_eq!(
            of(Some("5"), None),
            "invalid argument \"5\" for \"--health-interval\" flag: time: missing unit in duration \"5\""
        );
        assert_eq!(of(Some("-5s"), None), "--health-interval cannot be negative");
        assert_eq!(of(Some("5us"), None), "Interval in Healthcheck cannot be less than 1ms");
        assert_eq!(of(None, Some("-1")), "--health-retries cannot be negative");
        assert!(of(None, Some("x")).ends_with("parsing \"x\": invalid syntax"));
    }
}
