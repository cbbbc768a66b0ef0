//! The program: opens the model, encodes the data, trains, saves.

use std::{error::Error, fs, path::Path, process::ExitCode};

use indicatif::{ProgressBar, ProgressStyle};
use t2v_pipeline::{CancelToken, DeviceName, check_output};
use t2v_train::{Base, ClipSize, Dataset, Denoisers, SavedState, TrainSettings, Trainable, Trainer};

use crate::{args::Args, model, sample::Sampler, session::Session};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The status of a program that Ctrl-C ended.
pub(crate) const INTERRUPTED: u8 = 130;

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let settings = args.settings();
    settings.check()?;
    check_files(args)?;
    let base = model::base(args, &args.device.parse::<DeviceName>()?.device()?)?;
    let size = args.size(base.usual_size()?);
    let cancel = CancelToken::default();
    let sampler = Sampler::new(args, &size, base.device(), &cancel)?;
    let mut data = encode(&args.data, args.trigger.as_deref(), &size, &base)?;
    let known = match &args.known {
        Some(known) => Some(encode(known, None, &size, &base)?.as_known(args.known_weight)),
        None => None,
    };
    if known.is_some() {
        data = data.with_captions_kept();
    }
    let run = Run {
        args,
        base: &base,
        data: &data,
        known: known.as_ref(),
        sampler,
        cancel,
    };
    match base.denoiser()? {
        Denoisers::UNet3d(network) => run.train(network, settings),
        Denoisers::UNet2d(network) => run.train(network, settings),
        Denoisers::Wan(network) => run.train(network, settings),
        _ => Err("this model's denoiser is not trained on".into()),
    }
}

/// What is known to fail in the end fails at once.
fn check_files(args: &Args) -> Result<()> {
    let (out, state) = (args.out.display(), args.state_file());
    if args.out.extension().is_none_or(|extension| extension != "safetensors") {
        return Err(format!("--out is `{out}`; the name of a LoRA ends in .safetensors").into());
    }
    check_output(&args.out)?;
    if let Some(known) = &args.known {
        let name = known.display();
        if !known.is_dir() {
            return Err(format!("--known is `{name}`, which is no folder").into());
        }
        if !(args.known_weight > 0.0 && args.known_weight.is_finite()) {
            return Err(format!("--known-weight is {}; it must be above 0", args.known_weight).into());
        }
        if fs::canonicalize(known).ok() == fs::canonicalize(&args.data).ok() {
            return Err(format!("--known and --data are both `{name}`; what is new is not what is known").into());
        }
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

fn encode(folder: &Path, trigger: Option<&str>, size: &ClipSize, base: &Base) -> Result<Dataset> {
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template("encoding {bar:30} {pos}/{len} clips")?);
    let told = |done: usize, all: usize| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    };
    let data = Dataset::open(folder, size, trigger, base, told)?;
    bar.finish();
    for note in data.notes() {
        eprintln!("note: {note}");
    }
    Ok(data)
}

/// What a training is given.
struct Run<'a> {
    args: &'a Args,
    base: &'a Base,
    data: &'a Dataset,
    known: Option<&'a Dataset>,
    sampler: Option<Sampler>,
    cancel: CancelToken,
}

impl Run<'_> {
    fn train<N: Trainable>(self, network: N, settings: TrainSettings) -> Result<ExitCode> {
        let (args, base) = (self.args, self.base);
        let mut trainer = Trainer::new(network, base.noise().clone(), settings, base.device())?
            .with_clips_at_once(args.clips_at_once);
        if trainer.settings().text_encoder {
            trainer = trainer.with_text_encoder(base.trained_text_encoder()?)?;
        }
        let (state_file, sha256) = (args.state_file(), base.sha256()?);
        // What a state must have in common with a training that goes on from it.
        let mut run = format!("{} ({sha256}) on {} clips", base.name(), self.data.examples().len());
        if let Some(known) = self.known {
            let (clips, weight) = (known.examples().len(), self.args.known_weight);
            run += &format!(", in turn with {clips} that are known, weighted by {weight}");
        }
        if args.resume {
            trainer.restore(SavedState::open(&state_file, &run, base.device())?)?;
        }
        let (adapted, parameters) = (trainer.adapters().layers().len(), trainer.adapters().parameters());
        let clips = self.data.examples().len();
        let known = self.known.map_or(String::new(), |known| {
            format!(" and {} that are known", known.examples().len())
        });
        eprintln!(
            "{clips} clips{known}, {adapted} layers of {}, {parameters} trained numbers",
            base.name()
        );
        let mut session = Session {
            args,
            base,
            sha256,
            run,
            trainer,
            sampler: self.sampler,
        };
        if !session.train(self.data, self.known, &self.cancel)? {
            return Ok(ExitCode::from(INTERRUPTED));
        }
        session.finish()?;
        if state_file.is_file() {
            fs::remove_file(&state_file)?;
        }
        eprintln!("saved `{}`", args.out.display());
        Ok(ExitCode::SUCCESS)
    }
}
