//! `t2v-train`: a LoRA from a folder of clips.

mod args;
mod model;
mod run;
mod sample;
mod session;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match run::run(&args::Args::parse()) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("t2v-train: {error}");
            ExitCode::FAILURE
        }
    }
}
