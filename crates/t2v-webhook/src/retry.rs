//! When a delivery is tried again: exponential back-off with jitter
//! (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter>), and what receivers ask for.

use std::time::{Duration, SystemTime};

/// How often and after which waits a delivery is tried again.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// Attempts in all; at least one is made.
    pub attempts: u32,
    /// The wait after the first attempt.
    pub first_delay: Duration,
    /// What each further wait is multiplied by.
    pub factor: f64,
    /// The longest wait, also of those that a receiver asks for.
    pub longest_delay: Duration,
}

impl Default for RetryPolicy {
    /// Four attempts, 5, 20 and 80 seconds apart, waits of at most ten minutes.
    fn default() -> Self {
        Self {
            attempts: 4,
            first_delay: Duration::from_secs(5),
            factor: 4.0,
            longest_delay: Duration::from_secs(600),
        }
    }
}

impl RetryPolicy {
    /// For a queue that keeps its messages: 5 and 20 seconds, 1, 5 and 21 minutes apart, then every 4 hours, for about a day.
    #[must_use]
    pub fn for_a_day() -> Self {
        Self {
            attempts: 14,
            longest_delay: Duration::from_secs(4 * 3600),
            ..Self::default()
        }
    }

    /// Never tries again.
    #[must_use]
    pub fn once() -> Self {
        Self::default().with_attempts(1)
    }

    /// Sets the number of attempts.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Sets the first and the longest wait.
    #[must_use]
    pub fn with_delays(mut self, first: Duration, longest: Duration) -> Self {
        (self.first_delay, self.longest_delay) = (first, longest);
        self
    }

    /// The wait after the `failed`-th attempt, counted from 1: between half of the full wait and all of it, as `jitter`
    /// in 0..1 says.
    #[must_use]
    pub fn delay(&self, failed: u32, jitter: f64) -> Duration {
        let exponent = i32::try_from(failed.saturating_sub(1)).unwrap_or(i32::MAX);
        let full = self.first_delay.as_secs_f64() * self.factor.powi(exponent);
        let full = full.min(self.longest_delay.as_secs_f64());
        Duration::try_from_secs_f64(full * (0.5 + 0.5 * jitter.clamp(0.0, 1.0))).unwrap_or(self.longest_delay)
    }
}

/// What an answer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Delivered,
    Retry,
    Gone,
}

/// As Standard Webhooks has it: 2xx is done, 410 asks for an end, and everything else may be a slip that somebody mends.
pub(super) fn verdict(status: u16) -> Verdict {
    match status {
        200..300 => Verdict::Delivered,
        410 => Verdict::Gone,
        _ => Verdict::Retry,
    }
}

/// The wait of a `Retry-After` header: seconds or a date
/// ([RFC 9110, 10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3)).
pub(super) fn retry_after(header: &str, now: SystemTime) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(header).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_longest() {
        let policy = RetryPolicy::default();
        let seconds = |jitter: f64| [1, 2, 3, 4, 5, 1000, u32::MAX].map(|n| policy.delay(n, jitter).as_secs_f64());
        assert_eq!(seconds(1.0), [5.0, 20.0, 80.0, 320.0, 600.0, 600.0, 600.0]);
        assert_eq!(seconds(0.0), [2.5, 10.0, 40.0, 160.0, 300.0, 300.0, 300.0]);
        assert_eq!(policy.delay(1, 0.5), Duration::from_millis(3750));
        assert_eq!(policy.delay(1, f64::INFINITY), Duration::from_secs(5));
    }

    #[test]
    fn a_queue_tries_for_about_a_day() {
        let policy = RetryPolicy::for_a_day();
        let hours = |jitter: f64| {
            let waits = (1..policy.attempts).map(|n| policy.delay(n, jitter).as_secs_f64());
            waits.sum::<f64>() / 3600.0
        };
        assert!((28.0..32.0).contains(&hours(1.0)), "{}", hours(1.0));
        assert!((20.0..24.0).contains(&hours(0.5)), "{}", hours(0.5));
    }

    #[test]
    fn statuses_are_told_apart() {
        let of = |verdict_: Verdict| (100..600).filter(|s| verdict(*s) == verdict_).collect::<Vec<u16>>();
        assert_eq!(of(Verdict::Delivered), (200..300).collect::<Vec<_>>());
        assert_eq!(of(Verdict::Gone), [410]);
        for passing in [301, 302, 307, 400, 401, 404, 408, 422, 429, 500, 503] {
            assert_eq!(verdict(passing), Verdict::Retry);
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after(" 0 ", now), Some(Duration::ZERO));
        assert_eq!(
            retry_after("Sun, 06 Nov 1994 08:50:07 GMT", now),
            Some(Duration::from_secs(30))
        );
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
        for nonsense in ["", "soon", "-1", "1.5", "99999999999999999999999"] {
            assert_eq!(retry_after(nonsense, now), None, "{nonsense}");
        }
    }
}
