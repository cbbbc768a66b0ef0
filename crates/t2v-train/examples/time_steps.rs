//! Times steps of a training, for `benches/compare/train.py`: each line of standard input is a number of steps, each answer the
//! seconds that they took.
//!
//! Run with
//!
//! ```text
//! cargo run --release -p t2v-train --example time_steps -- --data clips --rank 16 --batch-size 4
//! ```

use std::{
    error::Error,
    io::{self, BufRead, Write},
    num::NonZeroUsize,
    path::PathBuf,
    process::ExitCode,
    time::Instant,
};

use clap::Parser;
use t2v_examples::program;
use t2v_pipeline::DeviceName;
use t2v_train::{Base, Dataset, Denoisers, TrainSettings, Trainable, Trainer};
use t2v_weights::ModelFolder;

#[derive(Parser)]
#[command(about = "Times steps of a training", version)]
struct Args {
    /// A model folder in diffusers' layout; tiny-world without
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Folder of clips with captions
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    #[arg(long, default_value_t = 16)]
    rank: usize,
    #[arg(long, default_value_t = 4)]
    batch_size: usize,
    /// Clips of a step that are computed at the same time
    #[arg(long, default_value = "1")]
    clips_at_once: NonZeroUsize,
    #[arg(long, default_value = "flex")]
    device: String,
}

fn main() -> ExitCode {
    program(run)
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let device = args.device.parse::<DeviceName>()?.device()?;
    let base = match &args.model {
        Some(folder) => Base::new(ModelFolder::open(folder)?, "model", &device)?,
        None => Base::tiny_world(&device)?,
    };
    let data = Dataset::open(&args.data, &base.usual_size()?, None, &base, |_, _| ())?;
    let mut settings = TrainSettings::default();
    settings.rank = args.rank;
    settings.alpha = args.rank as f64;
    settings.batch_size = args.batch_size;
    let noise = base.noise().clone();
    match base.denoiser()? {
        Denoisers::UNet3d(network) => answer(args, &data, Trainer::new(network, noise, settings, &device)?),
        Denoisers::UNet2d(network) => answer(args, &data, Trainer::new(network, noise, settings, &device)?),
        _ => Err("this model's denoiser is not trained on".into()),
    }
}

fn answer<N: Trainable>(args: &Args, data: &Dataset, trainer: Trainer<N>) -> Result<(), Box<dyn Error>> {
    let mut trainer = trainer.with_clips_at_once(args.clips_at_once);
    println!("{}", trainer.adapters().parameters());
    for line in io::stdin().lock().lines() {
        let steps: usize = line?.trim().parse()?;
        let start = Instant::now();
        for _ in 0..steps {
            trainer.step(data)?;
        }
        println!("{}", start.elapsed().as_secs_f64());
        io::stdout().flush()?;
    }
    Ok(())
}
