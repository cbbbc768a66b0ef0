//! Files that lie: refused in a sentence, whatever is wrong with them.

use t2v_weights::{TensorFile, Weights};

use super::{
    file::{F32, File, Q8_0, blocks, floats, written},
    loading::file,
};

fn said(bytes: &[u8]) -> String {
    let (_folder, path) = written(bytes);
    let message = TensorFile::open(&path).unwrap_err().to_string();
    assert!(message.contains("model.gguf"), "{message}");
    message
}

/// The bytes with a number of 8 bytes in place of what is at `at`.
fn with_number(bytes: &[u8], at: usize, number: u64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
    bytes
}

#[test]
fn faults_are_named() {
    let one = |shape: &[u64], kind, len: usize| File::new().with_tensor("w", shape, kind, vec![0; len]).bytes();
    let right = one(&[2, 32], Q8_0, 68);
    let mut big_endian = right.clone();
    big_endian[4..8].reverse();
    let mut old = right.clone();
    old[4] = 1;
    let twice = File::new()
        .with_tensor("w", &[1], F32, floats(&[1.0]))
        .with_tensor("w", &[1], F32, floats(&[1.0]));
    let misaligned = File::new().with_key("general.alignment", 4, &0_u32.to_le_bytes());
    let original = |shape: &[i32]| {
        let file = File::new().with_integers("comfy.gguf.orig_shape.w", shape);
        file.with_tensor("w", &[1, 32], Q8_0, blocks(1, 0)).bytes()
    };
    for (bytes, part) in [
        (b"not a model".to_vec(), "does not begin with `GGUF`"),
        (b"GG".to_vec(), "truncated"),
        (big_endian, "big-endian"),
        (old, "version 1"),
        (right[..right.len() - 1].to_vec(), "`w` should be 68 bytes"),
        (right[..60].to_vec(), "truncated"),
        (
            with_number(&right, 8, u64::MAX),
            "tensors, more than the file has room for",
        ),
        (
            with_number(&right, 8, 1 << 40),
            "tensors, more than the file has room for",
        ),
        (
            with_number(&right, 16, u64::MAX / 2),
            "keys, more than the file has room for",
        ),
        (
            one(&[2, 31], Q8_0, 68),
            "`w` has rows of 31 values, no whole blocks of 32 in Q8_0",
        ),
        (one(&[1 << 40, 1 << 40], F32, 4), "`w` has the shape"),
        (one(&[1 << 60, 32], Q8_0, 4), "`w` has the shape"),
        (one(&[1 << 40], F32, 4), "beyond the end of the file"),
        (one(&[32], 16, 4), "`w` is of the kind IQ"),
        (one(&[32], 39, 4), "`w` is of GGML's kind 39"),
        (one(&[], F32, 4), "`w` has 0 axes"),
        (one(&[1; 9], F32, 4), "`w` has 9 axes"),
        (twice.bytes(), "two tensors `w`"),
        (misaligned.bytes(), "`general.alignment` is 0"),
        (File::new().with_key("k", 13, &[0; 16]).bytes(), "`k` is of the kind 13"),
        (original(&[1, 64]), "can't be its original one"),
        (original(&[1; 9]), "is no shape"),
    ] {
        let message = said(&bytes);
        assert!(message.contains(part), "{part}: {message}");
    }
}

/// Arrays in arrays, however deep, end.
#[test]
fn nested_arrays_have_an_end() {
    let mut value = Vec::new();
    for _ in 0..50 {
        value.extend(9_u32.to_le_bytes());
        value.extend(1_u64.to_le_bytes());
    }
    let message = said(&File::new().with_key("k", 9, &value).bytes());
    assert!(message.contains("`k` has arrays in arrays"), "{message}");
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}

#[test]
fn mutated_files_are_read_or_refused() {
    let whole = file().bytes();
    let (_folder, path) = written(&whole);
    let mut random = Random(42);
    let mut refused = 0;
    for _ in 0..3000 {
        let mut bytes = whole.clone();
        for _ in 0..1 + random.below(4) {
            // Mostly in the header, which is the first half.
            let at = random.below(bytes.len() / 2);
            match random.below(4) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at] = 255,
                2 => {
                    let end = (at + 8).min(bytes.len());
                    bytes[at..end].fill([0, 255, 127][random.below(3)]);
                }
                _ => bytes.truncate(at.max(1)),
            }
            if bytes.len() < 2 {
                break;
            }
        }
        std::fs::write(&path, &bytes).unwrap();
        let read = TensorFile::open(&path).and_then(|file| {
            let names: Vec<String> = file.names().map(str::to_owned).collect();
            names.iter().try_for_each(|name| file.read(name).map(drop))
        });
        match read {
            Ok(()) => {}
            Err(error) => {
                refused += 1;
                let message = error.to_string();
                assert!(message.contains("model.gguf") && !message.contains('\n'), "{message}");
            }
        }
        // As weights of a model, whose names are looked at too.
        let _ = Weights::open(&path).unwrap().shapes();
    }
    assert!(refused > 1000, "{refused}");
}
