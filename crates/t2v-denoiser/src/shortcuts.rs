//! What a call gives of its exactness for its speed.

use t2v_kernels::Products;

use crate::DeepFeatures;

/// What a call of a network gives of its exactness for its speed. By default nothing.
#[derive(Debug, Default)]
pub struct Shortcuts<'a> {
    /// With `Keep`, the features of the network's deep part are kept, which changes no value; with `Reuse`, those that were kept take the
    /// place of most of its layers: in much less time, with an error that grows from call to call. A network that
    /// [can't](crate::Denoiser::reuses_features) runs whole.
    pub deep: Option<DeepFeatures<'a>>,
    /// What the linear layers of its transformer blocks multiply in. All else is exact: what becomes of the timestep and of the text,
    /// convolutions, and the first and the last layers.
    pub products: Products,
}

impl<'a> From<DeepFeatures<'a>> for Shortcuts<'a> {
    fn from(deep: DeepFeatures<'a>) -> Self {
        Self {
            deep: Some(deep),
            ..Self::default()
        }
    }
}
