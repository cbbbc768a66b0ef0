//! Linear layers, in torch's memory layout.

use burn::{
    nn::{Linear, LinearConfig, LinearLayout},
    tensor::{DType, Device, Tensor},
};

#[cfg(feature = "cpu-operators")]
use t2v_quant::Quantized;

use crate::{
    Activation, Products, geglu,
    shape::{assert_shape, widths},
};

/// A linear layer whose weight stays `[d_out, d_in]` in memory, as checkpoints store it: the transposition is a view.
#[must_use]
pub fn linear(d_in: usize, d_out: usize, bias: bool, device: &Device) -> Linear {
    LinearConfig::new(d_in, d_out)
        .with_bias(bias)
        .with_layout(LinearLayout::Col)
        .init(device)
}

/// The type that a layer with a bias computes in. Its weight may be of another: see [`takes_half_weights`](crate::takes_half_weights).
#[must_use]
pub fn dtype(layer: &Linear) -> DType {
    layer.bias.as_ref().map_or(layer.weight.dtype(), |bias| bias.dtype())
}

#[track_caller]
fn assert_input(layer: &Linear, x: &Tensor<3>) {
    let [batch, tokens, _] = x.dims();
    assert_shape("the input of a linear layer", x, [batch, tokens, widths(layer)[0]]);
}

/// What the side path of a layer whose weight is in quantised blocks adds to its output, if it has one.
#[cfg(feature = "cpu-operators")]
fn side_path(layer: &Linear, x: &Tensor<3>) -> Option<Tensor<3>> {
    let [up, down] = Quantized::of(&layer.weight)?.side_path()?;
    let [batch, tokens, d_in] = x.dims();
    let x = x.clone().reshape([batch * tokens, d_in]);
    let added = x.matmul(down.transpose()).matmul(up.transpose());
    let [_, d_out] = added.dims();
    Some(added.reshape([batch, tokens, d_out]))
}

/// Applies a linear layer to each token. A transposed view is as fast as tokens in order.
///
/// # Shapes
/// - x: `[batch, tokens, d_in]` -> `[batch, tokens, d_out]`
///
/// # Panics
/// On tokens of another width than the layer's.
#[must_use]
pub fn project(layer: &Linear, x: Tensor<3>) -> Tensor<3> {
    Products::Exact.project(layer, x)
}

/// Applies a linear layer to each token and adds it to `residual`.
///
/// # Shapes
/// - x: `[batch, tokens, d_in]`
/// - residual, output: `[batch, tokens, d_out]`
///
/// # Panics
/// On other shapes.
#[must_use]
pub fn project_add(layer: &Linear, x: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
    Products::Exact.project_add(layer, x, residual)
}

/// Applies a linear layer to the pixels of images and adds it to `residual`, with the channels first again.
///
/// # Shapes
/// - tokens: `[batch, height * width, d_in]`
/// - residual, output: `[batch, d_out, height, width]`
///
/// # Panics
/// On other shapes.
#[must_use]
pub fn project_add_image(layer: &Linear, tokens: Tensor<3>, residual: Tensor<4>) -> Tensor<4> {
    Products::Exact.project_add_image(layer, tokens, residual)
}

/// `out(activation(proj(x)))`. On a CPU what is between the layers exists for some tokens at a time.
///
/// # Shapes
/// - x: `[batch, tokens, d_in]` -> `[batch, tokens, d_out]`
///
/// # Panics
/// On tokens of another width than the first layer's, and on layers that don't belong together.
#[must_use]
pub fn mlp(proj: &Linear, activation: Activation, out: &Linear, x: Tensor<3>) -> Tensor<3> {
    Products::Exact.mlp(proj, activation, out, x)
}

/// `out(geglu(proj(x))) + residual`, the gated feed-forward layer of a transformer.
///
/// # Shapes
/// - x, residual: `[batch, tokens, dim]`, unchanged
///
/// # Panics
/// On other shapes, and on layers that don't belong together.
#[must_use]
pub fn feed_forward(proj: &Linear, out: &Linear, x: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
    Products::Exact.feed_forward(proj, out, x, residual)
}

