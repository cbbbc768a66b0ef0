//! How much of a call of a network is kept for its gradients.

use burn::tensor::{GradientCheckpointingStrategy, Int, Tensor};

/// Whether results are computed again on the way back, in place of being kept: those that cost little, such as sums, products of
/// entries and activations. All tensors of a call are recorded the same way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Recording {
    pub(crate) checkpointing: bool,
}

impl Recording {
    fn strategy(self) -> GradientCheckpointingStrategy {
        match self.checkpointing {
            true => GradientCheckpointingStrategy::Balanced,
            false => GradientCheckpointingStrategy::Disabled,
        }
    }

    /// A tensor on the autodiff device.
    pub(crate) fn of<const D: usize>(self, tensor: Tensor<D>) -> Tensor<D> {
        tensor.autodiff().with_gradient_checkpointing_strategy(self.strategy())
    }

    /// Numbers of tokens on the autodiff device.
    pub(crate) fn of_tokens(self, tokens: Tensor<2, Int>) -> Tensor<2, Int> {
        tokens.autodiff().with_gradient_checkpointing_strategy(self.strategy())
    }
}
