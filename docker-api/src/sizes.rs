//! Sizes in words, as `go-units` writes them.

/// `size` in decimal units with four significant digits: `1.234GB`.
#[must_use]
pub fn human_size(size: u64) -> String {
    human_size_with(size, 4)
}

/// `size` in decimal units with `digits` significant digits: image lists use 3.
#[must_use]
pub fn human_size_with(size: u64, digits: usize) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut value = size as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{}{}", significant(value, digits), UNITS[unit])
}

/// `size` in binary units with four significant digits, as memory is shown: `1.234GiB`.
pub(crate) fn binary_size(size: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = size as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{}{}", significant(value, 4), UNITS[unit])
}

/// Go's `%.<digits>g` for 0 ≤ value < 1000: no trailing zeros, and an exponent once rounding reaches the next power.
fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{value:.*e}", digits - 1);
    let exponent: i32 = scientific.rsplit_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
    if exponent >= digits as i32 {
        let mantissa = scientific.split('e').next().unwrap_or_default();
        return format!("{}e+{exponent:02}", trimmed(mantissa));
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    trimmed(&format!("{value:.decimals$}")).to_owned()
}

fn trimmed(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_in_binary_units() {
        let sizes = [0, 1023, 491_520, 25_276_018_524].map(binary_size);
        assert_eq!(sizes, ["0B", "1023B", "480KiB", "23.54GiB"]);
    }

    #[test]
    fn docker_s_numbers() {
        for (size, short, long) in [
            (0, "0B", "0B"),
            (7, "7B", "7B"),
            (999, "999B", "999B"),
            (1000, "1kB", "1kB"),
            (1984, "1.98kB", "1.984kB"),
            (173_313_053, "173MB", "173.3MB"),
            (1_984_000, "1.98MB", "1.984MB"),
            (77_826_000, "77.8MB", "77.83MB"),
            (1_234_567_890, "1.23GB", "1.235GB"),
            (999_950, "1e+03kB", "1000kB"),
            (u64::MAX, "18.4EB", "18.45EB"),
        ] {
            assert_eq!((human_size_with(size, 3).as_str(), human_size(size).as_str()), (short, long));
        }
    }
}
