//! Times in the form of image configs: RFC 3339, UTC, nanoseconds without trailing zeros.

use crate::ParseError;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr, time::SystemTime};

/// The source of the time. Only a whole program reads the machine's clock and gives it to the libraries, so that their
/// results depend on nothing else that changes by itself.
///
/// Libraries compare file times with it, so it has to be the clock from which the kernel takes file times, or one that is
/// behind.
#[derive(Clone, Copy, Debug)]
pub struct Clock(fn() -> SystemTime);

impl Clock {
    /// A clock that reads the time with `now`.
    #[must_use]
    pub const fn new(now: fn() -> SystemTime) -> Self {
        Self(now)
    }

    /// The present time.
    #[must_use]
    pub fn now(self) -> SystemTime {
        self.0()
    }
}

/// A moment, to the nanosecond.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(jiff::Timestamp);

impl Timestamp {
    /// The moment `seconds` after 1970-01-01T00:00:00Z; `None` outside the years −9999 to 9999.
    #[must_use]
    pub fn from_seconds(seconds: i64) -> Option<Self> {
        jiff::Timestamp::from_second(seconds).ok().map(Self)
    }

    /// The moment `seconds` and `nanoseconds` after 1970-01-01T00:00:00Z; `None` outside the years −9999 to 9999.
    #[must_use]
    pub fn new(seconds: i64, nanoseconds: i32) -> Option<Self> {
        jiff::Timestamp::new(seconds, nanoseconds).ok().map(Self)
    }

    /// The moment that an HTTP header states (RFC 9110 §5.6.7), in the form of today or one of the two obsolete ones.
    #[must_use]
    pub fn from_http_date(text: &str) -> Option<Self> {
        const FORMS: [&str; 3] =
            ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
        let read = |form: &&str| jiff::civil::DateTime::strptime(form, text).ok();
        let stated = FORMS.iter().find_map(read)?;
        Some(Self(stated.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp()))
    }

    /// Whole seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn seconds(&self) -> i64 {
        self.0.as_second()
    }

    /// The nanoseconds within the second.
    #[must_use]
    pub fn nanoseconds(&self) -> i32 {
        self.0.subsec_nanosecond()
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self(jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::UNIX_EPOCH))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Timestamp {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.parse().map(Self).map_err(|_| ParseError::Timestamp(text.to_owned()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_http_are_read_in_each_form() {
        for text in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            let read = Timestamp::from_http_date(text).map(|read| read.to_string());
            assert_eq!(read.as_deref(), Some("1994-11-06T08:49:37Z"), "{text}");
        }
        for text in ["", "3", "Sun, 06 Nov 1994 08:49:37 CET", "Sun, 36 Nov 1994 08:49:37 GMT", "yesterday"] {
            assert_eq!(Timestamp::from_http_date(text), None, "{text}");
        }
    }

    #[test]
    fn trailing_zeros_are_trimmed_as_go_does() {
        for text in ["2024-01-02T03:04:05Z", "2024-01-02T03:04:05.1Z", "2024-01-02T03:04:05.123456789Z"] {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), text);
        }
        assert_eq!(
            "2024-01-02T05:04:05+02:00".parse::<Timestamp>().unwrap().to_string(),
            "2024-01-02T03:04:05Z"
        );
    }
}
