//! Where files come from: a folder on disk or the binary itself.

use std::{
    borrow::Cow,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, available_parallelism},
};

use sha2::{Digest, Sha256};

use crate::{FolderParts, ReadMeter, Weights, WeightsError};

/// A file of an embedded checkpoint: its path inside the model folder, with `/`, and its bytes.
pub type EmbeddedFile = (&'static str, &'static [u8]);

/// A model folder's files.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Folder(PathBuf),
    Embedded {
        name: &'static str,
        files: &'static [EmbeddedFile],
    },
    Parts(Arc<FolderParts>),
}

impl Source {
    /// The file as a person would look for it.
    pub(crate) fn display(&self, path: &str) -> String {
        match self {
            Source::Folder(root) => root.join(path).display().to_string(),
            Source::Embedded { name, .. } => format!("{name}/{path} (embedded)"),
            Source::Parts(parts) => parts.display(path),
        }
    }

    pub(crate) fn folder_path(&self, path: &str) -> Option<PathBuf> {
        match self {
            Source::Folder(root) => Some(root.join(path)),
            Source::Embedded { .. } => None,
            Source::Parts(parts) => parts.on_disk(path),
        }
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        match self {
            Source::Folder(root) => root.join(path).is_file(),
            Source::Embedded { files, .. } => files.iter().any(|(name, _)| *name == path),
            Source::Parts(parts) => parts.on_disk(path).is_some() || parts.json(path).is_some(),
        }
    }

    /// Names of the files directly in `folder`, in order; none where there is no such folder.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<String>, WeightsError> {
        let mut names = match self {
            Source::Folder(root) => names_in(&root.join(folder))?,
            Source::Parts(parts) => match parts.folder() {
                Some(root) => names_in(&root.join(folder))?,
                None => Vec::new(),
            },
            Source::Embedded { files, .. } => {
                let inside = |path: &&'static str| path.rsplit_once('/').map_or("", |(parent, _)| parent) == folder;
                let name = |path: &'static str| path.rsplit('/').next().unwrap_or(path).to_string();
                files.iter().map(|(path, _)| *path).filter(inside).map(name).collect()
            }
        };
        names.sort();
        Ok(names)
    }

    pub(crate) fn read(&self, path: &str) -> Result<Cow<'static, [u8]>, WeightsError> {
        let missing = || WeightsError::MissingFile {
            file: self.display(path),
            hint: "a model folder has it".into(),
        };
        let from_disk = |path: &Path| match std::fs::read(path) {
            Ok(bytes) => Ok(Cow::Owned(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(missing()),
            Err(source) => Err(WeightsError::Io {
                file: path.display().to_string(),
                source,
            }),
        };
        match self {
            Source::Folder(root) => from_disk(&root.join(path)),
            Source::Parts(parts) => match (parts.on_disk(path), parts.json(path)) {
                (Some(file), _) => from_disk(&file),
                (None, Some(json)) => Ok(Cow::Owned(json.to_vec())),
                (None, None) => Err(missing()),
            },
            Source::Embedded { files, .. } => files
                .iter()
                .find(|(name, _)| *name == path)
                .map(|(_, bytes)| Cow::Borrowed(*bytes))
                .ok_or_else(missing),
        }
    }

    pub(crate) fn blob(&self, path: &str) -> Result<Blob, WeightsError> {
        if let Some(file) = self.folder_path(path) {
            return Blob::open(&file);
        }
        match self.read(path)? {
            Cow::Borrowed(bytes) => Ok(Blob::Memory(Arc::from(bytes))),
            Cow::Owned(bytes) => Ok(Blob::Memory(bytes.into())),
        }
    }

    /// The weights of a component, where they lie in a file of their own; none where they are looked for in its folder.
    pub(crate) fn weights_of(&self, component: &str) -> Option<Result<Weights, WeightsError>> {
        match self {
            Source::Parts(parts) => parts.weights(component),
            Source::Folder(_) | Source::Embedded { .. } => None,
        }
    }
}

/// Names of the files in a folder; none where there is no such folder.
fn names_in(folder: &Path) -> Result<Vec<String>, WeightsError> {
    let io = |source| WeightsError::Io {
        file: folder.display().to_string(),
        source,
    };
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(io)?.file_name().into_string());
    }
    Ok(names)
}

/// Bytes that are read at once for a hash.
const PIECE: u64 = 1 << 20;

/// Threads that read a tensor, at most.
const MOST_READERS: usize = 4;
/// Bytes that one thread reads, at least, where there are more.
const PARALLEL_FROM: usize = 1 << 20;
/// Bytes from one look at a meter to the next.
const METERED: usize = 4 << 20;

