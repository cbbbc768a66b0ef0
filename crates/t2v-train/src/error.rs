//! What can go wrong with training.

use std::path::Path;

/// Why nothing was trained, or no further. Each message names the field, file or option at fault, and what would be right.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A setting that no training can have.
    #[error("`{name}` {reason}")]
    Setting {
        /// The setting's name.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A model that can't be trained on.
    #[error("the base {name}: {reason}")]
    Base {
        /// The model's name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A data set with faults; all of them.
    #[error("{}", list(folder, faults))]
    Data {
        /// The folder.
        folder: String,
        /// One sentence each.
        faults: Vec<String>,
    },
    /// A file that can't be read or written.
    #[error("`{path}`: {reason}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The loss or a gradient is no number any more.
    #[error(
        "the loss of step {step} is not a number; the adapters are those after step {kept}, with which it still was one: try a \
         lower learning rate than {learning_rate:e}"
    )]
    NotFinite {
        /// The step, from 1.
        step: usize,
        /// That of the step.
        learning_rate: f64,
        /// The step whose adapters are kept; 0 for new ones.
        kept: usize,
    },
    /// The curve of the losses can't be drawn.
    #[error("the curve of the losses can't be drawn: {reason}")]
    Curve {
        /// Why.
        reason: String,
    },
    /// A model folder that can't be read.
    #[error(transparent)]
    Weights(#[from] t2v_weights::WeightsError),
    /// A denoiser that can't be built.
    #[error(transparent)]
    Denoiser(#[from] t2v_denoiser::DenoiserError),
    /// An autoencoder that can't be built.
    #[error(transparent)]
    Vae(#[from] t2v_vae::VaeError),
    /// A text encoder that can't be built, or a caption that it can't read.
    #[error(transparent)]
    Text(#[from] t2v_text_encoder::TextEncoderError),
    /// A scheduler's configuration that can't be used.
    #[error(transparent)]
    Scheduler(#[from] t2v_schedulers::SchedulerError),
}

fn list(folder: &str, faults: &[String]) -> String {
    match faults {
        [fault] => format!("the data in `{folder}`: {fault}"),
        _ => {
            let lines: Vec<String> = faults.iter().map(|fault| format!("\n  {fault}")).collect();
            format!("the data in `{folder}` have {} faults:{}", faults.len(), lines.concat())
        }
    }
}

pub(crate) fn setting(name: &'static str, reason: impl Into<String>) -> TrainError {
    let reason = reason.into();
    TrainError::Setting { name, reason }
}

pub(crate) fn file(path: &Path, reason: impl ToString) -> TrainError {
    TrainError::File {
        path: path.display().to_string(),
        reason: reason.to_string(),
    }
}
