//! Runs the stages of a ModelScope checkpoint, one run for each line of the input, and prints how long it took.
//!
//! Run with
//!
//! ```text
//! .venv/bin/python scripts/make_random_modelscope.py /tmp/ms
//! echo "text encoder" | cargo run --release -p t2v-benches --example stages -- /tmp/ms
//! ```
//!
//! `benches/compare/stages.py` runs it in turn with diffusers.

use std::io::BufRead;

use t2v_benches::{Error, Stages};

fn main() -> Result<(), Error> {
    let folder = std::env::args().nth(1).ok_or("usage: stages MODEL_FOLDER")?;
    let mut stages = Stages::open(folder)?;
    for line in std::io::stdin().lock().lines() {
        println!("{}", stages.run(&line?)?);
    }
    Ok(())
}
