//! The storage: what jobs start from and what they make, in a folder or a bucket.
//!
//! The key decision: an attempt writes under a name of its own, drawn at random, and the name is published by the
//! transaction that ends the job. So an attempt that lost its job overwrites nothing, nobody can guess a name, and a file
//! that is half written never has one: object stores show a file when it is whole.

mod open;

use std::{
    ops::Range,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use bytes::Bytes;
use chrono::Utc;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, path::Path as Key};
pub use open::{StorageSettings, open};
use uuid::Uuid;

use crate::worker::engine::Variant;

/// Where finished videos are.
const OUTPUTS: &str = "generations";
/// Where files that jobs start from are kept.
const INPUTS: &str = "inputs";
/// Where uploaded pictures are, which are served as outputs are.
const UPLOADS: &str = "uploads";
/// What tells that the storage can be written to.
const PROBE: &str = "probe";

/// Why a file is not there, or can't be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The address of the storage can't be used.
    #[error("the storage `{url}` cannot be used: {reason}")]
    Url {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such file.
    #[error("there is no such file in the storage")]
    NotFound,
    /// The storage does not do what it is asked for.
    #[error("the storage cannot be used: {0}")]
    Unavailable(String),
}

impl From<object_store::Error> for StorageError {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::NotFound,
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<std::io::Error> for StorageError {
    fn from(error: std::io::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// The files of jobs.
pub struct Outputs {
    /// Files are written to the first one; those that are not there are looked for in the others.
    stores: RwLock<Vec<Arc<dyn ObjectStore>>>,
    public_url: String,
}

/// A part of a file, to be sent on.
pub struct Content {
    /// Bytes of the whole file.
    pub size: u64,
    /// Which of them follow.
    pub range: Range<u64>,
    /// Changes with the file.
    pub etag: String,
    /// The bytes.
    pub stream: BoxStream<'static, Result<Bytes, object_store::Error>>,
}

impl Outputs {
    /// Files in `store`, which are found from outside below `public_url`.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, public_url: &str) -> Self {
        Self {
            stores: RwLock::new(vec![store]),
            public_url: public_url.trim_end_matches('/').to_owned(),
        }
    }

    /// Writes files to another storage from now on. Those that there are stay where they are, and are found there.
    pub fn move_to(&self, store: Arc<dyn ObjectStore>) {
        let mut stores = self.stores.write().unwrap_or_else(PoisonError::into_inner);
        stores.insert(0, store);
    }

    fn stores(&self) -> Vec<Arc<dyn ObjectStore>> {
        self.stores.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn put(&self, key: &Key, bytes: Bytes) -> Result<(), StorageError> {
        let stores = self.stores();
        let store = stores.first().ok_or(StorageError::NotFound)?;
        store.put(key, bytes.into()).await?;
        Ok(())
    }

    async fn get(&self, key: &Key) -> Result<Bytes, StorageError> {
        let (store, _) = self.find(key).await?;
        Ok(store.get(key).await?.bytes().await?)
    }

    /// The storage that has a file.
    async fn find(&self, key: &Key) -> Result<(Arc<dyn ObjectStore>, ObjectMeta), StorageError> {
        for store in self.stores() {
            match store.head(key).await {
                Ok(meta) => return Ok((store, meta)),
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StorageError::NotFound)
    }

    /// A name that nobody can guess.
    #[must_use]
    pub fn draw_name() -> String {
        Uuid::new_v4().simple().to_string()
    }

    /// Stores the files of an attempt under its name; bytes of all.
    ///
    /// # Errors
    /// A file that can't be read, a storage that is full or gone.
    pub async fn write(&self, name: &str, files: &[(Variant, impl AsRef<Path>)]) -> Result<u64, StorageError> {
        let mut total = 0;
        for (variant, path) in files {
            let bytes = tokio::fs::read(path).await?;
            total += bytes.len() as u64;
            self.put(&output_key(name, *variant), bytes.into()).await?;
        }
        Ok(total)
    }

    /// Removes the files of a name; those that are not there are no fault.
    ///
    /// # Errors
    /// A storage that is gone.
    pub async fn remove(&self, name: &str) -> Result<(), StorageError> {
        for variant in Variant::ALL {
            self.remove_key(&output_key(name, variant)).await?;
        }
        Ok(())
    }

    /// Where files of a name are found from outside.
    #[must_use]
    pub fn urls(&self, name: &str, variants: &[Variant]) -> Vec<String> {
        variants.iter().map(|variant| self.url(name, *variant)).collect()
    }

    /// The whole of a file of a name.
    ///
    /// # Errors
    /// No such file, a storage that is gone.
    pub async fn bytes(&self, name: &str, variant: Variant) -> Result<Bytes, StorageError> {
        self.get(&output_key(name, variant)).await
    }

    /// Where a file of a name is found from outside.
    #[must_use]
    pub fn url(&self, name: &str, variant: Variant) -> String {
        format!("{}/{}", self.public_url, output_key(name, variant))
    }

    /// A file of a name, whole or in part. A range beyond its end gives no bytes.
    ///
    /// # Errors
    /// No such file, a storage that is gone.
    pub async fn output(&self, name: &str, variant: Variant, wanted: &Wanted) -> Result<Content, StorageError> {
        self.content(&output_key(name, variant), wanted).await
    }

    /// An uploaded file.
    ///
    /// # Errors
    /// As for [`output`](Self::output).
    pub async fn upload(&self, file: &str, wanted: &Wanted) -> Result<Content, StorageError> {
        self.content(&upload_key(file)?, wanted).await
    }

    /// Keeps an uploaded file; where it is found from outside.
    ///
    /// # Errors
    /// A storage that is full or gone.
    pub async fn add_upload(&self, bytes: Bytes, extension: &str) -> Result<String, StorageError> {
        let file = format!("{}.{extension}", Self::draw_name());
        let key = upload_key(&file)?;
        self.put(&key, bytes).await?;
        Ok(format!("{}/{key}", self.public_url))
    }

    /// The bytes of an uploaded file, by its URL, if it is one of this server's.
    ///
    /// # Errors
    /// No such file, a storage that is gone.
    pub async fn uploaded(&self, url: &str) -> Result<Option<Bytes>, StorageError> {
        let path = url
            .strip_prefix(&self.public_url)
            .and_then(|path| path.strip_prefix('/'));
        let Some(file) = path.and_then(|path| path.strip_prefix(UPLOADS)?.strip_prefix('/')) else {
            return Ok(None);
        };
        Ok(Some(self.get(&upload_key(file)?).await?))
    }

    /// Keeps what a job starts from; the path for [`input`](Self::input).
    ///
    /// # Errors
    /// A storage that is full or gone.
    pub async fn add_input(&self, bytes: Bytes) -> Result<String, StorageError> {
        let path = format!("{INPUTS}/{}", Self::draw_name());
        self.put(&Key::from(path.as_str()), bytes).await?;
        Ok(path)
    }

    /// What a job starts from.
    ///
    /// # Errors
    /// No such file, a storage that is gone.
    pub async fn input(&self, path: &str) -> Result<Bytes, StorageError> {
        self.get(&Key::from(path)).await
    }

    /// Removes what a job started from.
    ///
    /// # Errors
    /// A storage that is gone.
    pub async fn remove_input(&self, path: &str) -> Result<(), StorageError> {
        self.remove_key(&Key::from(path)).await
    }

    /// Whether files can be written and read now, found out by doing so.
    ///
    /// # Errors
    /// Why not.
    pub async fn probe(&self) -> Result<(), StorageError> {
        let key = Key::from(format!("{PROBE}/{}", Self::draw_name()));
        self.put(&key, Bytes::from(vec![0; 64 << 10])).await?;
        self.remove_key(&key).await
    }

    /// Names of outputs that are older than `age`.
    ///
    /// # Errors
    /// A storage that is gone.
    pub async fn older_than(&self, age: Duration) -> Result<Vec<String>, StorageError> {
        let oldest = Utc::now() - chrono::Duration::from_std(age).unwrap_or_default();
        let folder = Key::from(OUTPUTS);
        let is_old = |meta: &ObjectMeta| meta.last_modified < oldest;
        let mut metas: Vec<ObjectMeta> = Vec::new();
        for store in self.stores() {
            metas.extend(store.list(Some(&folder)).try_collect::<Vec<_>>().await?);
        }
        let names = metas.iter().filter(|meta| is_old(meta)).filter_map(|meta| {
            let (name, variant) = Variant::of_file(meta.location.filename()?)?;
            // Each attempt has one of these.
            matches!(variant, Variant::Video | Variant::Picture(0)).then(|| name.to_owned())
        });
        Ok(names.collect())
    }

    async fn remove_key(&self, key: &Key) -> Result<(), StorageError> {
        for store in self.stores() {
            match store.delete(key).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn content(&self, key: &Key, wanted: &Wanted) -> Result<Content, StorageError> {
        let (store, meta) = self.find(key).await?;
        let etag = etag(&meta);
        let range = wanted.range(meta.size, &etag);
        if range.is_empty() {
            return Ok(Content {
                size: meta.size,
                range,
                etag,
                stream: futures::stream::empty().boxed(),
            });
        }
        let options = GetOptions {
            range: Some(GetRange::Bounded(range.clone())),
            ..GetOptions::default()
        };
        Ok(Content {
            size: meta.size,
            range,
            etag,
            stream: store.get_opts(key, options).await?.into_stream(),
        })
    }
}

/// Which part of a file is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Wanted {
    /// All of it.
    #[default]
    Whole,
    /// From the first to the last byte, both included, as far as there are bytes; if the file is still the one of the
    /// tag, and all of it otherwise.
    Part {
        /// The first byte, or `None` for the last ones.
        first: Option<u64>,
        /// The last byte; without a first one, how many of the last ones.
        last: Option<u64>,
        /// The tag that the client knows.
        if_etag: Option<String>,
    },
}

impl Wanted {
    /// The bytes of a file of `size`; empty where the part is beyond its end.
    fn range(&self, size: u64, etag: &str) -> Range<u64> {
        match self {
            Self::Part {
                if_etag: Some(known), ..
            } if known != etag => 0..size,
            Self::Whole => 0..size,
            Self::Part { first, last, .. } => match (first, last) {
                (Some(first), _) if *first >= size => size..size,
                (Some(first), Some(last)) => *first..last.saturating_add(1).min(size),
                (Some(first), None) => *first..size,
                (None, Some(count)) => size.saturating_sub(*count)..size,
                (None, None) => 0..size,
            },
        }
    }
}

fn etag(meta: &ObjectMeta) -> String {
    match &meta.e_tag {
        Some(tag) if tag.starts_with('"') => tag.clone(),
        Some(tag) => format!("\"{tag}\""),
        None => format!("\"{:x}-{:x}\"", meta.size, meta.last_modified.timestamp_millis()),
    }
}

fn output_key(name: &str, variant: Variant) -> Key {
    Key::from(format!("{OUTPUTS}/{}", variant.file(name)))
}

/// The place of an uploaded file; a name that none can have is that of no file.
fn upload_key(file: &str) -> Result<Key, StorageError> {
    let is_plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match file.split_once('.') {
        Some((name, extension)) if is_plain(name) && is_plain(extension) => Ok(Key::from(format!("{UPLOADS}/{file}"))),
        _ => Err(StorageError::NotFound),
    }
}

#[cfg(test)]
mod tests {
    use object_store::{local::LocalFileSystem, memory::InMemory};

    use super::*;

    async fn read(content: Content) -> Vec<u8> {
        let parts: Vec<Bytes> = content.stream.try_collect().await.unwrap();
        parts.concat()
    }

    fn part(first: Option<u64>, last: Option<u64>) -> Wanted {
        Wanted::Part {
            first,
            last,
            if_etag: None,
        }
    }

    async fn files_come_back(store: Arc<dyn ObjectStore>) {
        let outputs = Outputs::new(store, "http://localhost:8000/");
        let folder = tempfile::tempdir().unwrap();
        let video = folder.path().join("x");
        std::fs::write(&video, b"0123456789").unwrap();
        let name = Outputs::draw_name();
        assert!(name.len() == 32 && name != Outputs::draw_name());
        let files = [(Variant::Video, &video), (Variant::Thumbnail, &video)];
        assert_eq!(outputs.write(&name, &files).await.unwrap(), 20);
        let url = outputs.url(&name, Variant::Video);
        assert_eq!(url, format!("http://localhost:8000/generations/{name}.mp4"));
        for (wanted, expected) in [
            (Wanted::Whole, "0123456789"),
            (part(Some(2), Some(4)), "234"),
            (part(Some(8), None), "89"),
            (part(Some(8), Some(100)), "89"),
            (part(None, Some(3)), "789"),
            (part(None, Some(30)), "0123456789"),
            (part(Some(10), None), ""),
        ] {
            let content = outputs.output(&name, Variant::Video, &wanted).await.unwrap();
            assert_eq!(content.size, 10);
            assert_eq!(content.range.end - content.range.start, expected.len() as u64);
            assert_eq!(read(content).await, expected.as_bytes());
        }
        let whole = outputs.output(&name, Variant::Video, &Wanted::Whole).await.unwrap();
        for (tag, expected) in [(whole.etag.clone(), "1"), ("\"other\"".into(), "0123456789")] {
            let wanted = Wanted::Part {
                first: Some(1),
                last: Some(1),
                if_etag: Some(tag),
            };
            let content = outputs.output(&name, Variant::Video, &wanted).await.unwrap();
            assert_eq!(read(content).await, expected.as_bytes());
        }
        assert_eq!(
            outputs.older_than(Duration::ZERO).await.unwrap(),
            std::slice::from_ref(&name)
        );
        assert!(outputs.older_than(Duration::from_secs(60)).await.unwrap().is_empty());
        outputs.remove(&name).await.unwrap();
        outputs.remove(&name).await.unwrap();
        let gone = outputs.output(&name, Variant::Video, &Wanted::Whole).await;
        assert!(matches!(gone, Err(StorageError::NotFound)));

        let path = outputs.add_input(Bytes::from_static(b"in")).await.unwrap();
        assert_eq!(outputs.input(&path).await.unwrap(), "in");
        outputs.remove_input(&path).await.unwrap();
        let url = outputs.add_upload(Bytes::from_static(b"up"), "png").await.unwrap();
        assert_eq!(outputs.uploaded(&url).await.unwrap().unwrap(), "up");
        assert!(outputs.uploaded("https://example.com/x.png").await.unwrap().is_none());
        outputs.probe().await.unwrap();
    }

    #[tokio::test]
    async fn files_come_back_from_memory() {
        files_come_back(Arc::new(InMemory::new())).await;
    }

    #[tokio::test]
    async fn files_come_back_from_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        files_come_back(Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap())).await;
        let left: Vec<_> = std::fs::read_dir(folder.path().join(PROBE))
            .into_iter()
            .flatten()
            .collect();
        assert!(left.is_empty(), "the probe leaves nothing behind");
    }

    #[tokio::test]
    async fn names_lead_nowhere_else() {
        let outputs = Outputs::new(Arc::new(InMemory::new()), "http://localhost");
        for file in ["", "x", "../x.png", "a/b.png", "a.b.c", "%2e%2e.png", ".png", "x."] {
            let found = outputs.upload(file, &Wanted::Whole).await;
            assert!(matches!(found, Err(StorageError::NotFound)), "{file}");
        }
    }
}
