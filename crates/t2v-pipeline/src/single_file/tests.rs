//! Checkpoints with the tensors of the real ones, by name and shape, and no values; and a small model whose folder there is.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use burn::{
    module::{ModuleVisitor, Param},
    tensor::{DType, Device, Tensor},
};
use safetensors::{SafeTensors, tensor::TensorView};
use serde_json::{Value, json};
use t2v_denoiser::UNet2d;
use t2v_test_support::{LayoutKeys, copy_folder};
use t2v_text_encoder::{ClipTextConfig, ClipTextModel};
use t2v_vae::{AutoencoderKl, AutoencoderKlConfig};
use t2v_weights::{LoadOptions, ModelFolder, Network};
use tempfile::TempDir;

use super::open_single_file;

type Tensors = Vec<(String, Vec<usize>)>;

fn keys(crate_name: &str, case: &str) -> LayoutKeys {
    LayoutKeys::read(&format!("{}/../{crate_name}", env!("CARGO_MANIFEST_DIR")), case)
}

/// U-Net, autoencoder and text encoder.
fn components(unet: &str, text_encoder: &str) -> [(&'static str, LayoutKeys); 3] {
    [
        ("unet", keys("t2v-denoiser", unet)),
        ("vae", keys("t2v-vae", "vae")),
        ("text_encoder", keys("t2v-text-encoder", text_encoder)),
    ]
}

fn v1() -> Tensors {
    let components = components("v1", "clip");
    components.into_iter().flat_map(|(_, keys)| keys.file).collect()
}

fn v2() -> Tensors {
    let components = components("v2", "open_clip");
    components.into_iter().flat_map(|(_, keys)| keys.file).collect()
}

/// Tensors under a prefix.
fn wrapped(tensors: Tensors, wrapper: &str) -> Tensors {
    let wrap = |(key, shape)| (format!("{wrapper}{key}"), shape);
    tensors.into_iter().map(wrap).collect()
}

/// With another number of channels that the U-Net takes.
fn taking(mut tensors: Tensors, channels: usize) -> Tensors {
    let input = |(key, _): &&mut (String, Vec<usize>)| key.ends_with("input_blocks.0.0.weight");
    tensors.iter_mut().find(input).unwrap().1[1] = channels;
    tensors
}

/// A folder with a file of these tensors, and another with a tokenizer.
struct World {
    root: TempDir,
    file: PathBuf,
    folder: PathBuf,
}

impl World {
    fn new(tensors: &Tensors) -> Self {
        let root = tempfile::tempdir().unwrap();
        let (file, folder) = (root.path().join("model.safetensors"), root.path().join("folder"));
        let shapes = tensors.iter().map(|(key, shape)| (key.as_str(), shape.as_slice()));
        LayoutKeys::write_hollow(shapes, &file);
        let tokenizer = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../t2v-text-encoder/tests/fixtures/tokenizer"
        );
        copy_folder(Path::new(tokenizer), &folder.join("tokenizer"));
        Self { root, file, folder }
    }

    fn write(&self, path: &str, json: &Value) {
        let path = self.folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, json.to_string()).unwrap();
    }

    fn open(&self) -> Result<ModelFolder, String> {
        open_single_file(&self.file, Some(&self.folder)).map_err(|e| e.to_string())
    }
}

fn shapes(model: &ModelFolder, component: &str) -> Tensors {
    let component = model.component(component).unwrap();
    component.weights().unwrap().shapes().unwrap()
}

fn scheduler(model: &ModelFolder) -> (String, Value) {
    let component = model.component("scheduler").unwrap();
    let config = Value::Object(component.json("scheduler_config.json").unwrap());
    // It is one that can be used.
    let kind = component.entry().unwrap().class.parse().unwrap();
    t2v_schedulers::for_model(kind, &config).unwrap();
    (
        component.entry().unwrap().class.clone(),
        config["prediction_type"].clone(),
    )
}

#[test]
fn every_tensor_of_the_components_is_there_under_diffusers_names() {
    for (unet, text_encoder, tensors) in [("v1", "clip", v1()), ("v2", "open_clip", v2())] {
        for wrapper in ["", "state_dict."] {
            let world = World::new(&wrapped(tensors.clone(), wrapper));
            let model = world.open().unwrap();
            for (component, keys) in components(unet, text_encoder) {
                assert_eq!(shapes(&model, component), keys.model(), "{unet} {component}");
            }
            ClipTextConfig::from_component(&model.component("text_encoder").unwrap()).unwrap();
            let vae = AutoencoderKlConfig::from_component(&model.component("vae").unwrap()).unwrap();
            assert_eq!(vae.scaling_factor, 0.18215);
            assert_eq!(model.name(), "model.safetensors");
        }
    }
}

