//! The Hugging Face Hub's cache: models that were downloaded before, by this crate or by Python's `huggingface_hub`.
//!
//! Layout: `models--owner--name/{blobs,refs,snapshots}`, where `refs/<revision>` holds a commit and `snapshots/<commit>`
//! is the model folder, of links into `blobs`
//! (<https://huggingface.co/docs/huggingface_hub/guides/manage-cache>).

use std::path::{Component, Path, PathBuf};

use t2v_weights::{ModelFolder, WeightsError};

use crate::{HubError, HubModel};

/// How models of the Hugging Face Hub are reached: the cache first, then, with the Cargo feature `hub`, the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hub {
    pub(crate) cache: PathBuf,
    pub(crate) offline: bool,
    pub(crate) endpoint: Option<String>,
}

impl Default for Hub {
    /// [`from_env`](Self::from_env).
    fn default() -> Self {
        Self::from_env()
    }
}

impl Hub {
    /// The cache folder `cache`, such as `~/.cache/huggingface/hub`.
    #[must_use]
    pub fn new(cache: impl Into<PathBuf>) -> Self {
        Self {
            cache: cache.into(),
            offline: false,
            endpoint: None,
        }
    }

    /// As Python's `huggingface_hub` has it: `HF_HUB_CACHE`, `HF_HOME` or `XDG_CACHE_HOME` name the cache, otherwise
    /// it is `~/.cache/huggingface/hub`; `HF_HUB_OFFLINE` forbids downloads. Downloads also look at `HF_ENDPOINT` and
    /// `HF_TOKEN`.
    #[must_use]
    pub fn from_env() -> Self {
        Self::from_vars(|name| std::env::var(name).ok())
    }

    fn from_vars(var: impl Fn(&str) -> Option<String>) -> Self {
        let var = |name| var(name).filter(|value| !value.is_empty());
        let path = |name| var(name).map(PathBuf::from);
        let home = || {
            let cache = path("XDG_CACHE_HOME").or_else(|| Some(path("HOME")?.join(".cache")));
            path("HF_HOME").unwrap_or_else(|| cache.unwrap_or_else(std::env::temp_dir).join("huggingface"))
        };
        let cache = path("HF_HUB_CACHE")
            .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
            .unwrap_or_else(|| home().join("hub"));
        let offline = var("HF_HUB_OFFLINE").or_else(|| var("TRANSFORMERS_OFFLINE"));
        let is_true = |value: String| ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str());
        let hub = Self::new(cache);
        if offline.is_some_and(is_true) {
            hub.with_offline()
        } else {
            hub
        }
    }

    /// Uses the cache alone.
    #[must_use]
    pub fn with_offline(mut self) -> Self {
        self.offline = true;
        self
    }

    /// Downloads from another server, such as a mirror.
    #[must_use]
    pub fn with_endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(url.into());
        self
    }

    /// The model's folder: from the cache where it is complete there, else downloaded.
    ///
    /// `networks` names the components that may have weights: of those that the model has, all are needed.
    ///
    /// # Errors
    /// It is not in the cache, or only a part of it, and can't be downloaded; its files can't be read.
    pub fn open(&self, model: &HubModel, networks: &[&str]) -> Result<ModelFolder, HubError> {
        let cached = self
            .cached(model)?
            .map(|folder| open_complete(&folder, model, networks));
        let lacking = match cached {
            Some(Ok(folder)) => return Ok(folder),
            Some(Err(error)) if !is_incomplete(&error) => return Err(error.into()),
            Some(Err(error)) => format!("the cache has it incomplete ({error})"),
            None => format!(
                "revision `{}` is not in the cache `{}`",
                model.revision,
                self.cache.display()
            ),
        };
        if self.offline {
            let reason = format!("{lacking}, and downloads are turned off (HF_HUB_OFFLINE)");
            return Err(HubError::unavailable(&model.id, reason));
        }
        let folder = self.download(model, networks, &lacking)?;
        Ok(open_complete(&folder, model, networks)?)
    }

    /// The model's snapshot in the cache.
    fn cached(&self, model: &HubModel) -> Result<Option<PathBuf>, HubError> {
        let revision = Path::new(&model.revision);
        let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
        if model.revision.is_empty() || model.revision.contains('\\') || !revision.components().all(plain) {
            let revision = model.revision.escape_debug();
            let reason = format!("`{revision}` is no revision; it would be a branch, a tag or a commit");
            return Err(HubError::unavailable(&model.id, reason));
        }
        let repository = self.cache.join(format!("models--{}", model.id.replace('/', "--")));
        let commit = match is_commit(&model.revision) {
            true => model.revision.clone(),
            false => match std::fs::read_to_string(repository.join("refs").join(revision)) {
                Ok(commit) if is_commit(commit.trim()) => commit.trim().to_string(),
                _ => return Ok(None),
            },
        };
        let snapshot = repository.join("snapshots").join(commit);
        Ok(snapshot.is_dir().then_some(snapshot))
    }

    #[cfg(not(feature = "download"))]
    fn download(&self, model: &HubModel, _networks: &[&str], lacking: &str) -> Result<PathBuf, HubError> {
        let reason = format!("{lacking}, and downloads need a build with `--features hub`");
        Err(HubError::unavailable(&model.id, reason))
    }
}

fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.chars().all(|c| c.is_ascii_hexdigit())
}

/// The folder, if nothing that a pipeline needs is missing.
fn open_complete(folder: &Path, model: &HubModel, networks: &[&str]) -> Result<ModelFolder, WeightsError> {
    let mut folder = ModelFolder::open(folder)?.with_strict(model.strict);
    if let Some(variant) = &model.variant {
        folder = folder.with_variant(variant)?;
    }
    for network in networks {
        if folder.entry(network)?.is_some() {
            let component = folder.component(network)?;
            component.read("config.json")?;
            component.weights()?;
        }
    }
    folder.component("scheduler")?.read("scheduler_config.json")?;
    let tokenizer = folder.component("tokenizer")?;
    if !tokenizer.has("tokenizer.json") {
        tokenizer.read("vocab.json")?;
        tokenizer.read("merges.txt")?;
    }
    Ok(folder)
}

/// Whether a download could mend it.
fn is_incomplete(error: &WeightsError) -> bool {
    matches!(
        error,
        WeightsError::MissingFile { .. } | WeightsError::NotAModelFolder { .. } | WeightsError::MissingVariant { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_the_cache() {
        let hub = |vars: &[(&str, &str)]| {
            let find = |name: &str| vars.iter().find(|(key, _)| *key == name);
            Hub::from_vars(|name| find(name).map(|(_, value)| value.to_string()))
        };
        let (home, xdg, hf) = (("HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/f"));
        let caches = [
            (hub(&[home]), "/h/.cache/huggingface/hub"),
            (hub(&[home, xdg]), "/x/huggingface/hub"),
            (hub(&[home, xdg, hf]), "/f/hub"),
            (hub(&[home, hf, ("HF_HUB_CACHE", "")]), "/f/hub"),
            (hub(&[home, hf, ("HUGGINGFACE_HUB_CACHE", "/o")]), "/o"),
            (
                hub(&[home, hf, ("HUGGINGFACE_HUB_CACHE", "/o"), ("HF_HUB_CACHE", "/c")]),
                "/c",
            ),
        ];
        for (hub, cache) in caches {
            assert_eq!(hub, Hub::new(cache));
        }
        for yes in ["1", "on", "Yes", "TRUE"] {
            assert_eq!(hub(&[hf, ("HF_HUB_OFFLINE", yes)]), Hub::new("/f/hub").with_offline());
        }
        assert_eq!(hub(&[hf, ("HF_HUB_OFFLINE", "0")]), Hub::new("/f/hub"));
    }

    #[test]
    fn revisions_are_no_paths() {
        let hub = Hub::new("/nonexistent").with_offline();
        for revision in ["", "..", "../x", "/etc", "a/../b", "a\\b"] {
            let model = HubModel::new("a/b").map(|model| model.with_revision(revision));
            let message = model
                .and_then(|model| hub.open(&model, &[]))
                .map(|_| ())
                .map_err(|e| e.to_string());
            assert!(
                message.is_err_and(|message| message.contains("no revision")),
                "{revision}"
            );
        }
    }
}
