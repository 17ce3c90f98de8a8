//! Sizes as Docker's flags take them.

use crate::error::UsageError;

/// Reads `64m`, `1.5g`, `65536`, `10MiB` for the flag `flag`: units are powers of 1024.
pub(crate) fn bytes(flag: &str, text: &str) -> Result<u64, UsageError> {
    let bad = || {
        UsageError::new(format!("invalid argument {text:?} for \"--{flag}\" flag: invalid size: '{text}'"))
    };
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| bad())?;
    let unit = unit.trim_start().to_ascii_lowercase();
    let power = match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit) {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(bad()),
    };
    Ok((number * 1024_f64.powi(power)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_s_units() {
        for (text, expected) in [
            ("64m", 64 << 20),
            ("65536", 65536),
            ("1.5g", 3 << 29),
            ("10MiB", 10 << 20),
            ("1kb", 1024),
            ("7 B", 7),
        ] {
            assert_eq!(bytes("shm-size", text), Ok(expected), "{text}");
        }
        for text in ["", "xx", "-1", "1.2.3", "1x", "ib"] {
            let message = bytes("shm-size", text).unwrap_err().to_string();
            assert!(message.ends_with(&format!("invalid size: '{text}'")), "{message}");
        }
    }
}
