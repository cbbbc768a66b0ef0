//! The bookkeeping of solvers with two model calls a step, but one in the last.
//!
//! For `n` steps through the levels `0..=n` there are `2n - 1` calls. Diffusers numbers the calls 0, 1, 2, 3, 4, … and
//! gives them the levels 0, 1, 1, 2, 2, …: a step's first call has an even number and the level that the step starts from,
//! the second has an odd one and the level that it leads to.

mod sampler;

pub(crate) use self::sampler::{FirstCall, StepSigmas, TwoCallSampler, TwoCallSolver};

/// The level of a call.
pub(crate) fn level_of_call(call: usize) -> usize {
    call.div_ceil(2)
}

/// One value for each call: all values twice, but the first once.
pub(crate) fn all_twice_but_the_first(values: &[f64]) -> Vec<f64> {
    let doubled = values.iter().flat_map(|&value| [value, value]);
    doubled.skip(1).collect()
}

/// The sigmas as diffusers lists them: all but the last `listed_once` twice, the first once; then the last
/// once more.
pub(crate) fn sigmas_of_calls(sigmas: &[f32], listed_once: usize) -> Vec<f64> {
    let sigmas: Vec<f64> = sigmas.iter().map(|&sigma| f64::from(sigma)).collect();
    let mut listed = all_twice_but_the_first(&sigmas[..sigmas.len().saturating_sub(listed_once)]);
    listed.extend(sigmas.last());
    listed
}

/// One value for each call: the first of `starts`, then in turn one of `middles` and the next of `starts`.
pub(crate) fn interleaved(starts: &[f64], middles: impl Iterator<Item = f64>) -> Vec<f64> {
    let pairs = middles.zip(starts.iter().skip(1));
    let rest = pairs.flat_map(|(middle, &start)| [middle, start]);
    starts.iter().take(1).copied().chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_and_levels_correspond() {
        assert_eq!(all_twice_but_the_first(&[3.0, 2.0, 1.0]), [3.0, 2.0, 2.0, 1.0, 1.0]);
        assert_eq!(
            interleaved(&[3.0, 2.0, 1.0], [2.5, 1.5].into_iter()),
            [3.0, 2.5, 2.0, 1.5, 1.0]
        );
        let levels: Vec<f64> = (0..5).map(|call| level_of_call(call) as f64).collect();
        assert_eq!(levels, all_twice_but_the_first(&[0.0, 1.0, 2.0]));
    }
}
