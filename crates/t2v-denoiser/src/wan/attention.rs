//! Attention of tokens to each other, and to text and pictures (`WanAttention`).

use burn::{
    module::Module,
    nn::Linear,
    tensor::{Device, Tensor},
};
use t2v_kernels::{MultiHead, Products, RmsNorm, Rotation, attention, linear, project};

use super::WanTransformerConfig;
use crate::prompts::for_all_prompts;

/// Attention whose queries and keys are normalised over all heads together.
#[derive(Module, Debug)]
pub(super) struct WanAttention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Vec<Linear>,
    norm_q: RmsNorm,
    norm_k: RmsNorm,
    add_k_proj: Option<Linear>,
    add_v_proj: Option<Linear>,
    norm_added_k: Option<RmsNorm>,
    #[module(skip)]
    split: MultiHead,
}

/// What blocks attend to besides the tokens: embedded text and, where the model is shown one, an embedded picture.
pub(super) struct Context {
    /// `[batch, tokens, dim]`
    pub(super) text: Tensor<3>,
    /// `[batch, tokens, dim]`
    pub(super) picture: Option<Tensor<3>>,
}

/// A block's keys and values of a [`Context`], which stay the same from step to step.
#[derive(Debug, Clone)]
pub(super) struct ContextKeys {
    text: [Tensor<3>; 2],
    picture: Option<[Tensor<3>; 2]>,
}

impl ContextKeys {
    /// Those of the last clip alone.
    pub(super) fn last(&self) -> Self {
        let last = |[key, value]: &[Tensor<3>; 2]| {
            [key, value].map(|x| {
                let batch = x.dims()[0];
                x.clone().narrow(0, batch - 1, 1)
            })
        };
        Self {
            text: last(&self.text),
            picture: self.picture.as_ref().map(last),
        }
    }
}

impl WanAttention {
    /// `sees_pictures`: with keys and values for pictures, where the configuration has any.
    pub(super) fn new(config: &WanTransformerConfig, sees_pictures: bool, device: &Device) -> Self {
        let split = config.split();
        let dim = split.inner_dim();
        let layer = || linear(dim, dim, true, device);
        let norm = || RmsNorm::new(dim, config.eps, device);
        let has_picture = sees_pictures && config.image_dim.is_some();
        Self {
            to_q: layer(),
            to_k: layer(),
            to_v: layer(),
            to_out: vec![layer()],
            norm_q: norm(),
            norm_k: norm(),
            add_k_proj: has_picture.then(layer),
            add_v_proj: has_picture.then(layer),
            norm_added_k: has_picture.then(norm),
            split,
        }
    }

    /// # Shapes
    /// - x: `[batch, tokens, dim]`, unchanged
    pub(super) fn to_itself(&self, x: Tensor<3>, rotation: &Rotation, products: Products) -> Tensor<3> {
        let turned = |layer, norm: &RmsNorm| {
            let projected = norm.forward(products.project(layer, x.clone()));
            rotation.forward(projected, self.split)
        };
        let (query, key) = (turned(&self.to_q, &self.norm_q), turned(&self.to_k, &self.norm_k));
        let value = products.project(&self.to_v, x);
        products.project(&self.to_out[0], attention(query, key, value, self.split, false))
    }

    /// Added to `residual`, attention to text and, separately, to a picture.
    ///
    /// # Shapes
    /// - x, residual: `[batch, tokens, dim]`, or of fewer clips, which are for all prompts
    /// - output: `[batch, tokens, dim]`, with the batch of the keys
    pub(super) fn to_context(
        &self,
        x: Tensor<3>,
        keys: &ContextKeys,
        residual: Tensor<3>,
        products: Products,
    ) -> Tensor<3> {
        let batch = keys.text[0].dims()[0];
        let query = for_all_prompts(self.norm_q.forward(products.project(&self.to_q, x)), batch);
        let attend =
            |[key, value]: &[Tensor<3>; 2]| attention(query.clone(), key.clone(), value.clone(), self.split, false);
        let attended = attend(&keys.text);
        let attended = match &keys.picture {
            Some(picture) => t2v_kernels::add(attended, attend(picture)),
            None => attended,
        };
        products.project_add(&self.to_out[0], attended, for_all_prompts(residual, batch))
    }

    /// Keys and values of what is attended to.
    pub(super) fn context_keys(&self, context: &Context) -> ContextKeys {
        let pair = |key: &Linear, norm: &RmsNorm, value: &Linear, x: &Tensor<3>| {
            [norm.forward(project(key, x.clone())), project(value, x.clone())]
        };
        let own = (&self.add_k_proj, &self.norm_added_k, &self.add_v_proj);
        let picture = match (own, &context.picture) {
            ((Some(key), Some(norm), Some(value)), Some(picture)) => Some(pair(key, norm, value, picture)),
            _ => None,
        };
        ContextKeys {
            text: pair(&self.to_k, &self.norm_k, &self.to_v, &context.text),
            picture,
        }
    }
}
