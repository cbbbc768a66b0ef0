//! Pickles that name more than tensors (`scripts/make_single_file_fixtures.py`).

use t2v_weights::{Selection, TensorFile, Weights};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

/// The first is a dictionary as `torch.save` writes it, the others are of older layouts and protocols.
#[test]
fn a_pickle_that_would_run_code_is_refused_in_every_container() {
    for name in ["calls.ckpt", "calls_legacy.ckpt", "calls_4.ckpt", "calls_0.ckpt"] {
        let message = TensorFile::open(format!("{FIXTURES}/{name}")).unwrap_err().to_string();
        for part in [name, "run code", "`os.getenv`", "safetensors"] {
            assert!(message.contains(part), "{name}: `{part}` is not in: {message}");
        }
        let weights = Weights::open(format!("{FIXTURES}/{name}")).unwrap();
        assert_eq!(weights.shapes().unwrap_err().to_string(), message);
    }
}

#[test]
fn numbers_and_counters_beside_tensors_are_no_code() {
    let weights = Weights::open(format!("{FIXTURES}/wrapped.ckpt")).unwrap();
    let names =
        |weights: &Weights| -> Vec<String> { weights.shapes().unwrap().into_iter().map(|(name, _)| name).collect() };
    let wrapped = ["state_dict.module.count", "state_dict.module.norms.0.weight"];
    assert_eq!(names(&weights), wrapped);
    let selection = Selection::new().unwrap("state_dict.").unwrap("module.");
    assert_eq!(names(&weights.with_selection(selection)), ["count", "norms.0.weight"]);
}

/// Each byte of a file that would run code is damaged in turn, and each length tried: no panic, no endless loop, and never
/// a file that passes with the name of the function still in it.
#[test]
fn damaged_pickles_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.ckpt");
    let whole = std::fs::read(format!("{FIXTURES}/calls_legacy.ckpt")).unwrap();
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(TensorFile::open(&path).is_err(), "{length}");
    }
    let call = whole.windows(9).position(|bytes| bytes == b"os\ngetenv").unwrap();
    for (place, flip) in (0..whole.len()).flat_map(|place| [1, 0x20, 0x80].map(|flip| (place, flip))) {
        let mut bytes = whole.clone();
        bytes[place] ^= flip;
        std::fs::write(&path, &bytes).unwrap();
        let opened = TensorFile::open(&path);
        if place < call {
            assert!(opened.is_err(), "byte {place} ^ {flip}");
        }
    }
}
