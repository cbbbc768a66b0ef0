//! Features of a network's deep part that are kept from one call to the next, after DeepCache
//! ([Ma et al., 2023](https://arxiv.org/abs/2312.00858)).
//!
//! From one call to the next the lowest resolutions of a U-Net change little. A call that keeps its features runs the whole
//! network; one that reuses them runs only the layers around them: the first of the way down, whose states the last of the way
//! up take. Where two calls were kept, the features are taken to change at the same rate from there on, which is nearer to the
//! truth than leaving them as they were.

use burn::tensor::Tensor;

use crate::History;

/// Features of one generation. A network is shared and never changed; this belongs to whoever calls it, who drops it with the
/// generation.
#[derive(Debug, Clone)]
pub struct FeatureCache {
    depth: usize,
    features: History<4>,
}

impl FeatureCache {
    /// Calls that reuse features run the first convolution, `depth` layers on the way down and `depth + 1` on the way up;
    /// changes of size count on the way down. More than a network has leave out its middle alone. `order` is the degree of the
    /// polynomial that the features are taken to follow.
    #[must_use]
    pub fn new(depth: usize, order: usize) -> Self {
        Self {
            depth,
            features: History::new(order),
        }
    }

    /// Whether there is nothing to reuse.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.features.is_empty()
    }

    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    pub(crate) fn keep(&mut self, at: f64, features: Tensor<4>) {
        self.features.push(at, features);
    }

    /// `[rows, channels, height, width]`
    pub(crate) fn features(&self, at: f64, rows: usize) -> Option<Tensor<4>> {
        self.features.at(at, rows)
    }
}

/// What a call does about deep features. `at` is where it is on the way from noise to picture, by any measure in which they change
/// evenly; the number of the call will do.
#[derive(Debug)]
pub enum DeepFeatures<'a> {
    /// Computes them, as any call does, and keeps them.
    Keep {
        /// What they are kept in.
        cache: &'a mut FeatureCache,
        /// Where this call is.
        at: f64,
    },
    /// Takes those that were kept, where there are any. The batch is that of the calls before, or its last entries.
    Reuse {
        /// What they were kept in.
        cache: &'a FeatureCache,
        /// Where this call is.
        at: f64,
    },
}
