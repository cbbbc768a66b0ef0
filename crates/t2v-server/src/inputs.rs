//! What a job starts from: fetched or decoded, checked, and kept, before the job is accepted.

use std::{io::Write, path::Path, sync::Arc};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use image::GrayImage;
use t2v_media::{MediaError, open_mask};
use t2v_pipeline::{InitMedia, webhook::Fetcher};
use tokio::sync::Semaphore;

use crate::{
    job::{InitKind, InitObject},
    outputs::{Outputs, StorageError},
};

/// Files that are decoded at the same time.
const DECODED_AT_ONCE: usize = 2;
/// The most bytes of a file to start from.
pub const MOST_BYTES: usize = 64 << 20;

/// Why there is nothing to start from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// What the client gave can't be used.
    #[error("{0}")]
    Unusable(String),
    /// It can't be kept.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A file to start from, as a request has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Where it is.
    Url(String),
    /// The file itself.
    Bytes(Bytes),
}

impl Source {
    /// A text of a request: a URL, a `data:` URL, or base64.
    ///
    /// # Errors
    /// None of these.
    pub fn parse(text: &str) -> Result<Self, InputError> {
        let text = text.trim();
        if text.starts_with("http://") || text.starts_with("https://") {
            return Ok(Self::Url(text.to_owned()));
        }
        let encoded = match text.strip_prefix("data:") {
            Some(data) => data.split_once(";base64,").map(|(_, encoded)| encoded),
            None => Some(text),
        };
        let bytes = encoded.and_then(|encoded| BASE64_STANDARD.decode(encoded).ok());
        bytes.map(|bytes| Self::Bytes(bytes.into())).ok_or_else(|| {
            let expected = "It must be a URL, a data URL with base64, or base64.";
            InputError::Unusable(expected.to_owned())
        })
    }
}

/// Takes in what jobs start from.
pub struct Inputs {
    outputs: Arc<Outputs>,
    fetcher: Fetcher,
    /// Decoded pictures take memory: only a few are decoded at once.
    places: Semaphore,
}

impl Inputs {
    /// Files are kept in `outputs`; URLs are fetched with `fetcher`.
    #[must_use]
    pub fn new(outputs: Arc<Outputs>, fetcher: Fetcher) -> Self {
        let fetcher = fetcher.with_limit(MOST_BYTES as u64);
        Self {
            outputs,
            fetcher,
            places: Semaphore::new(DECODED_AT_ONCE),
        }
    }

    /// Fetches and checks a file to start from.
    ///
    /// # Errors
    /// A URL that can't be used or fetched, bytes that are too many or no picture or video.
    pub async fn open(&self, kind: InitKind, source: Source) -> Result<(Bytes, InitMedia), InputError> {
        let bytes = self.bytes(kind, source).await?;
        if bytes.len() > MOST_BYTES {
            return Err(InputError::Unusable(format!("It has more than {MOST_BYTES} bytes.")));
        }
        let media = self.decode(kind, bytes.clone()).await?;
        Ok((bytes, media))
    }

    /// Fetches and checks a mask: white where a picture is painted anew.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub async fn open_mask(&self, source: Source) -> Result<(Bytes, GrayImage), InputError> {
        let bytes = self.bytes(InitKind::Image, source).await?;
        if bytes.len() > MOST_BYTES {
            return Err(InputError::Unusable(format!("It has more than {MOST_BYTES} bytes.")));
        }
        let mask = self.decode_mask(bytes.clone()).await?;
        Ok((bytes, mask))
    }

    /// Keeps a file to start from, and its mask if there is one, for each attempt at its job.
    ///
    /// # Errors
    /// A storage that is full or gone.
    pub async fn keep(&self, kind: InitKind, bytes: Bytes, mask: Option<Bytes>) -> Result<InitObject, StorageError> {
        let path = self.outputs.add_input(bytes).await?;
        let mut init = InitObject { kind, path, mask: None };
        if let Some(mask) = mask {
            match self.outputs.add_input(mask).await {
                Ok(path) => init.mask = Some(path),
                Err(error) => {
                    self.forget(&init).await;
                    return Err(error);
                }
            }
        }
        Ok(init)
    }

    /// Removes files that no job starts from, as far as that can be done.
    pub async fn forget(&self, init: &InitObject) {
        for path in init.paths() {
            if let Err(error) = self.outputs.remove_input(path).await {
                tracing::warn!(%error, "a file that no job starts from cannot be removed");
            }
        }
    }

    /// What a job starts from, as it was when it was taken in.
    ///
    /// # Errors
    /// A storage that is gone, a file that was changed there.
    pub async fn load(&self, init: &InitObject) -> Result<InitMedia, InputError> {
        let media = self.decode(init.kind, self.outputs.input(&init.path).await?).await?;
        let Some(mask) = &init.mask else {
            return Ok(media);
        };
        let mask = self.decode_mask(self.outputs.input(mask).await?).await?;
        Ok(masked(media, mask))
    }

    async fn decode_mask(&self, bytes: Bytes) -> Result<GrayImage, InputError> {
        // The semaphore is never closed.
        let _place = self.places.acquire().await;
        read(bytes, |path| open_mask(path)).await
    }

    async fn decode(&self, kind: InitKind, bytes: Bytes) -> Result<InitMedia, InputError> {
        // The semaphore is never closed.
        let _place = self.places.acquire().await;
        read(bytes, move |path| match kind {
            InitKind::Image => InitMedia::open_image(path),
            InitKind::Video => InitMedia::open_video(path),
        })
        .await
    }

    async fn bytes(&self, kind: InitKind, source: Source) -> Result<Bytes, InputError> {
        let url = match source {
            Source::Bytes(bytes) => return Ok(bytes),
            Source::Url(url) => url,
        };
        // What was uploaded here needs no way through the network, which its guard would not let pass.
        if let Some(bytes) = self.outputs.uploaded(&url).await? {
            return Ok(bytes);
        }
        let fetcher = self.fetcher.clone();
        let types: &[&str] = match kind {
            InitKind::Image => &["image/"],
            InitKind::Video => &["video/", "image/gif"],
        };
        let fetched = tokio::task::spawn_blocking(move || fetcher.fetch(&url, types)).await;
        match fetched {
            Ok(Ok(bytes)) => Ok(bytes.into()),
            Ok(Err(error)) => Err(InputError::Unusable(format!("{error}."))),
            Err(error) => Err(InputError::Unusable(error.to_string())),
        }
    }
}

