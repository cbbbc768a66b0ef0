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
        Some(("s3", place)) => {
            let (name, folder) = place.split_once('/').unwrap_or((place, ""));
            check_bucket(name, settings).map_err(fault)?;
            bucket(name, folder, settings).map_err(fault)
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

/// Refuses what no request to a bucket can be made of.
fn check_bucket(name: &str, settings: &StorageSettings) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || !name.chars().all(is_plain) || name.starts_with('.') {
        return Err("the bucket must be letters, digits, `-`, `_` and `.`".into());
    }
    if let Some(endpoint) = &settings.endpoint {
        let url = Url::parse(endpoint).ok();
        if !url.is_some_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host()) {
            return Err(format!(
                "the endpoint `{endpoint}` must be a URL such as https://s3.example.com"
            ));
        }
    }
    for (what, text) in [
        ("region", &settings.region),
        ("access key id", &settings.access_key_id),
        ("secret access key", &settings.secret_access_key),
    ] {
        if text.as_ref().is_some_and(|text| text.chars().any(char::is_control)) {
            return Err(format!("the {what} must not have control characters"));
        }
    }
    Ok(())
}

#[cfg(feature = "s3")]
fn bucket(name: &str, folder: &str, settings: &StorageSettings) -> Result<Arc<dyn ObjectStore>, String> {
    use object_store::{aws::AmazonS3Builder, prefix::PrefixStore};

    // TLS needs a provider of cryptography; another part of the process may have chosen one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(name);
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
    Ok(match folder.trim_matches('/') {
        "" => Arc::new(store),
        folder => Arc::new(PrefixStore::new(store, folder)),
    })
}

#[cfg(not(feature = "s3"))]
fn bucket(_name: &str, _folder: &str, _settings: &StorageSettings) -> Result<Arc<dyn ObjectStore>, String> {
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
    fn buckets_that_no_request_can_name_are_refused() {
        let usual = || StorageSettings {
            endpoint: Some("http://127.0.0.1:9".into()),
            access_key_id: Some("id".into()),
            secret_access_key: Some("secret".into()),
            ..at("s3://videos/of/mine")
        };
        check_bucket("videos", &usual()).unwrap();
        for name in ["", "x y", "..", "ä", "a:80", "\u{1}"] {
            let message = check_bucket(name, &usual()).unwrap_err();
            assert!(message.contains("bucket"), "{message}");
        }
        for endpoint in ["", "x", "http://", "http://[", "ftp://x", "http://a b/", "\u{1}"] {
            let settings = StorageSettings {
                endpoint: Some(endpoint.into()),
                ..usual()
            };
            assert!(
                check_bucket("videos", &settings).unwrap_err().contains("endpoint"),
                "{endpoint:?}"
            );
        }
        let control = Some("a\u{1}".to_owned());
        let settings = StorageSettings {
            region: control.clone(),
            ..usual()
        };
        assert!(check_bucket("videos", &settings).unwrap_err().contains("region"));
        let settings = StorageSettings {
            access_key_id: control.clone(),
            ..usual()
        };
        assert!(check_bucket("videos", &settings).unwrap_err().contains("key id"));
        let settings = StorageSettings {
            secret_access_key: control,
            ..usual()
        };
        assert!(check_bucket("videos", &settings).unwrap_err().contains("secret"));
    }

    #[test]
    fn a_folder_is_created() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        open(&at(&format!("file://{}", path.display()))).unwrap();
        assert!(path.is_dir());
    }
}
