//! Wan around its networks: sizes, previews, tiles, a transformer in a file of its own.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::folders::{copy, fixture, replace};
use safetensors::{SafeTensors, tensor::TensorView};
use serde_json::{Map, Value, json};
use t2v_pipeline::{Device, FlowShift, FolderModel, GenerateOptions, Lora, Pipeline, Preview, TextToVideoRequest};
use t2v_test_support::copy_folder;
use tempfile::TempDir;

pub(crate) fn open(folder: impl Into<FolderModel>) -> Pipeline {
    Pipeline::from_dir(folder, &Device::flex()).unwrap()
}

fn request() -> TextToVideoRequest {
    TextToVideoRequest::new("a red fox")
        .with_size(32, 16)
        .with_num_frames(9)
        .with_num_inference_steps(3)
        .with_seed(1)
}

#[test]
fn sides_may_be_longer_than_those_of_other_models() {
    let (large, small) = (open(fixture("wan_a")), open(fixture("tiny_a")));
    let sized = |width, height| request().with_size(width, height).with_num_frames(1);
    let report = large.resolve(&sized(1280, 720), None).unwrap();
    assert_eq!((report.width, report.height), (1280, 720));
    assert_eq!(large.nearest_size([1280, 720]), [1280, 720]);
    assert_eq!(large.limits().width.maximum, 2048);
    assert_eq!(small.limits().width.maximum, 1024);
    // The tokens of the other autoencoder stand for twice as many pixels.
    let tokens_of_32 = open(fixture("wan_c"));
    assert_eq!(tokens_of_32.nearest_size([1280, 720]), [1280, 736]);
    for (pipeline, width, height, part) in [
        (&large, 1281, 720, "1280 or 1296"),
        (&large, 2064, 720, "greater than 2048"),
        (&tokens_of_32, 1280, 720, "704 or 736"),
        (&small, 1280, 720, "greater than 1024"),
    ] {
        let message = pipeline.resolve(&sized(width, height), None).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
    let message = large
        .resolve(&request().with_num_frames(80), None)
        .unwrap_err()
        .to_string();
    assert!(message.contains("77 or 81"), "{message}");
}

fn previews(folder: &Path) -> Result<Vec<Preview>, String> {
    let mut previews = Vec::new();
    let options = GenerateOptions::default().with_previews(1, |preview| previews.push(preview.clone()));
    let made = open(folder).generate_with(&request(), options);
    made.map_err(|error| error.to_string())?;
    Ok(previews)
}

#[test]
fn previews_are_of_latent_frames() {
    for (name, side) in [("wan_a", [4, 2]), ("wan_b", [4, 2])] {
        let previews = previews(&fixture(name)).unwrap();
        assert_eq!(
            previews.iter().map(|preview| preview.done).collect::<Vec<_>>(),
            [1, 2, 3]
        );
        for preview in previews {
            assert_eq!(preview.frames.len(), 3);
            assert_eq!(preview.frames[0].dimensions(), (side[0], side[1]));
        }
    }
}

/// A copy of a folder with a small decoder.
fn with_decoder(folder: &str, decoder: &str, name: &str) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_folder(&fixture(folder), copy.path());
    let fixture = fixture(format!(
        "../../../t2v-vae/tests/fixtures/wan_tiny_{decoder}.safetensors"
    ));
    let bytes = fs::read(fixture).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let weights: BTreeMap<String, TensorView<'_>> = tensors
        .iter()
        .filter_map(|(key, view)| Some((key.strip_prefix("weights.")?.to_owned(), view)))
        .collect();
    fs::write(copy.path().join(name), safetensors::serialize(weights, None).unwrap()).unwrap();
    copy
}

