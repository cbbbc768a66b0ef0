//! Time and chance, as deliveries see them.

use std::{
    hash::{BuildHasher, RandomState},
    time::{Duration, SystemTime},
};

/// What a delivery waits by; tests and schedulers have their own.
pub trait Clock: Send + Sync {
    /// The time of day.
    fn now(&self) -> SystemTime;

    /// Lets `duration` pass.
    fn sleep(&self, duration: Duration);

    /// A random number in 0..1, which spreads deliveries that failed together.
    fn jitter(&self) -> f64;
}

/// The system's time.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }

    fn jitter(&self) -> f64 {
        // The standard library's hashes are keyed from the system's randomness.
        RandomState::new().hash_one(0u8) as f64 / u64::MAX as f64
    }
}
