//! The way down, through the middle and up again, which is that of every U-Net here; or the part of it around deep features that
//! were kept.

use burn::tensor::Tensor;

use crate::{DeepFeatures, UNetBlock, prompts::for_all_prompts, unet_blocks::Condition};

/// The blocks of a U-Net.
pub(crate) struct UNetBody<'a> {
    pub(crate) down: &'a [UNetBlock],
    pub(crate) mid: Option<&'a UNetBlock>,
    pub(crate) up: &'a [UNetBlock],
}

impl UNetBody<'_> {
    /// # Shapes
    /// - x: `[clips * frames, channels, height, width]`
    /// - output: `[batch * frames, channels, height, width]`, with the batch of the text
    pub(crate) fn forward(&self, x: Tensor<4>, condition: &Condition, deep: Option<DeepFeatures<'_>>) -> Tensor<4> {
        let [_, _, height, width] = x.dims();
        let size = [height, width];
        match deep {
            None => self.whole(x, condition, |_, _| ()),
            Some(DeepFeatures::Keep { cache, at }) => {
                let layers = self.layers_around(cache.depth());
                self.whole(x, condition, |left, x| {
                    if left == layers {
                        cache.keep(at, x.clone());
                    }
                })
            }
            Some(DeepFeatures::Reuse { cache, at }) => match cache.features(at, condition.rows()) {
                Some(features) => {
                    let states = self.way_down(x, condition, self.layers_around(cache.depth()));
                    self.way_up(features, states, condition, size, |_, _| ())
                }
                None => self.whole(x, condition, |_, _| ()),
            },
        }
    }

    /// Layers of the way up.
    fn layers(&self) -> usize {
        self.up.iter().map(|block| block.resnets.len()).sum()
    }

    /// Those that a call with kept features runs, each of which takes a state of the way down.
    fn layers_around(&self, depth: usize) -> usize {
        depth.saturating_add(1).min(self.layers())
    }

    /// All of it; `before_layer` as for [`way_up`](Self::way_up).
    fn whole(&self, x: Tensor<4>, condition: &Condition, before_layer: impl FnMut(usize, &Tensor<4>)) -> Tensor<4> {
        let [_, _, height, width] = x.dims();
        let states = self.way_down(x, condition, usize::MAX);
        let mut x = for_all_prompts(states[states.len() - 1].clone(), condition.rows());
        if let Some(block) = self.mid {
            x = block.forward_mid(x, condition);
        }
        self.way_up(x, states, condition, [height, width], before_layer)
    }

    /// The first states, at most so many, beginning with the input. Those before the first layer that looks at the text have the rows of
    /// the input, which are for all prompts.
    fn way_down(&self, x: Tensor<4>, condition: &Condition, most: usize) -> Vec<Tensor<4>> {
        let mut states = vec![x];
        for block in self.down {
            for i in 0..block.down_steps() {
                if states.len() == most {
                    return states;
                }
                let x = states[states.len() - 1].clone();
                states.push(block.down_step(i, x, condition));
            }
        }
        states
    }

    /// As many of the last layers as there are states. `before_layer` hears how many are left before each, that one included, and
    /// sees what enters it. `size` is that of the network's input.
    fn way_up(
        &self,
        mut x: Tensor<4>,
        mut states: Vec<Tensor<4>>,
        condition: &Condition,
        [height, width]: [usize; 2],
        mut before_layer: impl FnMut(usize, &Tensor<4>),
    ) -> Tensor<4> {
        // Sizes that were rounded up on the way down are met again on the way up.
        let halvings = self.up.len() - 1;
        let uneven = height % (1 << halvings) != 0 || width % (1 << halvings) != 0;
        let mut left = self.layers();
        for (i, block) in self.up.iter().enumerate() {
            let is_run = left - block.resnets.len() < states.len();
            for layer in 0..block.resnets.len() {
                if left == states.len()
                    && let Some(state) = states.pop()
                {
                    before_layer(left, &x);
                    x = block.up_layer(layer, x, state, condition);
                }
                left -= 1;
            }
            if is_run {
                let size = states.last().filter(|_| uneven && i < halvings).map(|state| {
                    let [_, _, height, width] = state.dims();
                    [height, width]
                });
                x = block.upsample(x, size);
            }
        }
        x
    }
}
