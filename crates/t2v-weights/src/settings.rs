//! What a model folder hands on to its components and their weights.

/// How weights are chosen and checked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// Which weight files are wanted, such as `fp16`.
    pub(crate) variant: Option<String>,
    /// Whether keys that the module lacks are an error.
    pub(crate) strict: bool,
}
