//! What is told of the bytes of a network while it is read, and how that is stopped.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use burn::{
    module::{Module, Param},
    nn::{LayerNorm, LayerNormConfig},
    tensor::{DType, Device, Tensor},
};
use t2v_weights::{KeyMap, LoadReport, ReadMeter, Selection, Weights, WeightsError};

/// More than several threads read at once.
const ROWS: usize = 6 << 10;
const COLUMNS: usize = 1 << 10;

#[derive(Module, Debug)]
struct Network {
    matrix: Param<Tensor<2>>,
    norm: LayerNorm,
    layers: Vec<Layer>,
}

#[derive(Module, Debug)]
enum Layer {
    Scale(Scale),
}

#[derive(Module, Debug)]
struct Scale {
    factor: Param<Tensor<1>>,
}

fn zeros<const D: usize>(shape: [usize; D]) -> Param<Tensor<D>> {
    Param::from_tensor(Tensor::zeros(shape, &Device::flex()))
}

fn network() -> Network {
    Network {
        matrix: zeros([ROWS, COLUMNS]),
        norm: LayerNormConfig::new(8).init(&Device::flex()),
        layers: vec![Layer::Scale(Scale { factor: zeros([3]) })],
    }
}

/// A safetensors file of tensors in half precision.
fn file(tensors: &[(&str, &[usize])]) -> Vec<u8> {
    let (mut header, mut end) = (serde_json::Map::new(), 0);
    for (name, shape) in tensors {
        let start = end;
        end += shape.iter().product::<usize>() * 2;
        let tensor = serde_json::json!({"dtype": "F16", "shape": shape, "data_offsets": [start, end]});
        header.insert((*name).to_owned(), tensor);
    }
    let header = serde_json::Value::from(header).to_string();
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header.as_bytes(), &vec![0; end]].concat()
}

fn whole_file() -> Vec<u8> {
    file(&[
        ("matrix", &[ROWS, COLUMNS]),
        ("norm.weight", &[8]),
        ("norm.bias", &[8]),
        ("layers.0.factor", &[3]),
        ("unused", &[1000]),
    ])
}

/// Bytes of the file's tensors that the network takes.
const TAKEN: u64 = (ROWS * COLUMNS + 8 + 8 + 3) as u64 * 2;

fn load(weights: &Weights, dtype: DType) -> Result<LoadReport, WeightsError> {
    weights.load(&mut network(), &KeyMap::new(), dtype)
}

#[test]
fn the_bytes_of_the_tensors_that_are_read_count_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    std::fs::write(&path, whole_file()).unwrap();
    for weights in [
        Weights::open(&path).unwrap(),
        Weights::from_safetensors("memory", whole_file()),
    ] {
        // Stored bytes, whatever they become.
        for dtype in [DType::F32, DType::F16] {
            let meter = ReadMeter::new();
            let report = load(&weights.clone().with_meter(&meter), dtype).unwrap();
            assert_eq!(report.unused_keys, ["unused"]);
            assert_eq!((meter.read(), meter.total()), (TAKEN, TAKEN), "{dtype:?}");
        }
    }
}

#[test]
fn what_is_read_never_falls_and_ends_at_the_total() {
    let meter = ReadMeter::new();
    let weights = Weights::from_safetensors("memory", whole_file()).with_meter(&meter);
    let is_finished = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = vec![(0, 0)];
            while !is_finished.load(Ordering::Relaxed) {
                let now = (meter.read(), meter.total());
                if seen.last() != Some(&now) {
                    seen.push(now);
                }
            }
            seen
        });
        load(&weights, DType::F32).unwrap();
        is_finished.store(true, Ordering::Relaxed);
        watcher.join().unwrap()
    });
    assert!(seen.is_sorted_by_key(|(read, _)| *read), "{seen:?}");
    assert!(
        seen.iter().all(|(read, total)| read <= total || *total == 0),
        "{seen:?}"
    );
    assert!(seen.iter().all(|(_, total)| [0, TAKEN].contains(total)), "{seen:?}");
    assert_eq!((meter.read(), meter.total()), (TAKEN, TAKEN));
}

#[test]
fn a_tensor_that_is_cut_into_parts_counts_once() {
    #[derive(Module, Debug)]
    struct Parts {
        q: Param<Tensor<2>>,
        k: Param<Tensor<2>>,
        v: Param<Tensor<2>>,
    }
    let bytes = file(&[("in_proj", &[6, 4])]);
    let meter = ReadMeter::new();
    let selection = Selection::new().split("^in_proj$", &["q", "k", "v"]);
    let weights = Weights::from_safetensors("memory", bytes)
        .with_selection(selection)
        .with_meter(&meter);
    let [q, k, v] = [(); 3].map(|()| zeros([2, 4]));
    weights
        .load(&mut Parts { q, k, v }, &KeyMap::new(), DType::F32)
        .unwrap();
    assert_eq!((meter.read(), meter.total()), (48, 48));
}

#[test]
fn stopping_ends_it_before_all_is_read() {
    let meter = ReadMeter::new();
    let weights = Weights::from_safetensors("memory", whole_file()).with_meter(&meter);
    meter.stop();
    let error = load(&weights, DType::F32).unwrap_err();
    assert!(
        matches!(&error, WeightsError::Stopped { origin } if origin == "memory"),
        "{error}"
    );
    assert_eq!((meter.read(), meter.total()), (0, TAKEN));

    meter.reset();
    assert_eq!((meter.read(), meter.total()), (0, 0));
    load(&weights, DType::F32).unwrap();
    assert_eq!(meter.read(), TAKEN);
}