#[test]
fn previews_are_the_small_decoders_where_the_folder_has_it() {
    let folder = with_decoder("wan_a", "a", "taew2_1.safetensors");
    let mut latents = Vec::new();
    let mut previews = Vec::new();
    let options = GenerateOptions::default()
        .with_previews(3, |preview| previews.push(preview.clone()))
        .with_latents(|kept| {
            latents.push(kept.clone());
            Ok(())
        });
    open(folder.path()).generate_with(&request(), options).unwrap();
    let frames = &previews.last().unwrap().frames;
    assert_eq!(frames.len(), 3);
    assert_eq!(frames[0].dimensions(), (32, 16));
    // They differ from one another, as the latents do.
    assert_eq!(latents[0].shape(), [1, 4, 3, 2, 4]);
    assert!(frames[0] != frames[1] && frames[1] != frames[2]);
    let folder = with_decoder("wan_a", "b", "taew2_2.safetensors");
    let message = self::previews(folder.path()).unwrap_err();
    assert!(
        message.contains("taew2_2.safetensors") && message.contains("3 channels"),
        "{message}"
    );
}

#[test]
fn tiles_change_large_frames_alone() {
    let pipeline = open(fixture("wan_a"));
    let frames = |width, height, tiled| {
        let request = request()
            .with_size(width, height)
            .with_num_inference_steps(1)
            .with_vae_tiling(tiled);
        pipeline.generate(&request).unwrap().frames().to_vec()
    };
    assert!(frames(64, 32, true) == frames(64, 32, false));
    let (tiled, whole) = (frames(288, 32, true), frames(288, 32, false));
    assert!(tiled.len() == whole.len() && tiled != whole);
}

/// What Wan's own code calls a key of diffusers' transformer (`scripts/make_t2v_denoiser_wan_fixtures.py`).
fn original(key: &str) -> String {
    if key == "scale_shift_table" {
        return "head.modulation".into();
    }
    let names = [
        ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
        ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
        ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
        ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
        ("condition_embedder.time_proj", "time_projection.1"),
        ("proj_out", "head.head"),
        ("attn1", "self_attn"),
        ("attn2", "cross_attn"),
        (".to_out.0.", ".o."),
        (".to_q.", ".q."),
        (".to_k.", ".k."),
        (".to_v.", ".v."),
        ("ffn.net.0.proj", "ffn.0"),
        ("ffn.net.2", "ffn.2"),
        ("scale_shift_table", "modulation"),
        (".norm2.", ".norm3."),
    ];
    names
        .iter()
        .fold(key.to_owned(), |key, (new, old)| key.replace(new, old))
}

/// A folder without the weights of a transformer, which lie in a file beside it.
pub(crate) fn apart(folder: &str, component: &str, file: &str) -> (TempDir, PathBuf, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let (folder_path, file) = (root.path().join("folder"), root.path().join(file));
    copy_folder(&fixture(folder), &folder_path);
    let weights = folder_path.join(component).join("diffusion_pytorch_model.safetensors");
    let bytes = fs::read(&weights).unwrap();
    fs::remove_file(weights).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let renamed: BTreeMap<String, TensorView<'_>> = tensors
        .iter()
        .map(|(key, view)| (format!("model.diffusion_model.{}", original(key)), view))
        .collect();
    fs::write(&file, safetensors::serialize(renamed, None).unwrap()).unwrap();
    (root, folder_path, file)
}

#[test]
fn a_transformer_in_one_file_is_that_of_the_folder() {
    for (folder, component, name) in [
        ("wan_a", "transformer", "wan.safetensors"),
        ("wan_b", "transformer", "wan2.2_high_noise.safetensors"),
        ("wan_b", "transformer_2", "wan2.2_low_noise.safetensors"),
    ] {
        let (_root, rest, file) = apart(folder, component, name);
        let expected = open(fixture(folder)).generate(&request()).unwrap();
        let video = open(FolderModel::new(&file).with_config(&rest))
            .generate(&request())
            .unwrap();
        assert!(video.frames() == expected.frames(), "{name}");
        if folder == "wan_a" {
            // In diffusers' layout.
            let own = fixture(folder)
                .join(component)
                .join("diffusion_pytorch_model.safetensors");
            let video = open(FolderModel::new(own).with_config(&rest))
                .generate(&request())
                .unwrap();
            assert!(video.frames() == expected.frames());
            // An index is made where the folder has none.
            fs::remove_file(rest.join("model_index.json")).unwrap();
            let video = open(FolderModel::new(&file).with_config(&rest))
                .generate(&request())
                .unwrap();
            assert!(video.frames() == expected.frames());
        }
    }
}

