//! What requests add to a model by name: LoRAs and learnt words.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, PoisonError, RwLock},
};

use t2v_text_encoder::{TextEncoderError, TextualInversion};
use t2v_weights::Lora;

use crate::{
    Pipeline, PipelineError, TextToVideoRequest, ValidationError,
    loras::{listed, unknown},
};

type Files = RwLock<BTreeMap<String, PathBuf>>;

/// Files by name.
#[derive(Debug, Default)]
pub(super) struct Additions {
    loras: Files,
    words: Files,
    /// Held while something is added: two requests may ask for the same.
    adding: Mutex<()>,
}

impl Additions {
    pub(super) fn insert_lora(&self, name: String, path: PathBuf) {
        insert(&self.loras, name, path);
    }

    pub(super) fn insert_textual_inversion(&self, name: String, path: PathBuf) {
        insert(&self.words, name, path);
    }

    pub(super) fn remove_lora(&self, name: &str) -> bool {
        remove(&self.loras, name)
    }

    pub(super) fn remove_textual_inversion(&self, name: &str) -> bool {
        remove(&self.words, name)
    }

    pub(super) fn loras(&self) -> Vec<String> {
        names(&self.loras)
    }

    pub(super) fn textual_inversions(&self) -> Vec<String> {
        names(&self.words)
    }

    /// Gives a pipeline what the request asks for and it does not have. Faults of both fields are told at once.
    pub(super) fn add_to(&self, pipeline: &Pipeline, request: &TextToVideoRequest) -> Result<(), PipelineError> {
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let mut faults = ValidationError::default();
        for (name, _) in request.loras()? {
            if !pipeline.has_lora(&name) {
                gather(self.add_lora(pipeline, &name), &mut faults)?;
            }
        }
        for name in listed(request.embeddings_model.as_deref()) {
            if !pipeline.has_word(name) {
                gather(self.add_word(pipeline, name), &mut faults)?;
            }
        }
        Ok(ValidationError::of(faults)?)
    }

    fn add_lora(&self, pipeline: &Pipeline, name: &str) -> Result<(), PipelineError> {
        let path = path(&self.loras, "lora_model", "LoRA", name)?;
        pipeline.add_lora(name, Lora::open(path)?)
    }

    fn add_word(&self, pipeline: &Pipeline, name: &str) -> Result<(), PipelineError> {
        let path = path(&self.words, "embeddings_model", "learnt word", name)?;
        let word = TextualInversion::open(path)?;
        pipeline.add_word(name, &word).map_err(|error| unusable(name, error))
    }
}

/// Notes a fault of the request; any other error is given back.
fn gather(added: Result<(), PipelineError>, faults: &mut ValidationError) -> Result<(), PipelineError> {
    match added {
        Err(PipelineError::Request(fault)) => {
            faults.merge(fault);
            Ok(())
        }
        added => added,
    }
}

/// A learnt word that does not fit the model as a fault of the request, which has its name and not its file.
fn unusable(name: &str, error: PipelineError) -> PipelineError {
    let PipelineError::TextEncoder(TextEncoderError::Embedding { reason, .. }) = error else {
        return error;
    };
    let mut faults = ValidationError::default();
    let fault = format!("The learnt word {name} can't be used with this model: {reason}.");
    faults.add("embeddings_model", fault);
    faults.into()
}

fn insert(files: &Files, name: String, path: PathBuf) {
    files.write().unwrap_or_else(PoisonError::into_inner).insert(name, path);
}

fn remove(files: &Files, name: &str) -> bool {
    let mut files = files.write().unwrap_or_else(PoisonError::into_inner);
    files.remove(name).is_some()
}

fn names(files: &Files) -> Vec<String> {
    files
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .keys()
        .cloned()
        .collect()
}

fn path(files: &Files, field: &str, what: &str, name: &str) -> Result<PathBuf, ValidationError> {
    let files = files.read().unwrap_or_else(PoisonError::into_inner);
    files.get(name).cloned().ok_or_else(|| {
        let known: Vec<&str> = files.keys().map(String::as_str).collect();
        let mut faults = ValidationError::default();
        faults.add(field, unknown(what, name, &known));
        faults
    })
}
