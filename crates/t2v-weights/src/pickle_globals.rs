//! Which Python objects a pickle names.
//!
//! A pickle is a program: what it names may be called while it is read. The reader of this crate calls nothing, so such a
//! file can do no harm here; it is refused all the same, as by PyTorch, since it is no checkpoint or one that was tampered
//! with.
//!
//! Opcodes: `pickletools.py` of CPython. What PyTorch takes: `torch/_weights_only_unpickler.py`.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Seek},
    path::Path,
};

use burn_store::pytorch_reader::MAX_PICKLE_SIZE;
use zip::ZipArchive;

use crate::WeightsError;

/// Longest text that can be a name; others are passed over.
const LONGEST_NAME: u64 = 1 << 8;
/// The number that files of PyTorch before 1.6 begin with, as their first pickle holds it.
const LEGACY_MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// Such a file has the magic number, the version, facts of the system, the object and the list of its storages.
const LEGACY_PICKLES: usize = 5;
/// How far into the file the magic number is looked for.
const LEGACY_SEARCH: usize = 64;
/// How numbers of `torch` are named, before their width.
const NUMBERS: [&str; 10] = [
    "bfloat", "bool", "complex", "double", "float", "half", "int", "long", "short", "uint",
];

/// Refuses a file whose pickle names anything but what tensors are made of. A file that holds no pickle passes: who reads
/// it will say so.
///
/// # Errors
/// Such a name, or a file that can't be read.
pub(crate) fn check(path: &Path) -> std::result::Result<(), WeightsError> {
    let file = || path.display().to_string();
    match first_foreign(path) {
        Ok(None) => Ok(()),
        Ok(Some(name)) => Err(WeightsError::Format {
            file: file(),
            reason: format!(
                "Python would run code while it reads this pickle, which names `{}` beside tensors; convert it to \
                 safetensors where you trust it",
                name.escape_debug()
            ),
        }),
        // A pickle that is cut short, or none at all.
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(()),
        Err(source) => Err(WeightsError::Io { file: file(), source }),
    }
}

/// The first name that is no part of tensors.
fn first_foreign(path: &Path) -> Result<Option<String>> {
    let mut input = BufReader::new(File::open(path)?);
    let head = input.fill_buf()?;
    if head.starts_with(b"PK") {
        return in_archive(input);
    }
    let pickles = pickles_after(head);
    for _ in 0..pickles {
        let name = Names::new(&mut input).first_foreign()?;
        if name.is_some() {
            return Ok(name);
        }
    }
    Ok(None)
}

/// How many pickles a file without an archive begins with, by its first bytes.
fn pickles_after(head: &[u8]) -> usize {
    let begin = &head[..head.len().min(LEGACY_SEARCH)];
    if begin.windows(LEGACY_MAGIC.len()).any(|bytes| bytes == LEGACY_MAGIC) {
        return LEGACY_PICKLES;
    }
    // What dictionaries begin with; the header of a safetensors file may begin with the same byte.
    let is_pickle = matches!(head.first(), Some(0x80 | b'(' | b'}' | b']' | b'c')) && head.get(8) != Some(&b'{');
    usize::from(is_pickle)
}

/// Of the pickles in a ZIP archive, PyTorch's layout since 1.6. A damaged archive passes.
fn in_archive(input: impl Read + Seek) -> Result<Option<String>> {
    let Ok(mut archive) = ZipArchive::new(input) else {
        return Ok(None);
    };
    for index in 0..archive.len() {
        let Ok(entry) = archive.by_index(index) else { continue };
        let is_pickle = entry.is_file() && entry.size() <= MAX_PICKLE_SIZE;
        if !is_pickle || !entry.name().is_ok_and(|name| name.ends_with(".pkl")) {
            continue;
        }
        let name = Names::new(&mut BufReader::new(entry.take(MAX_PICKLE_SIZE))).first_foreign()?;
        if name.is_some() {
            return Ok(name);
        }
    }
    Ok(None)
}

/// Whether an object is one that tensors and what lies beside them are made of.
fn is_data(module: &str, name: &str) -> bool {
    match module {
        "torch" => {
            let is_type = name.ends_with("Tensor") || name.ends_with("Storage");
            is_type || ["Size", "device"].contains(&name) || NUMBERS.iter().any(|number| is_number(name, number))
        }
        "torch.cuda" | "torch.storage" => name.ends_with("Tensor") || name.ends_with("Storage"),
        "torch._utils" => name.starts_with("_rebuild_"),
        "torch._tensor" => name == "_rebuild_from_type_v2",
        "torch.nn.parameter" => ["Buffer", "Parameter"].contains(&name),
        "torch.serialization" => name == "_get_layout",
        "collections" => ["Counter", "OrderedDict"].contains(&name),
        "_codecs" => name == "encode",
        "builtins" | "__builtin__" => ["bytearray", "complex", "frozenset", "set"].contains(&name),
        // Beside the tensors of training checkpoints: numbers, and the name of a class as a key.
        "numpy" => ["dtype", "ndarray"].contains(&name),
        "numpy.core.multiarray" | "numpy._core.multiarray" => ["_reconstruct", "scalar"].contains(&name),
        "pytorch_lightning.callbacks" | "pytorch_lightning.callbacks.model_checkpoint" => name == "ModelCheckpoint",
        _ => false,
    }
}

