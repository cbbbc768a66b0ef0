//! How often a key may ask.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::{InMemoryState, NotKeyed},
};

use crate::auth::Owner;

type Limiter = RateLimiter<NotKeyed, InMemoryState, DefaultClock>;

/// Requests a second, for each key that has such a limit. Jobs that wait are counted in the database, for all servers.
#[derive(Debug, Default)]
pub struct Limits {
    clock: DefaultClock,
    limiters: RwLock<HashMap<String, Arc<Limiter>>>,
}

impl Limits {
    /// No request yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a request.
    ///
    /// # Errors
    /// How long to wait before the next one.
    pub fn count(&self, owner: &Owner) -> Result<(), Duration> {
        let Some(rate) = owner.requests_per_second.and_then(NonZeroU32::new) else {
            return Ok(());
        };
        let limiter = self.limiter(&owner.id, rate);
        limiter.check().map_err(|early| early.wait_time_from(self.clock.now()))
    }

    /// There are no more limiters than keys.
    fn limiter(&self, owner: &str, rate: NonZeroU32) -> Arc<Limiter> {
        let known = self.limiters.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(limiter) = known.get(owner) {
            return Arc::clone(limiter);
        }
        drop(known);
        let mut limiters = self.limiters.write().unwrap_or_else(PoisonError::into_inner);
        let limiter = limiters.entry(owner.to_owned());
        Arc::clone(limiter.or_insert_with(|| Arc::new(RateLimiter::direct(Quota::per_second(rate)))))
    }
}

/// Whole seconds, as `Retry-After` has them.
#[must_use]
pub fn retry_after(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(id: &str, requests_per_second: Option<u32>) -> Owner {
        Owner {
            id: id.to_owned(),
            is_admin: false,
            requests_per_second,
            queued: None,
        }
    }

    #[test]
    fn each_key_has_its_own_limit() {
        let limits = Limits::new();
        let (slow, free) = (owner("slow", Some(2)), owner("free", None));
        assert!(limits.count(&slow).is_ok() && limits.count(&slow).is_ok());
        let wait = limits.count(&slow).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
        for _ in 0..100 {
            limits.count(&free).unwrap();
        }
        limits.count(&owner("other", Some(2))).unwrap();
    }

    #[test]
    fn waits_are_whole_seconds() {
        assert_eq!(retry_after(Duration::ZERO), 0);
        assert_eq!(retry_after(Duration::from_millis(1)), 1);
        assert_eq!(retry_after(Duration::from_secs(2)), 2);
    }
}
