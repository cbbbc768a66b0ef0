//! Where files come from: a folder on disk or the binary itself.

use std::{
    borrow::Cow,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use crate::WeightsError;

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
}

impl Source {
    /// The file as a person would look for it.
    pub(crate) fn display(&self, path: &str) -> String {
        match self {
            Source::Folder(root) => root.join(path).display().to_string(),
            Source::Embedded { name, .. } => format!("{name}/{path} (embedded)"),
        }
    }

    pub(crate) fn folder_path(&self, path: &str) -> Option<PathBuf> {
        match self {
            Source::Folder(root) => Some(root.join(path)),
            Source::Embedded { .. } => None,
        }
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        match self {
            Source::Folder(root) => root.join(path).is_file(),
            Source::Embedded { files, .. } => files.iter().any(|(name, _)| *name == path),
        }
    }

    /// Names of the files directly in `folder`, in order; none where there is no such folder.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<String>, WeightsError> {
        let mut names = match self {
            Source::Folder(root) => match names_in(&root.join(folder)) {
                Ok(names) => names,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
                Err(source) => {
                    let file = self.display(folder);
                    return Err(WeightsError::Io { file, source });
                }
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
        match self {
            Source::Folder(root) => match std::fs::read(root.join(path)) {
                Ok(bytes) => Ok(Cow::Owned(bytes)),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(missing()),
                Err(source) => Err(WeightsError::Io {
                    file: self.display(path),
                    source,
                }),
            },
            Source::Embedded { files, .. } => files
                .iter()
                .find(|(name, _)| *name == path)
                .map(|(_, bytes)| Cow::Borrowed(*bytes))
                .ok_or_else(missing),
        }
    }

    pub(crate) fn blob(&self, path: &str) -> Result<Blob, WeightsError> {
        match self {
            Source::Folder(root) => Blob::open(&root.join(path)),
            Source::Embedded { .. } => match self.read(path)? {
                Cow::Borrowed(bytes) => Ok(Blob::Memory(Arc::from(bytes))),
                Cow::Owned(bytes) => Ok(Blob::Memory(bytes.into())),
            },
        }
    }
}

fn names_in(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}

/// Bytes that are read in pieces.
#[derive(Debug, Clone)]
pub(crate) enum Blob {
    File { file: Arc<Mutex<File>>, len: u64 },
    Memory(Arc<[u8]>),
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
            file: Arc::new(Mutex::new(file)),
            len,
        })
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Blob::File { len, .. } => *len,
            Blob::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// `len` bytes from `offset`; an error where they run past the end.
    pub(crate) fn read_at(&self, offset: u64, len: usize) -> std::io::Result<Vec<u8>> {
        if offset.checked_add(len as u64).is_none_or(|end| end > self.len()) {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        match self {
            Blob::File { file, .. } => {
                let mut file = file.lock().map_err(|_| std::io::Error::other("a reader panicked"))?;
                file.seek(SeekFrom::Start(offset))?;
                let mut bytes = vec![0; len];
                file.read_exact(&mut bytes)?;
                Ok(bytes)
            }
            Blob::Memory(bytes) => Ok(bytes[offset as usize..offset as usize + len].to_vec()),
        }
    }
}
