//! The tiny networks of the fixtures.

use std::{fs, path::Path};

use burn::tensor::{Device, Tensor};
use safetensors::{SafeTensors, tensor::TensorView};
use serde::Deserialize;
use serde_json::{Value, json};
use t2v_denoiser::UNet3d;
use t2v_schedulers::{TrainingNoise, kind_of_config};
use t2v_test_support::Fixture;
use t2v_train::{Base, Dataset, Denoisers, Example, TargetModules, TrainSettings, Trainable, Trainer};
use t2v_vae::Posterior;
use t2v_weights::ModelFolder;

fn path(name: &str) -> String {
    format!("{}/tests/fixtures/{name}.safetensors", env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn fixture(name: &str) -> Fixture {
    Fixture::open(&path(name))
}

/// Writes a model folder with the network of a fixture and its scheduler, as a pipeline of that class saves it.
pub(crate) fn write_folder(folder: &Path, name: &str) {
    let fixture = fixture(name);
    let (config, scheduler): (Value, Value) = (fixture.config(), fixture.metadata("scheduler"));
    let class = config["_class_name"].as_str().unwrap();
    let (pipeline, component) = match class {
        "UNet3DConditionModel" => ("TextToVideoSDPipeline", "unet"),
        "UNetMotionModel" => ("AnimateDiffPipeline", "unet"),
        "WanTransformer3DModel" => ("WanPipeline", "transformer"),
        other => panic!("{other}"),
    };
    let index = json!({
        "_class_name": pipeline,
        component: ["diffusers", class],
        "scheduler": ["diffusers", scheduler["_class_name"]],
    });
    fs::create_dir_all(folder.join(component)).unwrap();
    fs::create_dir_all(folder.join("scheduler")).unwrap();
    let write = |name: &str, json: &Value| fs::write(folder.join(name), json.to_string()).unwrap();
    write("model_index.json", &index);
    write(&format!("{component}/config.json"), &config);
    write("scheduler/scheduler_config.json", &scheduler);
    let bytes = fs::read(path(name)).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let weights = tensors.iter().filter_map(|(name, view)| {
        let key = name.strip_prefix("weights.")?.to_owned();
        assert_eq!(view.dtype(), safetensors::Dtype::F16, "{name}");
        Some((
            key,
            TensorView::new(view.dtype(), view.shape().to_vec(), view.data()).unwrap(),
        ))
    });
    let file = folder.join(component).join("diffusion_pytorch_model.safetensors");
    fs::write(file, safetensors::serialize(weights, None).unwrap()).unwrap();
}

/// The network of a fixture, read as that of a model folder in half precision.
pub(crate) fn denoiser(name: &str) -> Denoisers {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), name);
    let base = Base::new(ModelFolder::open(folder.path()).unwrap(), name, &Device::flex()).unwrap();
    base.denoiser().unwrap()
}

pub(crate) fn unet_3d(name: &str) -> UNet3d {
    match denoiser(name) {
        Denoisers::UNet3d(network) => network,
        other => panic!("{other:?}"),
    }
}

/// What a fixture was made with.
#[derive(Deserialize)]
pub(crate) struct Call {
    pub(crate) rank: usize,
    pub(crate) alpha: f64,
    pub(crate) targets: Vec<String>,
    pub(crate) gamma: Option<f64>,
    pub(crate) learning_rate: f64,
    pub(crate) weight_decay: f64,
    pub(crate) clip: f64,
}

pub(crate) fn settings(fixture: &Fixture) -> TrainSettings {
    let call: Call = fixture.metadata("call");
    let mut settings = TrainSettings::default();
    settings.rank = call.rank;
    settings.alpha = call.alpha;
    settings.targets = TargetModules::new(call.targets);
    settings.min_snr_gamma = call.gamma.unwrap_or(0.0);
    settings.learning_rate = call.learning_rate;
    settings.weight_decay = call.weight_decay;
    settings.max_grad_norm = call.clip;
    settings
}

pub(crate) fn noise(fixture: &Fixture) -> TrainingNoise {
    let config: Value = fixture.metadata("scheduler");
    TrainingNoise::from_config(kind_of_config(&config).unwrap(), &config).unwrap()
}

pub(crate) fn trainer<N: Trainable>(fixture: &Fixture, network: N, settings: TrainSettings) -> Trainer<N> {
    Trainer::new(network, noise(fixture), settings, &Device::flex()).unwrap()
}

/// Two clips and two captions.
pub(crate) fn data(fixture: &Fixture) -> Dataset {
    let device = Device::flex();
    let latents: Tensor<5> = fixture.tensor("input.latents", &device);
    let text: Tensor<3> = fixture.tensor("input.text", &device);
    let example = |factor: f64, caption| {
        let mean = latents.clone() * factor;
        let std = mean.zeros_like() + 0.1;
        Example::new("clip", Posterior { mean, std }, caption)
    };
    let captions = vec![text.zeros_like(), text.clone(), text * -0.5];
    // The subject is in the upper rows.
    let [_, _, frames, height, width] = latents.dims();
    let subject = Tensor::<4>::ones([1, frames, height / 2, width], &device);
    let subject = Tensor::cat(vec![subject.clone(), subject.zeros_like()], 2).unsqueeze_dim(1);
    Dataset::new(vec![example(1.0, 1), example(-0.7, 2).with_subject(subject)], captions)
}
