//! Every number of a checkpoint's configurations, changed to numbers that nobody means: a video, or one sentence that
//! says what is at fault. Never a panic, and no attempt to get all memory.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use crate::folders::copy;
use serde_json::{Map, Value, json};
use t2v_pipeline::{Device, Pipeline, TextToVideoRequest};

/// Files, and what a message about one of their numbers may call it, besides the key and the file.
const CONFIGS: [(&str, &[&str]); 5] = [
    ("text_encoder/config.json", &["text_encoder", "text encoder"]),
    ("tokenizer/tokenizer_config.json", &["tokenizer"]),
    ("unet/config.json", &["unet", "denoiser"]),
    ("vae/config.json", &["vae", "VAE"]),
    ("scheduler/scheduler_config.json", &["scheduler"]),
];
const NUMBERS: [u64; 5] = [0, 1, 3, 1_000_000_000, 1 << 63];
/// What a message says where a configuration is good by itself, but its video is no picture.
const RESULTS: [&str; 2] = ["finite", "NaN"];

fn read(path: &Path) -> Map<String, Value> {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The keys and, in lists, places of all numbers, and of the keys in `also` whatever they hold.
fn numbers(config: &Map<String, Value>, also: &[&str]) -> Vec<(String, Option<usize>)> {
    let mut found = Vec::new();
    for (key, value) in config {
        match value {
            Value::Number(_) => found.push((key.clone(), None)),
            Value::Array(items) => {
                let places = (0..items.len()).filter(|i| items[*i].is_number());
                found.extend(places.map(|i| (key.clone(), Some(i))));
            }
            _ if also.contains(&key.as_str()) => found.push((key.clone(), None)),
            _ => {}
        }
    }
    found
}

/// Generates as small a video as there is; in the size of the configuration where that is what was changed.
fn outcome(folder: &Path, key: &str) -> Result<(), String> {
    let generate = || {
        let pipeline = Pipeline::from_dir(folder, &Device::flex()).map_err(|e| e.to_string())?;
        let mut request = TextToVideoRequest::new("a cat").with_seed(1);
        request.num_inference_steps = Some(2);
        request.num_frames = Some(1);
        if key != "sample_size" {
            request.width = Some(32);
            request.height = Some(32);
        }
        pipeline.generate(&request).map(|_| ()).map_err(|e| e.to_string())
    };
    catch_unwind(AssertUnwindSafe(generate)).unwrap_or_else(|_| Err("PANIC".into()))
}

/// What is wrong with the outcomes of a file, a line each.
fn faults(file: &str, names: &[&str], also: &[&str]) -> Vec<String> {
    let folder = copy("tiny_a");
    let path = folder.path().join(file);
    let good = read(&path);
    let mut faults = Vec::new();
    let numbers = numbers(&good, also);
    assert!(!numbers.is_empty(), "{file}");
    for (key, place) in numbers {
        for number in NUMBERS {
            let mut config = good.clone();
            match place {
                Some(place) => config[&key][place] = json!(number),
                None => config[&key] = json!(number),
            }
            fs::write(&path, Value::Object(config).to_string()).unwrap();
            let Err(message) = outcome(folder.path(), &key) else {
                continue;
            };
            let named = names.iter().chain(&RESULTS).any(|name| message.contains(name)) || message.contains(&key);
            if !named || message.contains("PANIC") || message.contains('\n') {
                faults.push(format!("{file}: {key} {place:?} = {number}: {message}"));
            }
        }
    }
    faults
}

#[test]
fn numbers_that_nobody_means_end_in_a_video_or_a_sentence() {
    let also = [
        "time_cond_proj_dim",
        "num_attention_heads",
        "shift_factor",
        "trained_betas",
    ];
    let mut all = Vec::new();
    for (file, names) in CONFIGS {
        all.extend(faults(file, names, &also));
    }
    assert!(all.is_empty(), "{} faults:\n{}", all.len(), all.join("\n"));
}

#[test]
fn a_value_of_a_wrong_type_names_its_key() {
    let whole = "a whole number of at least 0";
    for (file, key, value, parts) in [
        (
            "unet/config.json",
            "attention_head_dim",
            json!([4, 4]),
            ["`attention_head_dim`", whole],
        ),
        (
            "unet/config.json",
            "block_out_channels",
            json!([8, "16"]),
            ["`block_out_channels[1]`", whole],
        ),
        (
            "unet/config.json",
            "sample_size",
            json!("4"),
            ["`sample_size`", "[height, width]"],
        ),
        (
            "unet/config.json",
            "norm_eps",
            json!("1e-5"),
            ["`norm_eps`", "a number"],
        ),
        (
            "unet/config.json",
            "down_block_types",
            json!(["DownBlock2D"]),
            ["`down_block_types[0]`", "`DownBlock3D`"],
        ),
        ("unet/config.json", "act_fn", json!("tanh"), ["`act_fn`", "`silu`"]),
        (
            "vae/config.json",
            "sample_size",
            json!([32]),
            ["`sample_size`", "[height, width]"],
        ),
        (
            "vae/config.json",
            "scaling_factor",
            json!(null),
            ["`scaling_factor`", "a number"],
        ),
        (
            "vae/config.json",
            "use_quant_conv",
            json!(1),
            ["`use_quant_conv`", "a boolean"],
        ),
        (
            "text_encoder/config.json",
            "num_hidden_layers",
            json!(2.5),
            ["`num_hidden_layers`", whole],
        ),
        (
            "text_encoder/config.json",
            "hidden_size",
            json!(-16),
            ["`hidden_size`", whole],
        ),
        ("t2v.json", "num_frames", json!("16"), ["`num_frames`", whole]),
        ("t2v.json", "frames", json!(16), ["`frames`", "`num_frames`"]),
        (
            "model_index.json",
            "unet",
            json!("UNet3DConditionModel"),
            ["`unet`", "[\"library\", \"ClassName\"]"],
        ),
        (
            "model_index.json",
            "text_encoder",
            json!(["transformers", "T5EncoderModel"]),
            ["`text_encoder`", "CLIPTextModel"],
        ),
        (
            "model_index.json",
            "tokenizer",
            json!(["transformers", "T5Tokenizer"]),
            ["`tokenizer`", "CLIPTokenizer"],
        ),
    ] {
        let folder = copy("tiny_a");
        let path = folder.path().join(file);
        let mut config = if path.exists() { read(&path) } else { Map::new() };
        config.insert(key.into(), value.clone());
        fs::write(&path, Value::Object(config).to_string()).unwrap();
        let message = outcome(folder.path(), key).unwrap_err();
        for part in parts.iter().chain(&[file]) {
            assert!(message.contains(part), "{key} = {value}: `{part}` is not in: {message}");
        }
    }
}
