//! Programs that use t2v: see `examples/`. Here is what they share.

mod model;

pub use model::ModelArgs;
