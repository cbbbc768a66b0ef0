//! Counts the kernels that a GPU is asked to run for one denoising step, and for decoding, of the embedded model or of a folder.
//!
//! A step is what a run of two steps launches more than one of one; the first run of all, which measures kernels, is left
//! out. The count depends on the backend and on what its fusion finds, so it is that of the device at hand.
//!
//! ```text
//! cargo run --release -p t2v-benches --features wgpu --example launches -- wgpu f32 [MODEL_FOLDER]
//! ```

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use burn::cubecl::logging::{LaunchObservation, LaunchObserver};
use t2v_benches::Error;
use t2v_pipeline::{DeviceName, Dtype, GenerateOptions, Pipeline, Placement, Stage, TextToVideoRequest};

type Counts = BTreeMap<(&'static str, &'static str), usize>;

/// Launches by stage and kernel.
#[derive(Default)]
struct Launches {
    stage: Mutex<&'static str>,
    counts: Mutex<Counts>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LaunchObserver for Launches {
    fn launched(&self, kernel: &'static str) {
        let stage = *locked(&self.stage);
        *locked(&self.counts).entry((stage, kernel)).or_default() += 1;
    }
}

fn run(pipeline: &Pipeline, steps: u32) -> Result<Counts, Error> {
    let launches = Arc::new(Launches::default());
    let watching = LaunchObservation::new(launches.clone());
    let request = TextToVideoRequest::new("a red ball bouncing in a blue sky")
        .with_scheduler("DDIM")
        .with_num_inference_steps(steps)
        .with_seed(0);
    let told = Arc::clone(&launches);
    let mut options = GenerateOptions::default();
    options.on_progress = Some(Box::new(move |progress| {
        *locked(&told.stage) = match progress.stage {
            Stage::Denoising => "step",
            Stage::Decoding => "decoding",
            _ => "before",
        };
    }));
    pipeline.generate_with(&request, options)?;
    drop(watching);
    Ok(locked(&launches.counts).clone())
}

fn print(title: &str, mut kernels: Vec<(&str, usize)>) {
    kernels.retain(|(_, count)| *count > 0);
    kernels.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    println!(
        "{title}: {} launches",
        kernels.iter().map(|(_, count)| count).sum::<usize>()
    );
    for (kernel, count) in kernels {
        println!("{count:>6}  {kernel}");
    }
}

fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [device, dtype, ..] = &args[..] else {
        return Err("usage: launches DEVICE DTYPE [MODEL_FOLDER]".into());
    };
    let device = device.parse::<DeviceName>()?.device()?;
    let placement = Placement::new(&device).with_dtype(dtype.parse::<Dtype>()?);
    let pipeline = match args.get(2) {
        Some(folder) => Pipeline::from_dir(folder.as_str(), placement)?,
        None => Pipeline::embedded(placement)?,
    };
    run(&pipeline, 2)?;
    let (two, one) = (run(&pipeline, 2)?, run(&pipeline, 1)?);
    let of = |stage| two.iter().filter(move |((of, _), _)| *of == stage);
    let step = of("step").map(|((_, kernel), count)| {
        let before = one.get(&("step", *kernel)).copied().unwrap_or(0);
        (*kernel, count.saturating_sub(before))
    });
    print("one step", step.collect());
    print(
        "decoding",
        of("decoding").map(|((_, kernel), count)| (*kernel, *count)).collect(),
    );
    Ok(())
}
