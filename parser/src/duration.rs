//! Durations as Go writes them: `1h30m`, `1.5s`, `300ms`.

use crate::DurationProblem;

/// Nanoseconds of `text`: signed decimal numbers, each with a unit, or a bare `0`.
///
/// # Errors
/// [`DurationProblem`], with the texts of Go's `time.ParseDuration`.
pub fn nanoseconds(text: &str) -> Result<i64, DurationProblem> {
    let invalid = || DurationProblem::Invalid(text.to_owned());
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let whole_end = digits(rest);
        let (whole, after) = rest.split_at(whole_end);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => after.split_at(digits(after)),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let unit_end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (name, after) = after.split_at(unit_end);
        if name.is_empty() {
            return Err(DurationProblem::MissingUnit(text.to_owned()));
        }
        let unit = unit(name)
            .ok_or_else(|| DurationProblem::UnknownUnit { unit: name.to_owned(), text: text.to_owned() })?;
        let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().map_err(|_| invalid())? };
        total += u128::from(whole) * u128::from(unit) + fraction_of(fraction, unit);
        if total > 1 << 63 {
            return Err(invalid());
        }
        rest = after;
    }
    let signed = if negative { -(total as i128) } else { total as i128 };
    i64::try_from(signed).map_err(|_| invalid())
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// Nanoseconds in one unit.
fn unit(name: &str) -> Option<u64> {
    match name {
        "ns" => Some(1),
        "us" | "µs" | "μs" => Some(1_000),
        "ms" => Some(1_000_000),
        "s" => Some(1_000_000_000),
        "m" => Some(60_000_000_000),
        "h" => Some(3_600_000_000_000),
        _ => None,
    }
}

/// Nanoseconds in `0.digits` of a unit, rounded down; digits that do not fit into 64 bits are ignored.
fn fraction_of(digits: &str, unit: u64) -> u128 {
    let digits = &digits[..digits.len().min(18)];
    let value: u128 = digits.parse().unwrap_or(0);
    value * u128::from(unit) / 10_u128.pow(digits.len() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_add_up() {
        assert_eq!(nanoseconds("5m"), Ok(300_000_000_000));
        assert_eq!(nanoseconds("1h1.5s"), Ok(3_601_500_000_000));
        assert_eq!(nanoseconds(".5ms"), Ok(500_000));
        assert_eq!(nanoseconds("-3us"), Ok(-3_000));
        assert_eq!(nanoseconds("0"), Ok(0));
    }

    #[test]
    fn mistakes_have_the_words_of_go() {
        let text = |text: &str| nanoseconds(text).unwrap_err().to_string();
        assert_eq!(text("abc"), "invalid duration \"abc\"");
        assert_eq!(text("5"), "missing unit in duration \"5\"");
        assert_eq!(text("5x"), "unknown unit \"x\" in duration \"5x\"");
        assert_eq!(text("9999999h"), "invalid duration \"9999999h\"");
        assert_eq!(text("."), "invalid duration \".\"");
    }
}
