//! Benchmarks of t2v: see `benches/`, on GPUs `GPU.md`. What several of them share is here.
//!
//! [`exit_code`] ends a program with one sentence, [`Target::from_env`] says where all of them run, [`Stages`] runs a model's networks one by one, [`warm_up`] has a device
//! compile and measure its kernels before anything is timed.

use std::process::ExitCode;

mod in_dtype;
mod stages;
mod target;
mod warm_up;
mod work;

pub use in_dtype::in_dtype;
pub use stages::Stages;
pub use target::Target;
pub use warm_up::{WarmUp, warm_up};
pub use work::{Clip, Work};

/// Why a stage didn't run.
pub type Error = Box<dyn std::error::Error>;

/// How a program ends, with one sentence on stderr where it failed.
#[must_use]
pub fn exit_code(result: Result<(), Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
