//! `until=`: a moment, or a length of time before now, as Docker reads both.

use rbuild::Timestamp;

/// The moment that `text` stands for: a length of time before `now` (`10m`, `1h30m`), seconds since 1970, or a date with or
/// without a time and a zone (RFC 3339). Without a zone it is UTC.
#[must_use]
pub fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Some(seconds) = go_seconds(text) {
        return Timestamp::from_seconds(now.seconds().checked_sub(seconds)?);
    }
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    if let Ok(seconds) = whole.parse::<i64>() {
        return Timestamp::from_seconds(seconds);
    }
    let zoned = |text: &str| text.parse::<Timestamp>().ok();
    let (date, time) = text.split_once('T').unwrap_or((text, "00:00:00"));
    let (date, zone) = match date.strip_suffix('Z') {
        Some(date) => (date, "Z"),
        None => (date, ""),
    };
    let at = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (time, of_time) = time.split_at(at);
    let zone = match (of_time, zone) {
        ("", "") => "Z",
        ("", zone) | (zone, _) => zone,
    };
    // hours may stand alone, and so may hours and minutes
    let missing = [":00:00", ":00", ""].get(time.matches(':').count())?;
    zoned(&format!("{date}T{time}{missing}{zone}"))
}

/// Go's durations, in whole seconds: numbers with units, one after another.
#[must_use]
pub fn go_seconds(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest.is_empty() {
        return None;
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        seconds += number
            * match &rest[..end] {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[end..];
    }
    let seconds = sign * seconds;
    (seconds.abs() < 1e12).then_some(seconds as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_s_forms() {
        let now: Timestamp = "2026-05-02T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("10m", Some("2026-05-02T11:50:00Z")),
            ("1h30m", Some("2026-05-02T10:30:00Z")),
            ("1.5h", Some("2026-05-02T10:30:00Z")),
            ("-1h", Some("2026-05-02T13:00:00Z")),
            ("0", Some("1970-01-01T00:00:00Z")),
            ("1136073845", Some("2006-01-01T00:04:05Z")),
            ("1136073845.25", Some("2006-01-01T00:04:05Z")),
            ("2006-01-02", Some("2006-01-02T00:00:00Z")),
            ("2006-01-02Z", Some("2006-01-02T00:00:00Z")),
            ("2006-01-02T15:04:05", Some("2006-01-02T15:04:05Z")),
            ("2006-01-02T15:04", Some("2006-01-02T15:04:00Z")),
            ("2006-01-02T15", Some("2006-01-02T15:00:00Z")),
            ("2006-01-02T15:04:05.5Z", Some("2006-01-02T15:04:05.5Z")),
            ("2006-01-02T15:04:05+01:00", Some("2006-01-02T14:04:05Z")),
            ("2006-01-02T15:04-01:00", Some("2006-01-02T16:04:00Z")),
            ("xyz", None),
            ("", None),
            ("1d", None),
            ("h", None),
            ("2006-13-02", None),
        ] {
            let expected = expected.map(|text| text.parse::<Timestamp>().unwrap());
            assert_eq!(moment(text, now), expected, "{text}");
        }
    }
}
