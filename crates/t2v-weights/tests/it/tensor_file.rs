//! Files of tensors that stand alone (`scripts/make_t2v_weights_fixtures.py`).

use safetensors::{Dtype, tensor::TensorView};
use t2v_weights::{TensorFile, WeightsError};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

#[test]
fn pickles_are_read_as_floats() {
    for name in ["single.bin", "half.bin"] {
        let file = TensorFile::open(format!("{FIXTURES}/{name}")).unwrap();
        let names: Vec<&str> = file.names().collect();
        assert_eq!(names, ["norm.bias", "norm.weight", "proj.bias", "proj.weight"]);
        let (shape, values) = file.read("proj.weight").unwrap();
        assert_eq!((shape, values), (vec![2, 3], vec![0.0, 0.25, 0.5, 0.75, 1.0, 1.25]));
        assert_eq!(file.string("name"), None);
    }
}

#[test]
fn only_floats_that_are_there_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("numbers.safetensors");
    let bytes = 7i64.to_le_bytes();
    let view = TensorView::new(Dtype::I64, vec![1], &bytes).unwrap();
    safetensors::serialize_to_file([("step", view)], None, &path).unwrap();
    let file = TensorFile::open(&path).unwrap();
    for (name, part) in [("step", "I64"), ("absent", "no tensor `absent`")] {
        let message = file.read(name).unwrap_err().to_string();
        assert!(message.contains(part) && message.contains(file.display()), "{message}");
    }
    let error = TensorFile::open(folder.path().join("absent.pt")).unwrap_err();
    assert!(matches!(error, WeightsError::MissingFile { .. }), "{error}");
}
