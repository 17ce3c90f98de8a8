//! The number of retries and the waits between them.

use rbuild_oci::Timestamp;
use reqwest::{StatusCode, header};
use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

/// The longest wait that a server can impose by `Retry-After`.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The number of retries of a failed request, and the waits before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Number of tries after the first.
    pub retries: u32,
    /// The wait before the first retry. Each further wait is twice as long, and each is varied by up to a quarter.
    pub first_delay: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { retries: 4, first_delay: Duration::from_millis(250) }
    }
}

impl RetryPolicy {
    /// The wait before retry number `retry` (counted from 0), `None` when no retry is left.
    pub(crate) fn delay(&self, retry: u32) -> Option<Duration> {
        if retry >= self.retries {
            return None;
        }
        let delay = self.first_delay.saturating_mul(1 << retry.min(16)).min(LONGEST_WAIT);
        // varied, so that transfers that failed at the same time do not all retry at the same time
        let spread = RandomState::new().build_hasher().finish() % 256;
        Some(delay.mul_f64(1.0 + spread as f64 / 1024.0))
    }

    /// The wait before retry number `retry`, or the one that the server asks for in `Retry-After` if that is longer.
    pub(crate) fn delay_after(&self, retry: u32, headers: &header::HeaderMap) -> Option<Duration> {
        self.delay(retry).map(|delay| delay.max(asked_wait(headers)))
    }
}

/// The tries of one transfer. Those that move it on do not count, because a large blob may break off many times and still
/// arrive.
pub(crate) struct Attempts {
    retries: u32,
    /// The farthest byte so far.
    reached: u64,
}

impl Attempts {
    /// The bytes by which a try must get farther than all before it, so that it does not count.
    const ADVANCE: u64 = 1 << 20;

    pub(crate) fn new() -> Self {
        Self { retries: 0, reached: 0 }
    }

    /// The wait before the next try, after one that came to byte `position`; `None` when no try is left.
    pub(crate) fn next(&mut self, policy: &RetryPolicy, position: u64) -> Option<Duration> {
        if position >= self.reached + Self::ADVANCE {
            *self = Self { retries: 0, reached: position };
        }
        let delay = policy.delay(self.retries)?;
        self.retries += 1;
        Some(delay)
    }
}

/// The wait that the server asks for in `Retry-After` (RFC 9110 §10.2.3), up to a limit. It may be a date, which is
/// compared with the server's own `Date`, so that a clock that is wrong here does no harm.
pub(crate) fn asked_wait(headers: &header::HeaderMap) -> Duration {
    let text = |name| Some(headers.get(name)?.to_str().ok()?.trim());
    let date = |name| text(name).and_then(Timestamp::from_http_date).map(|date| date.seconds());
    let until = || date(header::RETRY_AFTER)?.checked_sub(date(header::DATE)?)?.try_into().ok();
    let seconds = text(header::RETRY_AFTER).and_then(|text| text.parse().ok()).or_else(until);
    seconds.map_or(Duration::ZERO, Duration::from_secs).min(LONGEST_WAIT)
}

/// True if the same request may succeed later.
pub(crate) fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_that_get_farther_do_not_count() {
        let policy = RetryPolicy { retries: 1, first_delay: Duration::ZERO };
        let mut attempts = Attempts::new();
        for megabytes in 1..5 {
            assert!(attempts.next(&policy, megabytes << 20).is_some(), "{megabytes}");
        }
        assert_eq!(attempts.next(&policy, 4 << 20), None);
    }

    #[test]
    fn waits_grow_are_bounded_and_obey_the_server() {
        let policy = RetryPolicy { retries: 2, first_delay: Duration::from_millis(100) };
        assert!(policy.delay(0).unwrap() >= Duration::from_millis(100));
        assert!(policy.delay(1).unwrap() >= Duration::from_millis(200));
        assert_eq!(policy.delay(2), None);
        let mut headers = header::HeaderMap::new();
        headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("3"));
        assert_eq!(policy.delay_after(0, &headers), Some(Duration::from_secs(3)));
        headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("999999"));
        assert_eq!(policy.delay_after(0, &headers), Some(LONGEST_WAIT));
        assert_eq!(policy.delay_after(2, &headers), None);
    }

    #[test]
    fn a_wait_until_a_date_is_counted_from_the_server_s_own_date() {
        let wait = |after: &str, date: Option<&str>| {
            let value = |text: &str| header::HeaderValue::from_str(text).unwrap();
            let mut headers = header::HeaderMap::new();
            headers.insert(header::RETRY_AFTER, value(after));
            headers.extend(date.map(|date| (header::DATE, value(date))));
            asked_wait(&headers).as_secs()
        };
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:42 GMT", date), 5);
        assert_eq!(wait("Sun Nov  6 08:49:42 1994", date), 5);
        assert_eq!(wait("Mon, 07 Nov 1994 08:49:42 GMT", date), LONGEST_WAIT.as_secs());
        for (after, date) in
            [("Sun, 06 Nov 1994 08:49:30 GMT", date), ("soon", date), ("Sun, 06 Nov 1994 08:49:42 GMT", None)]
        {
            assert_eq!(wait(after, date), 0, "{after}");
        }
    }
}
