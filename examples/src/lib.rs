//! Programs that use t2v: see `examples/`. Here is what they share.

mod frames;
mod model;
pub mod tiny_world;

use std::{error::Error, process::ExitCode};

pub use frames::{open_frames, save_frames};
pub use model::ModelArgs;

/// Shows the library's warnings on stderr, a line each; `RUST_LOG` asks for more.
pub fn show_warnings() {
    use std::io::Write;
    let environment = env_logger::Env::default().default_filter_or("warn");
    env_logger::Builder::from_env(environment)
        .format(|line, record| writeln!(line, "{}: {}", record.level().as_str().to_lowercase(), record.args()))
        .init();
}

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