/// A picture of which only what the mask shows is painted anew. Videos have no masks.
pub(crate) fn masked(media: InitMedia, mask: GrayImage) -> InitMedia {
    match media {
        InitMedia::Image(picture) => InitMedia::Masked { picture, mask },
        other => other,
    }
}

/// Reads a picture or video, which happens on a thread that may block.
async fn read<T: Send + 'static>(
    bytes: Bytes,
    open: impl FnOnce(&Path) -> Result<T, MediaError> + Send + 'static,
) -> Result<T, InputError> {
    let decoded = tokio::task::spawn_blocking(move || {
        let mut file = tempfile::NamedTempFile::new().map_err(StorageError::from)?;
        file.write_all(&bytes).map_err(StorageError::from)?;
        // Its path is this server's own and says nothing, nor does what could be done with it there.
        open(file.path()).map_err(|error| match error {
            MediaError::Unusable { reason, .. } => {
                let reason = reason.split(';').next().unwrap_or_default().to_owned();
                InputError::Unusable(format!("It cannot be used: {reason}."))
            }
            other => {
                tracing::debug!(error = %other, "a video to start from cannot be read");
                InputError::Unusable("It cannot be read: give H.264 in an MP4 file, or a GIF.".into())
            }
        })
    });
    match decoded.await {
        Ok(media) => media,
        Err(_) => Err(InputError::Unusable("It cannot be read.".into())),
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    fn png() -> Vec<u8> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let picture = image::RgbImage::from_pixel(8, 4, image::Rgb([200, 10, 10]));
        picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn inputs() -> Inputs {
        let outputs = Outputs::new(Arc::new(InMemory::new()), "http://127.0.0.1:8000");
        Inputs::new(Arc::new(outputs), Fetcher::new())
    }

    #[test]
    fn sources_are_told_apart() {
        let encoded = BASE64_STANDARD.encode(png());
        let bytes = Source::Bytes(png().into());
        assert_eq!(Source::parse(&encoded).unwrap(), bytes);
        assert_eq!(
            Source::parse(&format!("data:image/png;base64,{encoded}")).unwrap(),
            bytes
        );
        let url = "https://example.com/a.png";
        assert_eq!(Source::parse(url).unwrap(), Source::Url(url.into()));
        for wrong in ["file:///etc/passwd", "data:text/plain,hello", "/etc/passwd?", "a b"] {
            assert!(Source::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn what_is_taken_in_comes_back_for_each_attempt() {
        let inputs = inputs();
        let source = Source::Bytes(png().into());
        let (bytes, media) = inputs.open(InitKind::Image, source).await.unwrap();
        let init = inputs.keep(InitKind::Image, bytes, None).await.unwrap();
        let again = inputs.load(&init).await.unwrap();
        assert_eq!(media.pictures(), again.pictures());
        assert_eq!(media.pictures()[0].dimensions(), (8, 4));
    }

    #[tokio::test]
    async fn a_mask_comes_back_with_its_picture() {
        let inputs = inputs();
        let (mask, grey) = inputs.open_mask(Source::Bytes(png().into())).await.unwrap();
        let init = inputs.keep(InitKind::Image, png().into(), Some(mask)).await.unwrap();
        assert_eq!(inputs.load(&init).await.unwrap().mask(), Some(&grey));
        inputs.forget(&init).await;
        assert!(matches!(
            inputs.load(&init).await,
            Err(InputError::Storage(StorageError::NotFound))
        ));
    }

    #[tokio::test]
    async fn an_upload_is_found_by_its_own_url() {
        let inputs = inputs();
        let url = inputs.outputs.add_upload(png().into(), "png").await.unwrap();
        inputs.open(InitKind::Image, Source::Url(url)).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_no_picture_is_told_without_paths() {
        let inputs = inputs();
        for (kind, bytes) in [
            (InitKind::Image, &b"no picture"[..]),
            (InitKind::Video, b"no video"),
            (InitKind::Video, b""),
        ] {
            let source = Source::Bytes(Bytes::from_static(bytes));
            let message = inputs.open(kind, source).await.unwrap_err().to_string();
            assert!(message.ends_with('.') && !message.contains('/'), "{message}");
        }
    }

    #[tokio::test]
    async fn private_addresses_are_not_fetched() {
        for url in [
            "https://127.0.0.1/x.png",
            "https://127.1/x.png",
            "http://example.com/x.png",
        ] {
            let error = inputs()
                .open(InitKind::Image, Source::Url(url.into()))
                .await
                .unwrap_err();
            assert!(matches!(error, InputError::Unusable(_)), "{error}");
        }
    }
}
