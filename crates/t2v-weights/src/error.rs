//! What can go wrong while a model folder is read.

use std::path::PathBuf;

/// A model folder, configuration or weight file that can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The folder of a model does not exist.
    #[error("there is no model folder at `{}`", .0.display())]
    MissingFolder(PathBuf),
    /// A file that the format asks for is absent.
    #[error("`{file}` is missing: {hint}")]
    MissingFile {
        /// The file looked for.
        file: String,
        /// What it is for, or which names were tried.
        hint: String,
    },
    /// What was given for a model is something else.
    #[error("`{path}` is not a model folder in diffusers' layout: {reason}")]
    NotAModelFolder {
        /// What was given.
        path: String,
        /// What it is, and what to do.
        reason: String,
    },
    /// What was given for a component of a model is something else.
    #[error("`{path}` is not a component of a model in diffusers' layout: {reason}")]
    NotAComponent {
        /// What was given.
        path: String,
        /// What it is, and what to do.
        reason: String,
    },
    /// A single file that holds no model that can be used.
    #[error("`{file}` cannot be used: {reason}")]
    SingleFile {
        /// The file.
        file: String,
        /// What it is, and what to do.
        reason: String,
    },
    /// No component has weight files of the variant that was asked for.
    #[error(
        "`{folder}` has no weight files of the variant `{variant}`, such as `model.{variant}.safetensors`; it has {}",
        listed(available)
    )]
    MissingVariant {
        /// The model folder.
        folder: String,
        /// The variant.
        variant: String,
        /// The variants that there are.
        available: Vec<String>,
    },
    /// Reading failed.
    #[error("cannot read `{file}`: {source}")]
    Io {
        /// The file.
        file: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// [`ReadMeter::stop`](crate::ReadMeter::stop) was called.
    #[error("`{origin}` was not read to its end, since it was to stop")]
    Stopped {
        /// Where the weights are.
        origin: String,
    },
    /// A JSON file does not hold what it should.
    #[error("`{file}`: {reason}")]
    Config {
        /// The file.
        file: String,
        /// The key at fault and what would be right.
        reason: String,
    },
    /// A weight file is damaged or of an unknown kind.
    #[error("`{file}` is not a usable weight file: {reason}")]
    Format {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The weights don't fit the module that the configuration describes.
    #[error("the weights in `{origin}` do not fit the configuration: {report}")]
    Mismatch {
        /// Where the weights came from.
        origin: String,
        /// The keys at fault.
        report: String,
    },
    /// A file can't be used as a LoRA, or not with this model.
    #[error("the LoRA `{file}` can't be used: {reason}")]
    Lora {
        /// The file.
        file: String,
        /// What it is instead, or which of its keys don't fit.
        reason: String,
    },
}

fn listed(variants: &[String]) -> String {
    match variants {
        [] => "no variant".into(),
        [variant] => format!("the variant {variant}"),
        variants => format!("the variants {}", variants.join(", ")),
    }
}
