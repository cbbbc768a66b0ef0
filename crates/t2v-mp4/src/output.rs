//! Where the bytes go: a file that is checked first, written under a temporary name beside it and renamed at the end; or a
//! stream of the caller's.

use std::fmt;
use std::fs::{self, Permissions};
use std::io::{self, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{self, Path, PathBuf};

use tempfile::{Builder, NamedTempFile, SpooledTempFile, spooled_tempfile, spooled_tempfile_in};

use crate::error::{Mp4Error, Result};

/// A spool keeps so many bytes in memory before it becomes a file.
const SPOOL_IN_MEMORY: usize = 8 << 20;

/// Writes a file, complete or not at all: under a temporary name beside it, which is renamed at the end.
///
/// # Errors
/// A path that can't be written to; no file is left then.
pub fn write_file(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let mut output = Output::create(path.as_ref())?;
    output.write(bytes)?;
    output.persist()
}

/// What can be written to at any place.
pub(crate) trait WriteSeek: Write + Seek + Send {}

impl<T: Write + Seek + Send> WriteSeek for T {}

/// A file that does not yet have its name and that vanishes when dropped, or a stream.
pub(crate) struct Output {
    /// As the caller named it, for messages.
    path: PathBuf,
    target: Target,
    /// Where the video starts in the target.
    start: u64,
    position: u64,
}

enum Target {
    File {
        /// What to rename to: absolute, symbolic links resolved.
        destination: PathBuf,
        file: BufWriter<NamedTempFile>,
    },
    Stream(BufWriter<Box<dyn WriteSeek>>),
}

impl Output {
    /// A file that will be at `path`.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let destination = destination(path)?;
        let mut builder = Builder::new();
        builder.prefix(".t2v-").suffix(".part");
        if let Some(permissions) = usual_permissions(0o666) {
            builder.permissions(permissions);
        }
        let file = builder
            .tempfile_in(folder_of(&destination))
            .map_err(Mp4Error::io("create", path))?;
        let file = BufWriter::new(file);
        Ok(Self::new(path, Target::File { destination, file }, 0))
    }

    /// A stream, from where it stands.
    pub(crate) fn stream(mut stream: Box<dyn WriteSeek>) -> Result<Self> {
        let path = Path::new("the output stream");
        let start = stream.stream_position().map_err(Mp4Error::io("seek in", path))?;
        Ok(Self::new(path, Target::Stream(BufWriter::new(stream)), start))
    }

    fn new(path: &Path, target: Target, start: u64) -> Self {
        Self {
            path: path.to_path_buf(),
            target,
            start,
            position: 0,
        }
    }

    /// The path as the caller named it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The number of bytes written.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    fn writer(&mut self) -> &mut dyn WriteSeek {
        match &mut self.target {
            Target::File { file, .. } => file,
            Target::Stream(stream) => stream,
        }
    }

    /// Appends bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.position += bytes.len() as u64;
        let result = self.writer().write_all(bytes);
        result.map_err(Mp4Error::io("write to", &self.path))
    }

    /// Appends all that a reader has.
    pub(crate) fn copy_from(&mut self, source: &mut impl Read) -> Result<()> {
        let copied = io::copy(source, &mut self.writer());
        self.position += copied.map_err(Mp4Error::io("write to", &self.path))?;
        Ok(())
    }

    /// Replaces bytes written before.
    pub(crate) fn patch(&mut self, position: u64, bytes: &[u8]) -> Result<()> {
        let (there, back) = (self.start + position, self.start + self.position);
        let writer = self.writer();
        let mut replace = || -> io::Result<()> {
            writer.seek(SeekFrom::Start(there))?;
            writer.write_all(bytes)?;
            writer.seek(SeekFrom::Start(back))?;
            Ok(())
        };
        replace().map_err(Mp4Error::io("write to", &self.path))
    }

    /// A temporary place for bytes that come before their time, on the same file system where they are many.
    pub(crate) fn spool(&self) -> SpooledTempFile {
        match &self.target {
            Target::File { destination, .. } => spooled_tempfile_in(SPOOL_IN_MEMORY, folder_of(destination)),
            Target::Stream(_) => spooled_tempfile(SPOOL_IN_MEMORY),
        }
    }

    /// Gives a file its name, in the place of any file that had it; flushes a stream.
    pub(crate) fn persist(self) -> Result<()> {
        let Self { path, target, .. } = self;
        match target {
            Target::Stream(mut stream) => stream.flush().map_err(Mp4Error::io("write to", &path)),
            Target::File { destination, file } => {
                let file = file
                    .into_inner()
                    .map_err(|error| Mp4Error::io("write to", &path)(error.into_error()))?;
                // Else a crash soon after could leave the name with an empty file.
                let synced = file.as_file().sync_all();
                synced.map_err(Mp4Error::io("write to", &path))?;
                file.persist(&destination)
                    .map_err(|error| Mp4Error::io("replace", &path)(error.error))?;
                Ok(())
            }
        }
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("path", &self.path)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

/// The folder of a path that [`destination`] found.
pub(crate) fn folder_of(destination: &Path) -> &Path {
    destination.parent().unwrap_or(Path::new("."))
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
    let folder = existing_folder(path)?;
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

/// The folder that `path` is in, which must exist.
pub(crate) fn existing_folder(path: &Path) -> Result<&Path> {
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
    Ok(folder)
}

fn ends_with_separator(path: &Path) -> bool {
    let last = path.as_os_str().as_encoded_bytes().last();
    last.is_some_and(|&byte| path::is_separator(char::from(byte)))
}

/// Those that a newly created file or folder has, less the umask, which the system takes off. A temporary one would be
/// private.
#[cfg(unix)]
pub(crate) fn usual_permissions(mode: u32) -> Option<Permissions> {
    use std::os::unix::fs::PermissionsExt;
    Some(Permissions::from_mode(mode))
}

#[cfg(not(unix))]
pub(crate) fn usual_permissions(_mode: u32) -> Option<Permissions> {
    None
}
