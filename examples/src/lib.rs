//! Programs that use t2v: see `examples/`. Here is what they share.

mod frames;
mod model;
pub mod tiny_world;

use std::{error::Error, io::Write, process::ExitCode};

use clap::Parser;

pub use frames::{open_frames, save_frames};
pub use model::ModelArgs;

/// A program: parses its arguments, shows the library's warnings on stderr (`RUST_LOG` asks for more), and ends with a
/// failure and one sentence where `run` does.
pub fn program<A: Parser>(run: impl FnOnce(&A) -> Result<(), Box<dyn Error>>) -> ExitCode {
    let environment = env_logger::Env::default().default_filter_or("warn,wgpu_hal=off,naga=off");
    env_logger::Builder::from_env(environment)
        .format(|line, record| writeln!(line, "{}: {}", record.level().as_str().to_lowercase(), record.args()))
        .init();
    // A panic of another thread reaches this one as an error, which is told in one sentence.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| match std::thread::current().name() {
        Some("main") => usual(panic),
        _ => log::debug!("{panic}"),
    }));
    let args = match A::try_parse() {
        Ok(args) => args,
        // Help and version go to stdout.
        Err(answer) if !answer.use_stderr() => answer.exit(),
        Err(error) => {
            // One sentence; behind an empty line come usage and hints.
            let error = error.to_string();
            let lines: Vec<&str> = error
                .lines()
                .take_while(|line| !line.is_empty())
                .map(str::trim)
                .collect();
            eprintln!("{}", lines.join(" "));
            return ExitCode::FAILURE;
        }
    };
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
