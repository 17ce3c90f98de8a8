//! Sizes as Docker's flags take them.

use crate::{args::BudgetFlags, error::UsageError};
use rbuild::{Space, SpaceLimits};

/// Reads `64m`, `1.5g`, `65536`, `10MiB` for the flag `flag`: units are powers of 1024.
pub(crate) fn bytes(flag: &str, text: &str) -> Result<u64, UsageError> {
    match Space::parse(text) {
        Some(Space::Bytes(bytes)) => Ok(bytes),
        Some(Space::Percent(_)) | None => Err(invalid(flag, text)),
    }
}

/// Reads the limits of a budget: sizes, or `10%` of the disk.
pub(crate) fn limits(flags: &BudgetFlags) -> Result<SpaceLimits, UsageError> {
    let space = |flag, text: &Option<String>| -> Result<Option<Space>, UsageError> {
        text.as_deref().map(|text| Space::parse(text).ok_or_else(|| invalid(flag, text))).transpose()
    };
    Ok(SpaceLimits {
        max_used: space("max-used-space", &flags.max_used_space)?,
        min_free: space("min-free-space", &flags.min_free_space)?,
        reserved: space("reserved-space", &flags.reserved_space)?,
    })
}

fn invalid(flag: &str, text: &str) -> UsageError {
    UsageError::new(format!("invalid argument {text:?} for \"--{flag}\" flag: invalid size: '{text}'"))
}

/// Reads `10%`, or `10`, for `--verify-cache`.
pub(crate) fn percent(text: &str) -> Result<u8, UsageError> {
    let number = text.strip_suffix('%').unwrap_or(text).parse().ok().filter(|number| *number <= 100);
    number.ok_or_else(|| {
        UsageError::new(format!("invalid argument {text:?} for \"--verify-cache\" flag: give 0% to 100%"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_are_at_most_all() {
        assert_eq!([percent("10%"), percent("100"), percent("0%")], [Ok(10), Ok(100), Ok(0)]);
        for text in ["", "%", "101%", "-1", "1.5%", "1%%"] {
            assert!(percent(text).is_err(), "{text}");
        }
    }

    #[test]
    fn docker_s_units_and_docker_s_words() {
        assert_eq!(bytes("shm-size", "64m"), Ok(64 << 20));
        for text in ["", "xx", "10%"] {
            let message = bytes("shm-size", text).unwrap_err().to_string();
            assert!(message.ends_with(&format!("invalid size: '{text}'")), "{message}");
        }
        let flags = BudgetFlags { min_free_space: Some("10%".to_owned()), ..BudgetFlags::default() };
        assert_eq!(limits(&flags).unwrap().min_free, Some(Space::Percent(10)));
    }
}
