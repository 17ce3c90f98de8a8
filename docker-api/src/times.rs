//! Times in words, as `go-units` writes them.

use rbuild::Timestamp;

/// A length of time: `About an hour`, `3 weeks`.
#[must_use]
pub fn human_duration(seconds: i64) -> String {
    let minutes = seconds / 60;
    let hours = (seconds + 1800) / 3600;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// How long before `now` something was: `2 hours ago`; `N/A` when it was not recorded.
pub(crate) fn ago(then: Option<Timestamp>, now: Timestamp) -> String {
    then.map_or_else(
        || "N/A".to_owned(),
        |then| format!("{} ago", human_duration(now.seconds() - then.seconds())),
    )
}

/// A moment as Go prints one, in UTC and to the second: `2024-01-02 03:04:05 +0000 UTC`.
#[must_use]
pub fn go_style(moment: Option<Timestamp>) -> String {
    let Some(text) = moment.map(|moment| moment.to_string()) else { return "N/A".to_owned() };
    let (date, time) = text.split_once('T').unwrap_or((&text, ""));
    let time = time.split(['.', 'Z']).next().unwrap_or_default();
    format!("{date} {time} +0000 UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_s_words() {
        const HOUR: i64 = 3600;
        const DAY: i64 = 24 * HOUR;
        for (seconds, words) in [
            (-5, "Less than a second"),
            (0, "Less than a second"),
            (1, "1 second"),
            (45, "45 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (180, "3 minutes"),
            (HOUR, "About an hour"),
            (HOUR + 1799, "About an hour"),
            (3 * HOUR, "3 hours"),
            (47 * HOUR, "47 hours"),
            (2 * DAY, "2 days"),
            (13 * DAY, "13 days"),
            (14 * DAY, "2 weeks"),
            (59 * DAY, "8 weeks"),
            (60 * DAY, "2 months"),
            (700 * DAY, "23 months"),
            (730 * DAY, "2 years"),
            (900 * DAY, "2 years"),
        ] {
            assert_eq!(human_duration(seconds), words, "{seconds}");
        }
    }

    #[test]
    fn moments_are_go_s() {
        let moment = "2026-11-21T10:48:38.698518481Z".parse().ok();
        assert_eq!(go_style(moment), "2026-11-21 10:48:38 +0000 UTC");
        assert_eq!(go_style(None), "N/A");
        assert_eq!(ago(moment, "2026-11-21T12:48:38Z".parse().unwrap()), "2 hours ago");
    }
}
