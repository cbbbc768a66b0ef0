//! The file: checked first, written under a temporary name beside it, renamed at the end.

use std::fs::{self, Permissions};
use std::io::{self, BufWriter, ErrorKind, Seek, SeekFrom, Write};
use std::path::{self, Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

use crate::error::{Mp4Error, Result};

/// A file that does not yet have its name. Dropped, it vanishes.
#[derive(Debug)]
pub(crate) struct Output {
    /// As the caller named it, for messages.
    path: PathBuf,
    /// What to rename to: absolute, symbolic links resolved.
    destination: PathBuf,
    file: BufWriter<NamedTempFile>,
    position: u64,
}

impl Output {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let destination = destination(path)?;
        let folder = destination.parent().unwrap_or(Path::new("."));
        let mut builder = Builder::new();
        builder.prefix(".t2v-").suffix(".mp4.part");
        if let Some(permissions) = usual_permissions() {
            builder.permissions(permissions);
        }
        let file = builder.tempfile_in(folder).map_err(Mp4Error::io("create", path))?;
        Ok(Self {
            path: path.to_path_buf(),
            destination,
            file: BufWriter::new(file),
            position: 0,
        })
    }

    /// The path as the caller named it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The number of bytes written.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Appends bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let result = self.file.write_all(bytes);
        self.position += bytes.len() as u64;
        result.map_err(Mp4Error::io("write to", &self.path))
    }

    /// Replaces bytes written before.
    pub(crate) fn patch(&mut self, position: u64, bytes: &[u8]) -> Result<()> {
        let mut replace = || -> io::Result<()> {
            self.file.seek(SeekFrom::Start(position))?;
            self.file.write_all(bytes)?;
            self.file.seek(SeekFrom::Start(self.position))?;
            Ok(())
        };
        replace().map_err(Mp4Error::io("write to", &self.path))
    }

    /// Gives the file its name, in the place of any file that had it.
    pub(crate) fn persist(self) -> Result<()> {
        let Self { path, file, .. } = self;
        let file = file
            .into_inner()
            .map_err(|error| Mp4Error::io("write to", &path)(error.into_error()))?;
        // Else a crash soon after could leave the name with an empty file.
        let synced = file.as_file().sync_all();
        synced.map_err(Mp4Error::io("write to", &path))?;
        file.persist(&self.destination)
            .map_err(|error| Mp4Error::io("replace", &path)(error.error))?;
        Ok(())
    }
}

/// Where to write, found before the work of encoding: all that could fail at the end, and is
/// known at the start, fails here.
fn destination(path: &Path) -> Result<PathBuf> {
    if path.as_os_str().is_empty() {
        return Err(Mp4Error::EmptyPath);
    }
    let not_a_file = || Mp4Error::NotAFile {
        path: path.to_path_buf(),
    };
    let name = path.file_name().ok_or_else(not_a_file)?;
    if ends_with_separator(path) {
        return Err(not_a_file());
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Err(Mp4Error::MissingFolder {
            path: path.to_path_buf(),
            folder: folder.to_path_buf(),
        });
    }
    let resolve = |path_to_resolve: &Path| fs::canonicalize(path_to_resolve).map_err(Mp4Error::io("find", path));
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(not_a_file()),
        Ok(metadata) if metadata.permissions().readonly() => Err(Mp4Error::WriteProtected {
            path: path.to_path_buf(),
        }),
        Ok(_) => resolve(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(resolve(folder)?.join(name)),
        Err(error) => Err(Mp4Error::io("create", path)(error)),
    }
}

fn ends_with_separator(path: &Path) -> bool {
    let last = path.as_os_str().as_encoded_bytes().last();
    last.is_some_and(|&byte| path::is_separator(char::from(byte)))
}

/// Those that a newly created file has, less the umask, which the system takes off. A temporary
/// file would be private.
#[cfg(unix)]
fn usual_permissions() -> Option<Permissions> {
    use std::os::unix::fs::PermissionsExt;
    Some(Permissions::from_mode(0o666))
}

#[cfg(not(unix))]
fn usual_permissions() -> Option<Permissions> {
    None
}
