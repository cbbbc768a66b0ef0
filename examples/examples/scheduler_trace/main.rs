//! Prints the schedule of a scheduler and where it takes a small made-up sample.
//!
//! Run with
//!
//! ```text
//! cargo run --release -p t2v-examples --example scheduler_trace -- --scheduler DDIM --num-inference-steps 20
//! ```
//!
//! The loop is that of diffusers' own scheduler tests, so the line that it prints can be compared with diffusers: the
//! model is `sample * t / (t + 1)`, the sample a ramp of shape (4, 3, 8, 8), noise comes from torch's generator.

mod plot;
mod trace;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use serde_json::{Map, Value};
use t2v_examples::program;
use t2v_schedulers::{SchedulerError, SchedulerKind, for_model, from_config, kind_of_config};
use t2v_weights::parse_json;

type Error = Box<dyn std::error::Error>;

#[derive(Parser)]
#[command(
    about = "Prints the schedule of a scheduler and where it takes a made-up sample, as JSON",
    version
)]
struct Args {
    /// A scheduler, with or without the suffix "Scheduler"; repeat it for one line each
    #[arg(long, value_name = "NAME", required_unless_present = "config")]
    scheduler: Vec<String>,
    /// A scheduler_config.json, which may be that of another scheduler
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets or overrides an option; the value is JSON, as in prediction_type=\"v_prediction\"
    #[arg(long, value_name = "KEY=JSON")]
    set: Vec<String>,
    #[arg(long, default_value_t = 10)]
    num_inference_steps: usize,
    /// Seed of the noise
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Runs the forms for models that predict noise, velocity or clean samples at the noise levels of the configuration,
    /// instead of diffusers' own forms of IPNDM, KarrasVe and ScoreSdeVe
    #[arg(long)]
    for_model: bool,
    /// Draws noise levels and timesteps
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

fn main() -> ExitCode {
    program(run)
}

fn run(args: &Args) -> Result<(), Error> {
    let config = config(args)?;
    let kinds = match args.scheduler.as_slice() {
        [] => vec![kind_of_config(&config)?],
        names => names
            .iter()
            .map(|name| name.parse())
            .collect::<Result<_, SchedulerError>>()?,
    };
    let mut traces = Vec::new();
    for kind in kinds {
        warn_of_unknown(kind, &config, args);
        let trace = match args.for_model {
            true => trace::trace_for_model(kind, &config, args.num_inference_steps, args.seed)?,
            false => trace::trace(kind, &config, args.num_inference_steps, args.seed)?,
        };
        println!("{}", serde_json::to_string(&trace)?);
        traces.push(trace);
    }
    if let Some(path) = &args.plot {
        plot::save(&traces, path)?;
    }
    Ok(())
}

/// The configuration file with the options of the command line.
fn config(args: &Args) -> Result<Value, Error> {
    let mut config = match &args.config {
        None => Map::new(),
        Some(path) => {
            let bytes = std::fs::read(path).map_err(|e| format!("cannot read `{}`: {e}", path.display()))?;
            parse_json(&path.display().to_string(), &bytes)?
        }
    };
    for option in &args.set {
        let (key, value) = set_option(option)?;
        if let Some(Value::Array(defaulted)) = config.get_mut("_use_default_values") {
            defaulted.retain(|name| name != key);
        }
        config.insert(key.to_owned(), value);
    }
    Ok(Value::Object(config))
}

fn set_option(option: &str) -> Result<(&str, Value), Error> {
    let fault = || format!("--set takes KEY=JSON, with words in quotes as in 'KEY=\"word\"', not `{option}`");
    let (key, json) = option.split_once('=').ok_or_else(fault)?;
    let object = parse_json(key, format!("{{\"value\": {json}}}").as_bytes()).map_err(|_| fault())?;
    Ok((key, object["value"].clone()))
}

/// An option that a scheduler does not know is ignored, as in diffusers, but its user should learn of it.
fn warn_of_unknown(kind: SchedulerKind, config: &Value, args: &Args) {
    for key in args
        .set
        .iter()
        .filter_map(|option| option.split_once('='))
        .map(|(key, _)| key)
    {
        // A known option refuses a value of a type that none has.
        let mut probe = config.clone();
        probe[key] = serde_json::json!({ "": null });
        let taken = match args.for_model {
            true => for_model(kind, &probe).is_ok(),
            false => from_config(kind, &probe).is_ok(),
        };
        if !key.starts_with('_') && taken {
            eprintln!("warning: {kind} has no option `{key}`");
        }
    }
}
