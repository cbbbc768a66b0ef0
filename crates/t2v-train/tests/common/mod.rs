//! The tiny networks of the fixtures.

use burn::tensor::{DType, Device, Tensor};
use serde::Deserialize;
use serde_json::Value;
use t2v_denoiser::UNet3d;
use t2v_schedulers::{SchedulerKind, TrainingNoise};
use t2v_test_support::Fixture;
use t2v_train::{Dataset, Example, TargetModules, TrainSettings, Trainer};
use t2v_vae::Posterior;
use t2v_weights::{LoadOptions, Network};

pub(crate) fn fixture(name: &str) -> Fixture {
    Fixture::open(&format!(
        "{}/tests/fixtures/{name}.safetensors",
        env!("CARGO_MANIFEST_DIR")
    ))
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

pub(crate) fn network(fixture: &Fixture) -> UNet3d {
    let options = LoadOptions::new(DType::F32, &Device::flex());
    UNet3d::from_weights(fixture.config(), &fixture.weights(), &options).unwrap()
}

pub(crate) fn trainer(fixture: &Fixture, settings: TrainSettings) -> Trainer<UNet3d> {
    let config: Value = fixture.metadata("scheduler");
    let noise = TrainingNoise::from_config(SchedulerKind::Ddpm, &config).unwrap();
    Trainer::new(network(fixture), noise, settings, &Device::flex()).unwrap()
}

/// Two clips and two captions.
#[allow(dead_code)]
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
    Dataset::new(vec![example(1.0, 1), example(-0.7, 2)], captions)
}
