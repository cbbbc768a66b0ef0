//! Programs that use t2v: see `examples/`. Here is what they share.

mod frames;
mod model;
pub mod tiny_world;

use std::{error::Error, process::ExitCode};

pub use frames::{open_frames, save_frames};
pub use model::ModelArgs;

/// The end of a program: an error is one sentence on stderr and a failure.
pub fn exit_code(result: Result<(), Box<dyn Error>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
