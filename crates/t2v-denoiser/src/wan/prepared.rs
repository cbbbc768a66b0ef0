//! Keys and values of text and pictures, kept from step to step.

use std::sync::Arc;

use burn::{module::ParamId, nn::Linear};

use super::attention::ContextKeys;

/// What a network computed of its conditioning once, for all steps of a generation.
///
/// It takes two vectors a block and token of the text: for the 40 blocks of a model of 14 billion parameters, in half precision,
/// 0.4 GB for each prompt.
#[derive(Debug, Clone)]
pub struct Prepared {
    network: ParamId,
    blocks: Arc<[ContextKeys]>,
}

impl Prepared {
    pub(super) fn new(network: ParamId, blocks: Vec<ContextKeys>) -> Self {
        Self {
            network,
            blocks: blocks.into(),
        }
    }

    /// The blocks' keys and values, if they are this network's: another one's would be of no use.
    pub(super) fn of(&self, network: ParamId) -> Option<&[ContextKeys]> {
        (self.network == network).then_some(&*self.blocks)
    }

    /// That of the last clip alone.
    pub(crate) fn last(&self) -> Self {
        Self {
            network: self.network,
            blocks: self.blocks.iter().map(ContextKeys::last).collect(),
        }
    }
}

/// What tells networks apart: a parameter's number.
pub(super) fn network_of(layer: &Linear) -> ParamId {
    layer.weight.id
}