#[test]
fn what_a_single_file_lacks_is_said() {
    let (_root, rest, file) = apart("wan_a", "transformer", "wan.safetensors");
    let said = |model: FolderModel| Pipeline::from_dir(model, &Device::flex()).err().unwrap().to_string();
    assert!(said(FolderModel::new(&file)).contains("the transformer of Wan in one file"));
    fs::remove_file(rest.join("transformer/config.json")).unwrap();
    // The width of a head is that of all published models, which this small one does not have.
    let message = said(FolderModel::new(&file).with_config(&rest));
    assert!(message.contains("multiples of 128"), "{message}");
    fs::remove_dir_all(rest.join("vae")).unwrap();
    fs::write(
        rest.join("transformer/config.json"),
        json!({"_class_name": "WanTransformer3DModel"}).to_string(),
    )
    .unwrap();
    let message = said(FolderModel::new(&file).with_config(&rest));
    assert!(message.contains("vae"), "{message}");
}

/// The folder with another scheduler.
fn with_scheduler(folder: &str, scheduler: &Value) -> TempDir {
    let copy = copy(folder);
    let entry = json!(["diffusers", scheduler["_class_name"]]);
    let keys = Map::from_iter([("scheduler".into(), entry)]);
    replace(&copy.path().join("model_index.json"), &keys);
    fs::write(
        copy.path().join("scheduler/scheduler_config.json"),
        scheduler.to_string(),
    )
    .unwrap();
    copy
}

#[test]
fn solvers_follow_the_flow_of_a_scheduler_for_flows_alone() {
    let own: Value =
        serde_json::from_slice(&fs::read(fixture("wan_a").join("scheduler/scheduler_config.json")).unwrap()).unwrap();
    assert_eq!(own["_class_name"], "UniPCMultistepScheduler");
    let of_flows = with_scheduler(
        "wan_a",
        &json!({"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": own["flow_shift"]}),
    );
    let request = request().with_scheduler("UniPCMultistepScheduler");
    let expected = open(fixture("wan_a")).generate(&request).unwrap();
    let pipeline = open(of_flows.path());
    assert!(pipeline.generate(&request).unwrap().frames() == expected.frames());
    let shifted = request.clone().with_flow_shift(FlowShift::Of(9.0));
    assert!(pipeline.generate(&shifted).unwrap().frames() != expected.frames());
}

#[test]
fn schedulers_that_follow_no_flow_are_refused_with_those_that_do() {
    for folder in ["wan_a", "wan_c"] {
        let message = open(fixture(folder))
            .resolve(&request().with_size(32, 32).with_scheduler("DDIM"), None)
            .unwrap_err()
            .to_string();
        assert!(message.contains("flow_prediction"), "{message}");
        assert!(
            message.contains("UniPCMultistepScheduler") && message.contains("FlowMatchEuler"),
            "{message}"
        );
        assert!(!message.contains("EulerAncestral"), "{message}");
    }
}

#[test]
fn a_lora_of_a_text_encoder_alone_is_refused() {
    let pipeline = open(fixture("wan_a"));
    let values = [0_u8; 16];
    let tensors = [("lora_down", [1, 4]), ("lora_up", [4, 1])].map(|(factor, shape)| {
        let name = format!("lora_te_text_model_encoder_layers_0_mlp_fc1.{factor}.weight");
        (
            name,
            TensorView::new(safetensors::Dtype::F32, shape.to_vec(), &values).unwrap(),
        )
    });
    let lora = Lora::from_safetensors("te", safetensors::serialize(tensors, None).unwrap()).unwrap();
    pipeline.add_lora("te", lora).unwrap();
    let message = pipeline
        .generate(&request().with_lora("te", 1.0))
        .unwrap_err()
        .to_string();
    assert!(message.contains("for a text encoder"), "{message}");
}

#[test]
fn the_small_model_of_the_second_version_has_more_frames_a_second() {
    for (folder, fps) in [("wan_a", 16), ("wan_c", 24)] {
        let report = open(fixture(folder))
            .resolve(&TextToVideoRequest::new("a fox"), None)
            .unwrap();
        assert_eq!(report.fps, fps, "{folder}");
    }
}
