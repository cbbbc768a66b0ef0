//! Running work until it is as fast as it gets.

use std::time::Duration;

/// A run counts as faster if it takes this share of the fastest before it, or less.
const FASTER: f64 = 0.95;
/// Runs in a row that are not faster, after which there is nothing left to warm up.
const FLAT: usize = 2;
/// Runs after which it ends in any case.
const MOST: usize = 20;

/// How work became fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WarmUp {
    /// Time of the first run, in which a GPU compiles kernels and measures which are fastest.
    pub first: Duration,
    /// All runs.
    pub runs: usize,
}

/// Runs work, which says how long it took, until its time no longer falls.
///
/// # Errors
/// The first of the work's.
pub fn warm_up<E>(mut run: impl FnMut() -> Result<Duration, E>) -> Result<WarmUp, E> {
    let first = run()?;
    let (mut fastest, mut flat, mut runs) = (first, 0, 1);
    while flat < FLAT && runs < MOST {
        let time = run()?;
        runs += 1;
        flat = match time <= fastest.mul_f64(FASTER) {
            true => 0,
            false => flat + 1,
        };
        fastest = fastest.min(time);
    }
    Ok(WarmUp { first, runs })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The runs that work of these times takes.
    fn runs(times: impl IntoIterator<Item = u64>) -> WarmUp {
        let mut times = times.into_iter().map(Duration::from_millis);
        warm_up(|| times.next().ok_or("it ran on")).expect("it ends")
    }

    #[test]
    fn it_ends_when_the_time_no_longer_falls() {
        let first = Duration::from_millis(900);
        assert_eq!(runs([900, 100, 50, 49, 51]), WarmUp { first, runs: 5 });
        assert_eq!(runs([900, 890, 880]), WarmUp { first, runs: 3 });
    }

    #[test]
    fn it_ends_though_the_time_falls_on() {
        assert_eq!(runs((0..100).map(|i| 1 << (62 - i.min(61)))).runs, MOST);
    }

    #[test]
    fn a_failure_ends_it() {
        assert_eq!(warm_up(|| Err("no memory")), Err("no memory"));
    }
}
