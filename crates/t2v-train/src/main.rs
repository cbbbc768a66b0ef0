//! `t2v-train`: a LoRA from a folder of clips.

mod args;
mod run;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match run::run(&args::Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("t2v-train: {error}");
            ExitCode::FAILURE
        }
    }
}