#[test]
fn kinds_have_the_pipelines_and_schedulers_that_diffusers_gives_them() {
    for (tensors, pipeline, class, prediction, sides) in [
        (v1(), "StableDiffusionPipeline", "PNDMScheduler", "epsilon", [64, 512]),
        (
            taking(v1(), 9),
            "StableDiffusionInpaintPipeline",
            "DDIMScheduler",
            "epsilon",
            [64, 512],
        ),
        (
            v2(),
            "StableDiffusionPipeline",
            "DDIMScheduler",
            "v_prediction",
            [96, 768],
        ),
        (
            taking(v2(), 9),
            "StableDiffusionInpaintPipeline",
            "PNDMScheduler",
            "epsilon",
            [64, 512],
        ),
    ] {
        let model = World::new(&tensors).open().unwrap();
        assert_eq!(model.pipeline_class().unwrap(), Some(pipeline));
        assert_eq!(scheduler(&model), (class.into(), prediction.into()));
        let side =
            |component: &str| model.component(component).unwrap().json("config.json").unwrap()["sample_size"].clone();
        assert_eq!([side("unet"), side("vae")], sides.map(Value::from));
    }
}

#[test]
fn configurations_of_the_folder_come_first() {
    let world = World::new(&v2());
    world.write(
        "unet/config.json",
        &json!({"block_out_channels": [1, 2, 3, 4], "own": true}),
    );
    let euler = json!({"_class_name": "EulerDiscreteScheduler", "prediction_type": "epsilon"});
    world.write("scheduler/scheduler_config.json", &euler);
    let model = world.open().unwrap();
    assert_eq!(
        model.component("unet").unwrap().json("config.json").unwrap()["own"],
        true
    );
    // Its layout follows from the configuration, here from a default.
    assert_eq!(shapes(&model, "unet"), keys("t2v-denoiser", "v2").model());
    // The assumed index names the scheduler that the folder has.
    assert_eq!(scheduler(&model), ("EulerDiscreteScheduler".into(), "epsilon".into()));
    let index = json!({
        "_class_name": "Own", "scheduler": ["diffusers", "DDIMScheduler"], "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
    });
    world.write("model_index.json", &index);
    let model = world.open().unwrap();
    assert_eq!(model.pipeline_class().unwrap(), Some("Own"));
    assert_eq!(scheduler(&model).0, "DDIMScheduler");
}

