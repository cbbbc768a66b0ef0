//! Stages of a model, as they are asked for.
//!
//! After a first line with the seconds that loading took, each line that is read is answered by one: a stage's words by its
//! `seconds`, `memory` by what the device has given away, `release` (which frees what pools keep) likewise, anything else,
//! and whatever fails, by an `error`.

use std::{io::BufRead, time::Instant};

use clap::Args;
use serde_json::{Value, json};
use t2v_benches::{Error, Stages, Target};

use crate::{On, guard::guarded, memory};

#[derive(Args)]
pub(crate) struct Options {
    /// A model folder, or "tiny-world"
    model: String,
    #[command(flatten)]
    on: On,
}

pub(crate) fn run(options: &Options) -> Result<(), Error> {
    let target = options.on.target()?;
    let start = Instant::now();
    let mut stages = match options.model.as_str() {
        "tiny-world" => Stages::embedded(&target)?,
        folder => Stages::open(folder, &target)?,
    };
    guarded(|| stages.load())?;
    println!("{}", json!({ "load_seconds": start.elapsed().as_secs_f64() }));
    for line in std::io::stdin().lock().lines() {
        let answer = answer(&mut stages, &target, line?.trim());
        println!(
            "{}",
            answer.unwrap_or_else(|error| json!({ "error": error.to_string() }))
        );
    }
    Ok(())
}

fn answer(stages: &mut Stages, target: &Target, line: &str) -> Result<Value, Error> {
    match line {
        "memory" => Ok(memory::usage(target.device())),
        "release" => {
            target.device().sync()?;
            t2v_kernels::release_memory(target.device());
            Ok(memory::usage(target.device()))
        }
        words => {
            let work = words.parse()?;
            let time = guarded(|| stages.run(work))?;
            Ok(json!({ "seconds": time.as_secs_f64() }))
        }
    }
}
