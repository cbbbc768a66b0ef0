//! The program: opens the model, encodes the data, trains, saves.

use std::{
    error::Error,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use burn::module::Module;
use indicatif::{ProgressBar, ProgressStyle};
use t2v_denoiser::Denoiser;
use t2v_pipeline::{Device, DeviceName, Hub, HubModel};
use t2v_train::{Base, Dataset, Denoisers, LoraLabel, SavedState, TrainError, Trainer, save_lora};
use t2v_weights::ModelFolder;

use crate::args::Args;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How much of the shown loss is that of the last step.
const NEW_LOSS: f64 = 0.05;
/// The status of a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;
/// The components that a base is made of.
const COMPONENTS: [&str; 4] = ["text_encoder", "unet", "vae", "motion_adapter"];

pub(crate) fn run(args: &Args) -> Result<()> {
    let settings = args.settings();
    settings.check()?;
    check_files(args)?;
    let base = open_base(&args.model, &args.device.parse::<DeviceName>()?.device()?)?;
    let data = encode(args, &base)?;
    let denoiser = base.denoiser()?;
    let (noise, device) = (base.noise().clone(), base.device());
    match denoiser {
        Denoisers::UNet3d(network) => train(args, &base, &data, Trainer::new(network, noise, settings, device)?),
        Denoisers::UNet2d(network) => train(args, &base, &data, Trainer::new(network, noise, settings, device)?),
        _ => Err("this model's denoiser is not trained on".into()),
    }
}

/// What is known to fail in the end fails at once.
fn check_files(args: &Args) -> Result<()> {
    let (out, state) = (args.out.display(), args.state_file());
    if args.out.extension().is_none_or(|extension| extension != "safetensors") {
        return Err(format!("--out is `{out}`; the name of a LoRA ends in .safetensors").into());
    }
    let folder = args.out.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        return Err(format!("--out is `{out}`, and there is no folder `{}`", folder.display()).into());
    }
    let state_file = state.display();
    match (args.resume, state.is_file()) {
        (true, false) => Err(format!("there is nothing to resume: no `{state_file}`").into()),
        (false, true) => Err(format!(
            "`{state_file}` is the state of an interrupted training: go on with --resume, or remove it to begin anew"
        )
        .into()),
        _ => Ok(()),
    }
}

fn open_base(model: &str, device: &Device) -> Result<Base> {
    let path = Path::new(model);
    if model == "tiny-world" {
        return Ok(Base::tiny_world(device)?);
    }
    if path.is_dir() {
        let canonical = path.canonicalize();
        let name = canonical
            .as_deref()
            .unwrap_or(path)
            .file_name()
            .unwrap_or(path.as_os_str());
        return Ok(Base::new(ModelFolder::open(path)?, &name.to_string_lossy(), device)?);
    }
    match HubModel::new(model) {
        Ok(hub_model) => {
            let folder = Hub::default().open(&hub_model, &COMPONENTS)?;
            Ok(Base::new(folder, model, device)?)
        }
        Err(_) => Err(format!("there is no model folder `{model}`; or give tiny-world or a hub's owner/name").into()),
    }
}

fn encode(args: &Args, base: &Base) -> Result<Dataset> {
    let size = args.size(base.usual_size()?);
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template("encoding {bar:30} {pos}/{len} clips")?);
    let told = |done: usize, all: usize| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    };
    let data = Dataset::open(&args.data, &size, args.trigger.as_deref(), base, told)?;
    bar.finish();
    for note in data.notes() {
        eprintln!("note: {note}");
    }
    Ok(data)
}

fn train<N: Module + Denoiser>(args: &Args, base: &Base, data: &Dataset, mut trainer: Trainer<N>) -> Result<()> {
    let (state_file, sha256) = (args.state_file(), base.sha256()?);
    // What a state must have in common with a training that goes on from it.
    let run = format!("{} ({sha256}) on {} clips", base.name(), data.examples().len());
    if args.resume {
        trainer.restore(SavedState::open(&state_file, &run, base.device())?)?;
    }
    let (adapted, parameters) = (trainer.adapters().layers().len(), trainer.adapters().parameters());
    eprintln!(
        "{} clips, {adapted} layers of {}, {parameters} trained numbers",
        data.examples().len(),
        base.name()
    );
    let finished = steps(args, data, &mut trainer, &|trainer: &Trainer<N>| {
        Ok(trainer.state().save(&state_file, &run)?)
    })?;
    if !finished {
        let (done, file) = (trainer.steps_done(), state_file.display());
        eprintln!("interrupted after {done} steps; `{file}` keeps them: go on with --resume");
        std::process::exit(INTERRUPTED);
    }
    let label = LoraLabel {
        trigger: args.trigger.clone(),
        base: base.name().to_owned(),
        base_sha256: sha256,
        steps: trainer.steps_done(),
    };
    save_lora(&args.out, &trainer.result(), &label, trainer.settings())?;
    if state_file.is_file() {
        fs::remove_file(&state_file)?;
    }
    eprintln!("saved `{}`", args.out.display());
    Ok(())
}

type Keep<'a, N> = &'a dyn Fn(&Trainer<N>) -> Result<()>;

/// Trains to the last step, or until it is interrupted: then it is false, and the state is kept.
fn steps<N: Module + Denoiser>(
    args: &Args,
    data: &Dataset,
    trainer: &mut Trainer<N>,
    keep: Keep<'_, N>,
) -> Result<bool> {
    let interrupted = on_ctrl_c()?;
    let (bar, all) = (progress_bar(trainer)?, trainer.settings().steps);
    let mut shown: Option<f64> = None;
    while trainer.steps_done() < all {
        if interrupted.load(Ordering::Relaxed) {
            bar.abandon();
            keep(trainer)?;
            return Ok(false);
        }
        let report = match trainer.step(data) {
            Err(fault @ TrainError::NotFinite { .. }) => {
                bar.abandon();
                keep(trainer)?;
                return Err(format!("{fault}; `{}` keeps them", args.state_file().display()).into());
            }
            other => other?,
        };
        let mean = shown.map_or(report.loss, |shown| shown + NEW_LOSS * (report.loss - shown));
        shown = Some(mean);
        bar.set_message(format!("loss {mean:.4}, gradient {:.3}", report.gradient_norm));
        bar.set_position(report.step as u64);
        if args.state_every > 0 && report.step % args.state_every == 0 {
            keep(trainer)?;
        }
    }
    bar.finish();
    Ok(true)
}

fn progress_bar<N: Module + Denoiser>(trainer: &Trainer<N>) -> Result<ProgressBar> {
    let style = "training {bar:30} {pos}/{len} {msg}, {per_sec}, {eta} left";
    let bar = ProgressBar::new(trainer.settings().steps as u64).with_style(ProgressStyle::with_template(style)?);
    bar.set_position(trainer.steps_done() as u64);
    bar.reset_eta();
    Ok(bar)
}

/// Set by the first Ctrl-C; the second ends the program.
fn on_ctrl_c() -> Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&interrupted);
    ctrlc::set_handler(move || {
        if set.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED);
        }
        eprintln!("stopping after this step; once more ends at once");
    })?;
    Ok(interrupted)
}