/// A type such as `float16` or `float8_e4m3fn`, unlike the function `float_power`.
fn is_number(name: &str, number: &str) -> bool {
    let width = name.strip_prefix(number);
    width.is_some_and(|width| width.is_empty() || width.starts_with(|c: char| c.is_ascii_digit()))
}

/// Goes through a pickle's opcodes; nothing is built.
struct Names<R> {
    input: R,
    /// The last two values that were put on the stack, where they are texts: module and name, if a global follows.
    last: [Option<String>; 2],
    memo: HashMap<u32, Option<String>>,
}

impl<R: BufRead> Names<R> {
    fn new(input: R) -> Self {
        Self {
            input,
            last: [None, None],
            memo: HashMap::new(),
        }
    }

    /// Up to the end of the pickle.
    fn first_foreign(&mut self) -> Result<Option<String>> {
        loop {
            let [opcode] = self.bytes()?;
            let global = match opcode {
                b'.' => return Ok(None),
                b'c' | b'i' => Some((self.line()?, self.line()?)),
                // Texts that can't be told are a name of nothing known.
                0x93 => Some(self.last.clone().map(Option::unwrap_or_default).into()),
                _ => {
                    self.pass(opcode)?;
                    None
                }
            };
            let Some((module, name)) = global else { continue };
            if !is_data(&module, &name) {
                return Ok(Some(format!("{module}.{name}")));
            }
            self.push(None);
        }
    }

    /// Any other opcode with its argument.
    fn pass(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            b'V' | b'S' => {
                let text = self.line()?;
                self.push(Some(text));
            }
            b'X' | b'T' => self.text(4)?,
            b'U' | 0x8c => self.text(1)?,
            0x8d => self.text(8)?,
            b'B' | 0x8b => self.skip_counted(4)?,
            b'C' | 0x8a => self.skip_counted(1)?,
            0x8e | 0x96 => self.skip_counted(8)?,
            b'I' | b'L' | b'F' | b'P' => {
                self.line()?;
                self.push(None);
            }
            b'K' | 0x82 => self.skip(1)?,
            b'M' | 0x83 => self.skip(2)?,
            b'J' | 0x84 => self.skip(4)?,
            b'G' => self.skip(8)?,
            b'q' => self.put_numbered(1)?,
            b'r' => self.put_numbered(4)?,
            b'h' => self.get_numbered(1)?,
            b'j' => self.get_numbered(4)?,
            b'p' => {
                let index = self.line()?.parse().unwrap_or(u32::MAX);
                self.put(index);
            }
            b'g' => {
                let index = self.line()?.parse().unwrap_or(u32::MAX);
                self.get(index);
            }
            0x94 => self.put(self.memo.len() as u32),
            // The protocol's version and the length of a frame put nothing on the stack.
            0x80 => return self.ignore(1),
            0x95 => return self.ignore(8),
            _ => self.push(None),
        }
        Ok(())
    }

    fn push(&mut self, value: Option<String>) {
        self.last.swap(0, 1);
        self.last[1] = value;
    }

    fn put(&mut self, index: u32) {
        self.memo.insert(index, self.last[1].clone());
    }

    fn get(&mut self, index: u32) {
        let value = self.memo.get(&index).cloned().flatten();
        self.push(value);
    }

    fn put_numbered(&mut self, bytes: usize) -> Result<()> {
        let index = self.count(bytes)? as u32;
        self.put(index);
        Ok(())
    }

    fn get_numbered(&mut self, bytes: usize) -> Result<()> {
        let index = self.count(bytes)? as u32;
        self.get(index);
        Ok(())
    }

    /// A text after its length of so many bytes.
    fn text(&mut self, length_bytes: usize) -> Result<()> {
        let length = self.count(length_bytes)?;
        if length > LONGEST_NAME {
            self.ignore(length)?;
            self.push(None);
            return Ok(());
        }
        let mut bytes = vec![0; length as usize];
        self.input.read_exact(&mut bytes)?;
        self.push(String::from_utf8(bytes).ok());
        Ok(())
    }

    fn skip_counted(&mut self, length_bytes: usize) -> Result<()> {
        let length = self.count(length_bytes)?;
        self.skip(length)
    }

    /// A value that is no text.
    fn skip(&mut self, length: u64) -> Result<()> {
        self.ignore(length)?;
        self.push(None);
        Ok(())
    }

    fn ignore(&mut self, length: u64) -> Result<()> {
        let passed = std::io::copy(&mut self.input.by_ref().take(length), &mut std::io::sink())?;
        match passed == length {
            true => Ok(()),
            false => Err(Error::from(ErrorKind::UnexpectedEof)),
        }
    }

    /// A little-endian number of at most 8 bytes.
    fn count(&mut self, bytes: usize) -> Result<u64> {
        let mut number = [0; 8];
        self.input.read_exact(&mut number[..bytes])?;
        Ok(u64::from_le_bytes(number))
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Up to the end of a line, whose length is bounded.
    fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        self.input.by_ref().take(LONGEST_NAME).read_until(b'\n', &mut line)?;
        match line.pop() {
            Some(b'\n') => Ok(String::from_utf8_lossy(&line).into_owned()),
            Some(_) if line.len() as u64 + 1 == LONGEST_NAME => {
                // A number or text too long for a name.
                self.input.skip_until(b'\n')?;
                Ok(String::new())
            }
            _ => Err(Error::from(ErrorKind::UnexpectedEof)),
        }
    }
}
