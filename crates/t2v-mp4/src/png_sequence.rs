//! A folder of PNG files, written under a temporary name and renamed at the end.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::{Builder, TempDir};

use crate::apng::encode_png;
use crate::error::{Mp4Error, Result};
use crate::format::OutputFormat;
use crate::output::{existing_folder, usual_permissions};
use crate::spec::VideoSpec;
use crate::writer::FrameSink;

/// Writes `frame_000000.png` and so on, each with the metadata.
pub(crate) struct PngSequenceSink {
    spec: VideoSpec,
    path: PathBuf,
    folder: TempDir,
}

impl PngSequenceSink {
    pub(crate) fn create(path: &Path, spec: &VideoSpec) -> Result<Self> {
        check_unused(path)?;
        let mut builder = Builder::new();
        builder.prefix(".t2v-").suffix(".part");
        if let Some(permissions) = usual_permissions(0o777) {
            builder.permissions(permissions);
        }
        let folder = builder.tempdir_in(existing_folder(path)?);
        Ok(Self {
            spec: spec.clone(),
            path: path.to_path_buf(),
            folder: folder.map_err(Mp4Error::io("create", path))?,
        })
    }
}

impl FrameSink for PngSequenceSink {
    fn push(&mut self, frame: u32, rgb: &[u8]) -> Result<()> {
        let png = encode_png(&self.spec, rgb).map_err(|source| Mp4Error::Picture {
            frame,
            format: OutputFormat::PngSequence,
            source: Box::new(source),
        })?;
        let file = self.folder.path().join(format!("frame_{frame:06}.png"));
        fs::write(file, png).map_err(Mp4Error::io("write to", &self.path))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        check_unused(&self.path)?;
        if self.path.exists() {
            fs::remove_dir(&self.path).map_err(Mp4Error::io("replace", &self.path))?;
        }
        fs::rename(self.folder.path(), &self.path).map_err(Mp4Error::io("create", &self.path))?;
        // It has another name now, so that there is nothing to remove.
        let _ = self.folder.keep();
        Ok(())
    }
}

/// There may be an empty folder, or nothing.
fn check_unused(path: &Path) -> Result<()> {
    if path.as_os_str().is_empty() {
        return Err(Mp4Error::EmptyPath);
    }
    let empty = |path: &Path| fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    if fs::symlink_metadata(path).is_ok() && !empty(path) {
        return Err(Mp4Error::FolderInUse {
            path: path.to_path_buf(),
        });
    }
    Ok(())
}
