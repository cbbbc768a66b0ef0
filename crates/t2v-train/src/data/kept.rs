//! What was encoded of a folder, kept in it: the next training on it begins at once.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use t2v_vae::Posterior;

use super::{Clip, ClipSize};
use crate::{
    TrainError,
    tensor_file::{self, Entry, MatrixFile},
};

/// Hidden, so that it is no clip.
const FILE: &str = ".t2v-train.safetensors";
const FORMAT: &str = "t2v-train data 2";

/// Latents of clips and embeddings of captions.
pub(super) struct Encoded {
    /// One a clip.
    pub(super) latents: Vec<Posterior<5>>,
    /// One a text, `[1, tokens, dim]`.
    pub(super) captions: Vec<Tensor<3>>,
}

/// A file of what was encoded.
pub(super) struct Kept {
    path: PathBuf,
    /// Of all that the encoded depends on.
    fingerprint: String,
}

/// What of the encoded is no matrix.
#[derive(Serialize, Deserialize)]
struct Shapes {
    clips: usize,
    captions: usize,
    latents: [usize; 5],
}

impl Kept {
    /// That of a folder; `encoders` says which encoders are meant.
    pub(super) fn new(folder: &Path, encoders: &str, size: &ClipSize, clips: &[Clip], texts: &[String]) -> Self {
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        add(encoders.as_bytes());
        for side in [size.frames, size.height, size.width] {
            add(&(side as u64).to_le_bytes());
        }
        clips.iter().flat_map(|clip| &clip.frames).for_each(|frame| add(frame));
        texts.iter().for_each(|text| add(text.as_bytes()));
        let fingerprint = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            path: folder.join(FILE),
            fingerprint,
        }
    }

    /// What is kept, where it is that of the same clips, captions and encoders.
    pub(super) fn load(&self, device: &Device) -> Option<Encoded> {
        self.path.is_file().then(|| self.read(device).ok().flatten()).flatten()
    }

    fn read(&self, device: &Device) -> Result<Option<Encoded>, TrainError> {
        let from = MatrixFile::open(&self.path)?;
        let is_same = from.text("format") == Some(FORMAT) && from.text("fingerprint") == Some(&self.fingerprint);
        let shapes = from
            .text("shapes")
            .and_then(|text| serde_json::from_str::<Shapes>(text).ok());
        let Some(shapes) = shapes.filter(|_| is_same) else {
            return Ok(None);
        };
        let all = |name: &str, count: usize| {
            let keys: Vec<String> = (0..count).map(|i| format!("{name}.{i}")).collect();
            from.matrices(&keys, device)
        };
        let (means, stds) = (all("mean", shapes.clips)?, all("std", shapes.clips)?);
        let latents = means.into_iter().zip(stds).map(|(mean, std)| Posterior {
            mean: mean.reshape(shapes.latents),
            std: std.reshape(shapes.latents),
        });
        Ok(Some(Encoded {
            latents: latents.collect(),
            captions: all("caption", shapes.captions)?
                .into_iter()
                .map(Tensor::unsqueeze)
                .collect(),
        }))
    }

    /// Keeps it, where the folder can be written to; otherwise it is encoded again next time.
    pub(super) fn save(&self, encoded: &Encoded) {
        let Some(first) = encoded.latents.first() else {
            return;
        };
        let shapes = Shapes {
            clips: encoded.latents.len(),
            captions: encoded.captions.len(),
            latents: first.mean.dims(),
        };
        let [_, channels, frames, height, width] = shapes.latents;
        let flat = |latents: &Tensor<5>| latents.clone().reshape([channels * frames, height * width]);
        let mut entries = Vec::new();
        for (i, Posterior { mean, std }) in encoded.latents.iter().enumerate() {
            entries.push(Entry::new(format!("mean.{i}"), flat(mean)));
            entries.push(Entry::new(format!("std.{i}"), flat(std)));
        }
        let captions = encoded.captions.iter().enumerate();
        entries.extend(captions.map(|(i, text)| Entry::new(format!("caption.{i}"), text.clone().squeeze_dim(0))));
        let metadata = HashMap::from([
            ("format".to_owned(), FORMAT.to_owned()),
            ("fingerprint".to_owned(), self.fingerprint.clone()),
            ("shapes".to_owned(), serde_json::to_string(&shapes).unwrap_or_default()),
        ]);
        let _ = tensor_file::write(&self.path, &entries, metadata);
    }
}
