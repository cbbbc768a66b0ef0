//! What the calls of one denoising loop keep for each other, where a [`Speed`](crate::Speed) lets them.

use burn::tensor::Tensor;
use t2v_denoiser::{DeepFeatures, FeatureCache, History};

/// Layers on the way down that every call runs.
const DEPTH: usize = 0;
/// Features and guidance go on in a straight line.
const ORDER: usize = 1;

/// What the calls of one denoising loop keep for each other. It begins empty and ends with the loop.
pub(crate) struct Reuse {
    /// Calls from one that runs the whole network to the next.
    interval: usize,
    /// The latest call that ran the whole network.
    latest: Option<usize>,
    /// Calls that did so far.
    whole: usize,
    cache: FeatureCache,
    /// How the prediction for the prompt differs from that for the negative prompt.
    guidance: History<5>,
}

impl Reuse {
    /// With every `interval`th call running the whole network.
    pub(crate) fn new(interval: usize) -> Self {
        Self {
            interval,
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
        let is_whole = self.latest.is_none_or(|latest| index - latest >= self.interval);
        if is_whole {
            self.latest = Some(index);
            self.whole += 1;
        }
        is_whole
    }

    /// What a call that runs the whole network does about its features, for which there is no use where all calls do.
    pub(crate) fn keep(&mut self, index: usize) -> Option<DeepFeatures<'_>> {
        (self.interval > 1).then_some(DeepFeatures::Keep {
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

    /// Keeps how the predictions differ.
    pub(crate) fn keep_guidance(&mut self, index: usize, positive: &Tensor<5>, negative: &Tensor<5>) {
        if self.interval > 1 {
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
    use crate::Speed;

    fn whole(speed: Speed, calls: std::ops::Range<usize>, of: usize) -> Vec<usize> {
        let mut reuse = Reuse::new(speed.interval(of));
        let whole: Vec<usize> = calls.filter(|index| reuse.begin(*index)).collect();
        assert_eq!(reuse.whole_calls(), whole.len());
        whole
    }

    #[test]
    fn all_of_few_calls_are_whole_and_all_exact_ones() {
        assert_eq!(whole(Speed::Exact, 3..12, 12), [3, 4, 5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(whole(Speed::Balanced, 0..19, 19).len(), 19);
        assert_eq!(whole(Speed::Fast, 0..9, 9).len(), 9);
        let mut reuse = Reuse::new(Speed::Exact.interval(12));
        assert!(reuse.begin(0) && reuse.keep(0).is_none());
    }

    #[test]
    fn loops_begin_whole_and_spare_more_of_many_calls() {
        assert_eq!(whole(Speed::Balanced, 18..23, 23), [18, 20, 22]);
        assert_eq!(whole(Speed::Balanced, 0..25, 25).len(), 9);
        assert_eq!(whole(Speed::Balanced, 40..50, 50), [40, 43, 46, 49]);
        assert_eq!(whole(Speed::Fast, 0..12, 12), [0, 2, 4, 6, 8, 10]);
        assert_eq!(whole(Speed::Fast, 0..20, 20), [0, 3, 6, 9, 12, 15, 18]);
        assert_eq!(whole(Speed::Fast, 7..50, 50), [7, 12, 17, 22, 27, 32, 37, 42, 47]);
    }
}
