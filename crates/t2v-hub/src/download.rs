//! Downloads from the Hugging Face Hub into its cache.

use std::{error::Error, path::PathBuf, time::Duration};

use hf_hub::{HFClient, HFClientSync, HFError, repository::RepoTreeEntry};

use crate::{Hub, HubError, HubModel, files::needed};

/// Without a network the error must come soon.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const READ_TIMEOUT: Duration = Duration::from_secs(60);
const RETRIES: usize = 2;

impl Hub {
    /// Downloads what a pipeline needs of the model; the path is that of its snapshot in the cache.
    pub(crate) fn download(&self, model: &HubModel, networks: &[&str], lacking: &str) -> Result<PathBuf, HubError> {
        let fault = |reason: &str| HubError::unavailable(&model.id, format!("{lacking}, and {reason}"));
        let failed = |error: HFError| fault(&format!("the download failed: {}", describe(&error)));
        let client = self.client().map_err(failed)?;
        let (owner, name) = hf_hub::split_id(&model.id);
        let repository = client.model(owner, name);
        let tree = repository.list_tree().revision(&model.revision).recursive(true).send();
        let files: Vec<String> = tree
            .map_err(failed)?
            .into_iter()
            .filter_map(|entry| match entry {
                RepoTreeEntry::File { path, .. } => Some(path),
                RepoTreeEntry::Directory { .. } => None,
            })
            .collect();
        if !files.iter().any(|file| file == "model_index.json") {
            return Err(fault(
                "its repository has no model_index.json: it is not in diffusers' layout",
            ));
        }
        let files = needed(&files, networks, model.variant.as_deref());
        let snapshot = repository
            .snapshot_download()
            .revision(&model.revision)
            .allow_patterns(files);
        snapshot.send().map_err(failed)
    }

    fn client(&self) -> Result<HFClientSync, HFError> {
        let request = |source| HFError::Request { source, url: None };
        let http = reqwest::Client::builder()
            .user_agent(concat!("t2v/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .build()
            .map_err(request)?;
        let mut builder = HFClient::builder()
            .cache_dir(&self.cache)
            .client(http)
            .retry_max_attempts(RETRIES);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.endpoint(endpoint);
        }
        builder.build_sync()
    }
}

/// The error in one line; of one on the way to the hub, the address and the first cause.
fn describe(error: &HFError) -> String {
    let HFError::Request { source, .. } = error else {
        return error.to_string();
    };
    let mut cause: &dyn Error = source;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    match source.url() {
        Some(url) => format!("{url}: {cause}"),
        None => cause.to_string(),
    }
}
