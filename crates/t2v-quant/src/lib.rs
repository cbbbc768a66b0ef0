//! Weights in quantised blocks, as GGUF files have them.
//!
//! A row of a matrix is cut into blocks of 32 or 256 values, each of which has a scale or several and a few bits for a value:
//! [`BlockFormat`] says how long a block is and [widens](BlockFormat::widen) parts of rows to f32. Formulas are those of GGML
//! (`ggml/src/ggml-quants.c`), computed in f32 in the same order, so that values equal those of its reference to the bit.
//!
//! The key decision: a [`Quantized`] weight is a reparameterisation of Burn's `Param`. A layer stays Burn's own `Linear`, whoever
//! asks its parameter for a value gets all of it in f32, and operators that know of blocks (`t2v-kernels`) look for them with
//! [`Quantized::of`] and widen them a part at a time.

mod format;
mod formats;
mod parameter;

pub use format::{BlockFormat, GROUP};
pub use parameter::Quantized;
