//! Times stages of a model: reads a stage a line, as `step 16 256 256`, answers with its seconds.
//!
//! ```text
//! .venv/bin/python scripts/make_random_modelscope.py /tmp/ms
//! echo "text encoder" | cargo run --release -p t2v-benches --example stages -- /tmp/ms
//! ```
//!
//! `T2V_DEVICE` and `T2V_DTYPE` say where and in which type. `benches/compare/stages.py` runs it in turn with diffusers.

use std::{io::BufRead, path::Path, process::ExitCode};

use t2v_benches::{Error, Stages, Target, exit_code};

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> Result<(), Error> {
    let mut paths = std::env::args().skip(1);
    let folder = paths
        .next()
        .ok_or("usage: stages MODEL_FOLDER [MOTION_ADAPTER or WAN_TRANSFORMER]")?;
    let part = paths.next();
    let mut stages = Stages::with_part(folder, part.as_ref().map(Path::new), &Target::from_env()?)?;
    for line in std::io::stdin().lock().lines() {
        println!("{}", stages.run(line?.parse()?)?.as_secs_f64());
    }
    Ok(())
}
