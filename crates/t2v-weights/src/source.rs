//! Where files come from: a folder on disk or the binary itself.

use std::{
    borrow::Cow,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use sha2::{Digest, Sha256};

use crate::{FolderParts, Weights, WeightsError};

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
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(missing()),
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
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
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

/// A finished hash in hexadecimal digits.
pub(crate) fn digits(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
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
