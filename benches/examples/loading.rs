//! Loads all networks of a model and prints the seconds that it took, from opening the folder to a pipeline that can generate.
//!
//! ```text
//! .venv/bin/python scripts/make_random_modelscope.py /tmp/ms
//! cargo run --release -p t2v-benches --example loading -- /tmp/ms
//! ```
//!
//! `T2V_DEVICE` and `T2V_DTYPE` say where and in which type. `benches/compare/loading.py` runs it in turn with diffusers.

use std::{process::ExitCode, time::Instant};

use t2v_benches::{Error, Target, exit_code};
use t2v_pipeline::Pipeline;

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> Result<(), Error> {
    let folder = std::env::args().nth(1).ok_or("usage: loading MODEL_FOLDER")?;
    let target = Target::from_env()?;
    let start = Instant::now();
    let pipeline = Pipeline::from_dir(folder, target.placement().clone())?;
    pipeline.preload()?;
    println!("{}", start.elapsed().as_secs_f64());
    Ok(())
}
