//! Sizes in bytes with a binary suffix.

/// The number of bytes that `text` states with a suffix of powers of 1024 (`64m`, `1.5 GiB`, `65536`); `None` when it is not a
/// size.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let suffix = suffix.strip_prefix(' ').unwrap_or(suffix).to_lowercase();
    let unit = match suffix.strip_suffix("ib").or_else(|| suffix.strip_suffix('b')).unwrap_or(&suffix) {
        "" if suffix != "ib" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let factor = 1_u64 << (10 * unit);
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor);
    }
    let fraction: f64 = number.parse().ok()?;
    #[expect(
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a size has no sign and few digits"
    )]
    let bytes = (fraction * factor as f64) as u64;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::parse_size;

    #[test]
    fn suffixes_are_binary() {
        for (text, bytes) in
            [("10", 10), ("64m", 64 << 20), ("1.5k", 1536), ("2 GiB", 2 << 30), ("3KB", 3072), ("5b", 5)]
        {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for bad in ["", "x", "1x", "-1", "1..2", "m", "1ib", "99999999999p"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }
}
