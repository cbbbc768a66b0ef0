//! Storages by their addresses.

use std::{fmt, path::PathBuf, sync::Arc};

use object_store::{ObjectStore, local::LocalFileSystem};
use serde::{Deserialize, Serialize};
use url::Url;

use super::StorageError;

/// A storage and what it takes to use it. `Debug` shows no keys.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageSettings {
    /// `file://FOLDER`, or `s3://BUCKET` with a path where files go below one.
    pub url: String,
    /// Region of the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Where S3 is spoken, if not at Amazon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The key's id; otherwise as Amazon's own tools look for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    /// The key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_access_key: Option<String>,
}

impl fmt::Debug for StorageSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageSettings")
            .field("url", &self.url)
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// Opens a storage; a folder is created where there is none.
///
/// # Errors
/// An address of another kind, a folder that can't be created, a bucket without credentials.
pub fn open(settings: &StorageSettings) -> Result<Arc<dyn ObjectStore>, StorageError> {
    let fault = |reason: String| StorageError::Url {
        url: settings.url.clone(),
        reason,
    };
    match settings.url.split_once("://") {
        Some(("file", folder)) => folder_store(folder).map_err(fault),
        Some(("s3", _)) => {
            let url = Url::parse(&settings.url).map_err(|error| fault(error.to_string()))?;
            bucket(&url, settings).map_err(fault)
        }
        _ => Err(fault("it must begin with `file://` or `s3://`".into())),
    }
}

fn folder_store(folder: &str) -> Result<Arc<dyn ObjectStore>, String> {
    let folder = PathBuf::from(folder);
    std::fs::create_dir_all(&folder).map_err(|error| format!("the folder cannot be created: {error}"))?;
    let store = LocalFileSystem::new_with_prefix(&folder).map_err(|error| error.to_string())?;
    Ok(Arc::new(store.with_fsync(true)))
}

#[cfg(feature = "s3")]
fn bucket(url: &Url, settings: &StorageSettings) -> Result<Arc<dyn ObjectStore>, String> {
    use object_store::{aws::AmazonS3Builder, prefix::PrefixStore};

    // TLS needs a provider of cryptography; another part of the process may have chosen one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let bucket = url.host_str().ok_or("it names no bucket")?;
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
    if let Some(region) = &settings.region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = &settings.endpoint {
        builder = builder
            .with_endpoint(endpoint)
            .with_allow_http(endpoint.starts_with("http://"));
    }
    if let (Some(id), Some(secret)) = (&settings.access_key_id, &settings.secret_access_key) {
        builder = builder.with_access_key_id(id).with_secret_access_key(secret);
    }
    let store = builder.build().map_err(|error| error.to_string())?;
    Ok(match url.path().trim_matches('/') {
        "" => Arc::new(store),
        folder => Arc::new(PrefixStore::new(store, folder)),
    })
}

#[cfg(not(feature = "s3"))]
fn bucket(_url: &Url, _settings: &StorageSettings) -> Result<Arc<dyn ObjectStore>, String> {
    Err("this program was built without the feature `s3`".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(url: &str) -> StorageSettings {
        StorageSettings {
            url: url.to_owned(),
            ..StorageSettings::default()
        }
    }

    #[test]
    fn other_addresses_are_refused_by_name() {
        for url in ["", "/srv/videos", "ftp://example.com/x", "file:///proc/no/such/folder"] {
            let message = open(&at(url)).err().unwrap().to_string();
            assert!(message.contains(url), "{message}");
        }
    }

    #[test]
    fn a_folder_is_created() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        open(&at(&format!("file://{}", path.display()))).unwrap();
        assert!(path.is_dir());
    }
}
