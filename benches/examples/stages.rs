//! Times stages of a model: reads a stage a line, as `step 16 256 256`, answers with its seconds.
//!
//! ```text
//! .venv/bin/python scripts/make_random_modelscope.py /tmp/ms
//! echo "text encoder" | cargo run --release -p t2v-benches --example stages -- /tmp/ms
//! ```
//!
//! `T2V_DEVICE` and `T2V_DTYPE` say where and in which type. `benches/compare/stages.py` runs it in turn with diffusers.

use std::{io::BufRead, process::ExitCode};

use t2v_benches::{Error, Stages, Target};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Error> {
    let mut paths = std::env::args().skip(1);
    let folder = paths.next().ok_or("usage: stages MODEL_FOLDER [MOTION_ADAPTER]")?;
    let target = Target::from_env()?;
    let mut stages = match paths.next() {
        Some(adapter) => Stages::with_motion_adapter(folder, adapter.as_ref(), &target)?,
        None => Stages::open(folder, &target)?,
    };
    for line in std::io::stdin().lock().lines() {
        println!("{}", stages.run(line?.parse()?)?.as_secs_f64());
    }
    Ok(())
}