/// A finished hash in hexadecimal digits.
pub(crate) fn digits(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes that are read in pieces.
#[derive(Debug, Clone)]
pub(crate) enum Blob {
    File {
        file: Arc<File>,
        len: u64,
    },
    Memory(Arc<[u8]>),
    /// Others, of which a meter is told what is read.
    Metered {
        bytes: Box<Blob>,
        meter: ReadMeter,
    },
}

impl Blob {
    pub(crate) fn open(path: &Path) -> Result<Self, WeightsError> {
        let io = |source| WeightsError::Io {
            file: path.display().to_string(),
            source,
        };
        let file = File::open(path).map_err(io)?;
        let len = file.metadata().map_err(io)?.len();
        Ok(Blob::File {
            file: Arc::new(file),
            len,
        })
    }

    /// The same bytes, with a meter that is told of them, in place of another.
    pub(crate) fn metered(self, meter: &ReadMeter) -> Self {
        let bytes = match self {
            Blob::Metered { bytes, .. } => bytes,
            bytes => Box::new(bytes),
        };
        let meter = meter.clone();
        Blob::Metered { bytes, meter }
    }

    /// The same bytes without a meter: headers don't count.
    pub(crate) fn unmetered(&self) -> &Self {
        match self {
            Blob::Metered { bytes, .. } => bytes,
            bytes => bytes,
        }
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Blob::File { len, .. } => *len,
            Blob::Memory(bytes) => bytes.len() as u64,
            Blob::Metered { bytes, .. } => bytes.len(),
        }
    }

    /// Adds all bytes to a hash; `origin` is the file's name for errors.
    pub(crate) fn hash(&self, origin: &str, hash: &mut Sha256) -> Result<(), WeightsError> {
        let mut offset = 0;
        while offset < self.len() {
            let len = PIECE.min(self.len() - offset);
            let bytes = self.read_at(offset, len as usize);
            hash.update(bytes.map_err(|source| WeightsError::Io {
                file: origin.into(),
                source,
            })?);
            offset += len;
        }
        Ok(())
    }

    /// `len` bytes from `offset`; an error where they run past the end.
    pub(crate) fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.check(offset, len)?;
        let mut bytes = vec![0; len];
        self.read_into(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Bytes from `offset` on, as many as there is room for; an error where they run past the end. Many are read by several
    /// threads: what the system does for each page takes longer than the disk, or the memory that holds the file already.
    pub(crate) fn read_into(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.check(offset, out.len())?;
        let threads = available_parallelism().map_or(1, usize::from).min(MOST_READERS);
        let each = out.len().div_ceil(threads).max(PARALLEL_FROM);
        if out.len() <= each {
            return self.read_piece(offset, out);
        }
        thread::scope(|scope| {
            let pieces = out.chunks_mut(each).zip((offset..).step_by(each));
            let readers: Vec<_> = pieces
                .map(|(piece, offset)| scope.spawn(move || self.read_piece(offset, piece)))
                .collect();
            readers.into_iter().try_for_each(|reader| match reader.join() {
                Ok(read) => read,
                Err(_) => Err(io::Error::other("a reader panicked")),
            })
        })
    }

    fn check(&self, offset: u64, len: usize) -> io::Result<()> {
        let end = offset.checked_add(len as u64).filter(|end| *end <= self.len());
        end.map(drop).ok_or(io::ErrorKind::UnexpectedEof.into())
    }

    fn read_piece(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match self {
            Blob::File { file, .. } => read_file(file, offset, out),
            Blob::Memory(bytes) => {
                out.copy_from_slice(&bytes[offset as usize..][..out.len()]);
                Ok(())
            }
            Blob::Metered { bytes, meter } => {
                let mut pieces = out.chunks_mut(METERED).zip((offset..).step_by(METERED));
                pieces.try_for_each(|(piece, offset)| {
                    meter.check()?;
                    bytes.read_piece(offset, piece)?;
                    meter.count(piece.len() as u64);
                    Ok(())
                })
            }
        }
    }
}

#[cfg(unix)]
fn read_file(file: &File, offset: u64, out: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, offset)
}

#[cfg(windows)]
fn read_file(file: &File, mut offset: u64, mut out: &mut [u8]) -> io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !out.is_empty() {
        let read = file.seek_read(out, offset)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        (offset, out) = (offset + read as u64, &mut out[read..]);
    }
    Ok(())
}

#[cfg(not(any(unix, windows)))]
fn read_file(_: &File, _: u64, _: &mut [u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