impl Products {
    /// As [`project`], in these numbers.
    ///
    /// # Panics
    /// As there.
    #[must_use]
    pub fn project(self, layer: &Linear, x: Tensor<3>) -> Tensor<3> {
        assert_input(layer, &x);
        #[cfg(feature = "cpu-operators")]
        let x = {
            let added = side_path(layer, &x);
            match (crate::flex::linear(self, layer, x), added) {
                (Ok(out), None) => return out,
                (Ok(out), Some(added)) => return crate::add(out, added),
                (Err(x), _) => x,
            }
        };
        layer.forward(x)
    }

    /// As [`project_add`], in these numbers.
    ///
    /// # Panics
    /// As there.
    #[must_use]
    pub fn project_add(self, layer: &Linear, x: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
        assert_input(layer, &x);
        let [batch, tokens, _] = x.dims();
        let expected = [batch, tokens, widths(layer)[1]];
        assert_shape("what a linear layer is added to", &residual, expected);
        #[cfg(feature = "cpu-operators")]
        let (x, residual) = {
            let added = side_path(layer, &x);
            match (crate::flex::linear_add(self, layer, x, residual), added) {
                (Ok(out), None) => return out,
                (Ok(out), Some(added)) => return crate::add(out, added),
                (Err(inputs), _) => inputs,
            }
        };
        residual + layer.forward(x)
    }

    /// As [`project_add_image`], in these numbers.
    ///
    /// # Panics
    /// As there.
    #[must_use]
    pub fn project_add_image(self, layer: &Linear, tokens: Tensor<3>, residual: Tensor<4>) -> Tensor<4> {
        let [_, _, height, width] = residual.dims();
        let ([d_in, d_out], batch) = (widths(layer), tokens.dims()[0]);
        let expected = [batch, height * width, d_in];
        assert_shape("the input of a linear layer to an image", &tokens, expected);
        let expected = [batch, d_out, height, width];
        assert_shape("the image that a linear layer is added to", &residual, expected);
        #[cfg(feature = "cpu-operators")]
        let (tokens, residual) = match crate::flex::linear_to_image(self, layer, tokens, residual) {
            Ok(out) => return out,
            Err(inputs) => inputs,
        };
        let shape = residual.dims();
        layer.forward(tokens).swap_dims(1, 2).reshape(shape) + residual
    }

    /// As [`mlp`], in these numbers.
    ///
    /// # Panics
    /// As there.
    #[must_use]
    pub fn mlp(self, proj: &Linear, activation: Activation, out: &Linear, x: Tensor<3>) -> Tensor<3> {
        let ([_, inner], [taken, _]) = (widths(proj), widths(out));
        assert!(
            inner == taken,
            "two linear layers of which the first gives {inner} channels and the second takes {taken}"
        );
        assert_input(proj, &x);
        #[cfg(feature = "cpu-operators")]
        let x = match crate::flex::mlp(self, [proj, out], activation, x) {
            Ok(out) => return out,
            Err(x) => x,
        };
        self.project(out, activation.forward(self.project(proj, x)))
    }

    /// As [`feed_forward`], in these numbers.
    ///
    /// # Panics
    /// As there.
    #[must_use]
    pub fn feed_forward(self, proj: &Linear, out: &Linear, x: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
        let ([dim, wide], [inner, d_out]) = (widths(proj), widths(out));
        assert!(
            wide == 2 * inner && d_out == dim,
            "a gated feed-forward layer of {dim} to {wide} and {inner} to {d_out} channels: the first gives values and gates, \
             twice what the second takes, and the second as many as the first takes"
        );
        assert_input(proj, &x);
        assert_shape("what a feed-forward layer is added to", &residual, x.dims());
        #[cfg(feature = "cpu-operators")]
        let [x, residual] = match crate::flex::feed_forward(self, [proj, out], x, residual) {
            Ok(out) => return out,
            Err(inputs) => inputs,
        };
        self.project_add(out, geglu(self.project(proj, x)), residual)
    }
}