#[test]
fn a_component_that_the_file_lacks_is_taken_from_the_folder() {
    let tensors: Tensors = v1()
        .into_iter()
        .filter(|(key, _)| !key.starts_with("first_stage"))
        .collect();
    let world = World::new(&tensors);
    let message = world.open().unwrap_err();
    for part in ["model.safetensors", "no weights of the `vae`", "folder/vae"] {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    fs::create_dir(world.folder.join("vae")).unwrap();
    let own = [("own", &[2][..])];
    LayoutKeys::write_hollow(own, &world.folder.join("vae/diffusion_pytorch_model.safetensors"));
    let model = world.open().unwrap();
    assert_eq!(shapes(&model, "vae"), [("own".to_owned(), vec![2])]);
    assert_eq!(shapes(&model, "unet"), keys("t2v-denoiser", "v1").model());
}

#[test]
fn a_tokenizer_is_asked_for() {
    let world = World::new(&v1());
    let message = open_single_file(&world.file, None).unwrap_err().to_string();
    for part in [
        "model.safetensors",
        "Stable Diffusion 1.x",
        "no tokenizer",
        "`tokenizer/`",
    ] {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    let absent = world.root.path().join("absent");
    let message = open_single_file(&world.file, Some(&absent)).unwrap_err().to_string();
    assert!(message.contains("no model folder at"), "{message}");
    fs::remove_dir_all(world.folder.join("tokenizer")).unwrap();
    let message = world.open().unwrap_err();
    assert!(message.contains("tokenizer/vocab.json` is missing"), "{message}");
}

#[test]
fn other_checkpoints_are_named() {
    let one = |key: &str| vec![(key.to_owned(), vec![1])];
    for (tensors, part) in [
        (taking(v1(), 8), "InstructPix2Pix"),
        (taking(v2(), 5), "the depth model"),
        (taking(v2(), 7), "the upscaler"),
        (
            [v1(), one("conditioner.embedders.0.transformer.x")].concat(),
            "Stable Diffusion XL",
        ),
        (
            one("conditioner.embedders.0.open_clip.model.ln_final.bias"),
            "Stable Video Diffusion",
        ),
        (one("model.diffusion_model.joint_blocks.0.x"), "Stable Diffusion 3"),
        (one("double_blocks.0.img_attn.norm.key_norm.scale"), "Flux"),
        (one("model.diffusion_model.head.modulation"), "Wan"),
        (one("control_model.time_embed.0.weight"), "a ControlNet"),
        (one("lora_unet_down_blocks_0.alpha"), "a LoRA"),
        (
            one("state_dict.module.down_blocks.0.motion_modules.0.temporal_transformer.norm.bias"),
            "a motion module of AnimateDiff",
        ),
        (one("emb_params"), "textual inversion"),
        (
            one("down_blocks.0.resnets.0.norm1.bias"),
            "one component in diffusers' layout",
        ),
        (
            one("encoder.down.0.block.0.norm1.bias"),
            "an autoencoder without a U-Net",
        ),
        (one("layers.0.bias"), "its first key is `layers.0.bias`"),
        (vec![], "it holds no tensor"),
    ] {
        let message = World::new(&tensors).open().unwrap_err();
        assert!(
            message.contains(part) && message.contains("model.safetensors"),
            "{part}: {message}"
        );
    }
}

/// A real file of a pickle, though with few tensors.
#[test]
fn pickles_are_read_and_those_that_would_run_code_refused() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../t2v-weights/tests/fixtures");
    let open = |name: &str| open_single_file(fixtures.join(name), None).unwrap_err().to_string();
    let message = open("calls.ckpt");
    assert!(
        message.contains("run code") && message.contains("`os.getenv`"),
        "{message}"
    );
    let message = open("wrapped.ckpt");
    assert!(message.contains("its first key is `state_dict.module."), "{message}");
}

/// The small model of the fixtures in one file in latent-diffusion's layout, and its folder.
fn small(root: &Path) -> (PathBuf, PathBuf) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sd");
    let (unet, vae) = (keys("t2v-denoiser", "small"), keys("t2v-vae", "small"));
    let read = |file: &str| fs::read(folder.join(file)).unwrap();
    let files = [
        read("unet/diffusion_pytorch_model.safetensors"),
        read("vae/diffusion_pytorch_model.safetensors"),
        read("text_encoder/model.safetensors"),
    ];
    let (unet, vae) = (unet.sources(), vae.sources());
    let rename = |component: usize, name: &str| match component {
        0 => unet[name].to_owned(),
        1 => vae[name].to_owned(),
        _ => format!(
            "cond_stage_model.transformer.text_model.{}",
            name.trim_start_matches("text_model.")
        ),
    };
    let mut tensors = BTreeMap::new();
    for (component, bytes) in files.iter().enumerate() {
        for (name, view) in SafeTensors::deserialize(bytes).unwrap().tensors() {
            let name = rename(component, &name);
            let mut shape = view.shape().to_vec();
            // Projections of the autoencoder's attention are convolutions there.
            if name.contains(".attn_1.") && shape.len() == 2 {
                shape.extend([1, 1]);
            }
            let start = view.data().as_ptr() as usize - bytes.as_ptr() as usize;
            let data = &bytes[start..start + view.data().len()];
            tensors.insert(name, TensorView::new(view.dtype(), shape, data).unwrap());
        }
    }
    let file = root.join("small.safetensors");
    safetensors::serialize_to_file(tensors, None, &file).unwrap();
    (file, folder)
}

/// All parameters of a network.
fn parameters<N: Network>(model: &ModelFolder, component: &str) -> Vec<Vec<f32>>
where
    N::Error: std::fmt::Debug,
{
    struct Values(Vec<Vec<f32>>);
    impl ModuleVisitor for Values {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            self.0.push(parameter.val().into_data().iter::<f32>().collect());
        }
    }
    let options = LoadOptions::new(DType::F32, &Device::flex());
    let network = N::from_component(&model.component(component).unwrap(), &options).unwrap();
    let mut values = Values(Vec::new());
    network.visit(&mut values);
    values.0
}

/// Bit for bit; where all keys and values of the folder are matched by the file, so are the frames.
#[test]
fn the_networks_of_a_file_are_those_of_its_folder() {
    let root = tempfile::tempdir().unwrap();
    let (file, folder) = small(root.path());
    let (one, whole) = (
        open_single_file(file, Some(&folder)).unwrap(),
        ModelFolder::open(folder).unwrap(),
    );
    for component in ["unet", "vae", "text_encoder"] {
        let origin = one.component(component).unwrap().weights().unwrap().origin().to_owned();
        assert!(origin.ends_with("small.safetensors"), "{origin}");
    }
    assert!(parameters::<UNet2d>(&one, "unet") == parameters::<UNet2d>(&whole, "unet"));
    assert!(parameters::<AutoencoderKl>(&one, "vae") == parameters::<AutoencoderKl>(&whole, "vae"));
    let text = parameters::<ClipTextModel>(&one, "text_encoder");
    assert!(text == parameters::<ClipTextModel>(&whole, "text_encoder"));
    assert!(text.len() > 40);
}
