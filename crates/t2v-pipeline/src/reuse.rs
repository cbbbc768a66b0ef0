//! What the calls of one denoising loop keep for each other, where a [`Speed`] lets them.

use burn::tensor::Tensor;
use t2v_denoiser::{DeepFeatures, FeatureCache, History};

use crate::Speed;

/// Layers on the way down that every call runs.
const DEPTH: usize = 0;
/// Features and guidance go on in a straight line.
const ORDER: usize = 1;

/// What the calls of one denoising loop keep for each other. It begins empty and ends with the loop.
pub(crate) struct Reuse {
    speed: Speed,
    /// Of the whole schedule, of which a loop may run a part.
    calls: usize,
    /// The latest call that ran the whole network.
    latest: Option<usize>,
    /// Calls that did so far.
    whole: usize,
    cache: FeatureCache,
    /// How the prediction for the prompt differs from that for the negative prompt.
    guidance: History<5>,
}

impl Reuse {
    /// For a schedule of `calls`.
    pub(crate) fn new(speed: Speed, calls: usize) -> Self {
        Self {
            speed,
            calls,
            latest: None,
            whole: 0,
            cache: FeatureCache::new(DEPTH, ORDER),
            guidance: History::new(ORDER),
        }
    }

    /// Calls that ran the whole network.
    pub(crate) fn whole_calls(&self) -> usize {
        self.whole
    }

    /// Begins call `index` of the schedule and says whether it runs the whole network, as the first of a loop does.
    pub(crate) fn begin(&mut self, index: usize) -> bool {
        let interval = self.speed.interval(index, self.calls);
        let is_whole = self.latest.is_none_or(|latest| index - latest >= interval);
        if is_whole {
            self.latest = Some(index);
            self.whole += 1;
        }
        is_whole
    }

    /// What a call that runs the whole network does about its features; exact ones have no use for them.
    pub(crate) fn keep(&mut self, index: usize) -> Option<DeepFeatures<'_>> {
        (!self.speed.is_exact()).then_some(DeepFeatures::Keep {
            cache: &mut self.cache,
            at: index as f64,
        })
    }

    /// What another call does.
    pub(crate) fn features(&self, index: usize) -> DeepFeatures<'_> {
        DeepFeatures::Reuse {
            cache: &self.cache,
            at: index as f64,
        }
    }

    /// Keeps how the predictions differ, which exact calls have no use for.
    pub(crate) fn keep_guidance(&mut self, index: usize, positive: &Tensor<5>, negative: &Tensor<5>) {
        if !self.speed.is_exact() {
            self.guidance.push(index as f64, positive.clone() - negative.clone());
        }
    }

    /// How the predictions differ at another call, as far as was kept.
    pub(crate) fn guidance(&self, index: usize) -> Option<Tensor<5>> {
        self.guidance.at(index as f64, usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(speed: Speed, calls: std::ops::Range<usize>, of: usize) -> Vec<usize> {
        let mut reuse = Reuse::new(speed, of);
        let whole: Vec<usize> = calls.filter(|index| reuse.begin(*index)).collect();
        assert_eq!(reuse.whole_calls(), whole.len());
        whole
    }

    #[test]
    fn exact_calls_are_whole() {
        assert_eq!(whole(Speed::Exact, 3..9, 9), [3, 4, 5, 6, 7, 8]);
        let mut reuse = Reuse::new(Speed::Exact, 9);
        assert!(reuse.keep(0).is_none());
    }

    #[test]
    fn loops_begin_whole_and_are_whole_more_often_at_first() {
        assert_eq!(whole(Speed::Balanced, 0..20, 20), [0, 2, 4, 6, 8, 10, 14, 18]);
        assert_eq!(whole(Speed::Balanced, 15..20, 20), [15, 19]);
        assert_eq!(whole(Speed::Fast, 0..20, 20), [0, 4, 8, 14]);
        assert_eq!(whole(Speed::Fast, 0..1, 1), [0]);
    }
}
