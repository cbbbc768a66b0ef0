//! Tensors of real checkpoints by name and shape, and what diffusers makes of them (`scripts/make_single_file_fixtures.py`).

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufReader, Write},
    path::Path,
};

use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use t2v_weights::Selection;

/// A checkpoint's tensors in a layout of its own, and those of the model that diffusers converts them to.
#[derive(Debug, Clone, Deserialize)]
pub struct LayoutKeys {
    /// Names and shapes of the file.
    pub file: Vec<(String, Vec<usize>)>,
    /// Names and shapes of the model, and where in `file` each comes from.
    taken: Vec<(String, Vec<usize>, usize)>,
    /// The model's configuration, where it has one.
    #[serde(default)]
    pub config: Value,
}

impl LayoutKeys {
    /// The case `name` of `ldm_keys.json.gz` among the fixtures of `crate_folder`.
    ///
    /// # Panics
    /// There is none.
    pub fn read(crate_folder: &str, name: &str) -> Self {
        let path = format!("{crate_folder}/tests/fixtures/ldm_keys.json.gz");
        let file = File::open(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let mut cases: BTreeMap<String, Self> =
            serde_json::from_reader(BufReader::new(GzDecoder::new(file))).unwrap_or_else(|e| panic!("{path}: {e}"));
        cases.remove(name).unwrap_or_else(|| panic!("{path}: no `{name}`"))
    }

    /// Names and shapes of the file.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.file.iter().map(|(key, shape)| (key.as_str(), shape.as_slice()))
    }

    /// Names and shapes of the model, in the order of their names.
    pub fn model(&self) -> Vec<(String, Vec<usize>)> {
        let taken = self.taken.iter();
        let mut model: Vec<_> = taken.map(|(name, shape, _)| (name.clone(), shape.clone())).collect();
        model.sort();
        model
    }

    /// What the file calls each tensor of the model.
    pub fn sources(&self) -> BTreeMap<&str, &str> {
        let taken = self.taken.iter();
        taken
            .map(|(name, _, place)| (name.as_str(), self.file[*place].0.as_str()))
            .collect()
    }

    /// Compares what `selection` takes of the file with what diffusers takes, one to one.
    ///
    /// # Panics
    /// They differ.
    pub fn assert_taken_by(&self, selection: &Selection) {
        let taken = selection.plan("file", self.shapes()).unwrap();
        let mut taken: Vec<_> = taken.into_iter().map(|t| (t.name, t.shape, t.source)).collect();
        let source = |(name, shape, place): &(String, Vec<usize>, usize)| {
            (name.clone(), shape.clone(), self.file[*place].0.clone())
        };
        let mut expected: Vec<_> = self.taken.iter().map(source).collect();
        taken.sort();
        expected.sort();
        for (taken, expected) in taken.iter().zip(&expected) {
            assert_eq!(taken, expected);
        }
        assert_eq!(taken.len(), expected.len());
    }

    /// Writes a safetensors file in half precision with these tensors, one after the other. Their values are zeros that take
    /// no room on the disk.
    ///
    /// # Panics
    /// It can't be written.
    pub fn write_hollow<'a>(tensors: impl IntoIterator<Item = (&'a str, &'a [usize])>, path: &Path) {
        let (mut header, mut end) = (Map::new(), 0);
        for (key, shape) in tensors {
            let start = end;
            end += 2 * shape.iter().product::<usize>() as u64;
            let tensor = json!({"dtype": "F16", "shape": shape, "data_offsets": [start, end]});
            header.insert(key.into(), tensor);
        }
        let header = Value::Object(header).to_string();
        let mut file = fs::File::create(path).unwrap();
        file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
        file.write_all(header.as_bytes()).unwrap();
        file.set_len(8 + header.len() as u64 + end).unwrap();
    }
}
