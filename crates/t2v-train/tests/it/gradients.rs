//! Gradients and steps against PyTorch's: `scripts/make_t2v_train_fixtures.py`.

use crate::common::{denoiser, fixture, settings, trainer, unet_3d};
use burn::tensor::{DType, Device, Tensor};
use t2v_test_support::Fixture;
use t2v_text_encoder::ClipTextModel;
use t2v_train::{Adapter, Denoisers, Draw, Factors, TrainSettings, Trainable, Trainer};
use t2v_weights::{LoadOptions, LoraTarget, Network};

/// How far gradients may be off, in units of the largest of their matrix, and trained weights, in the norm of their matrix. Where a
/// gradient is almost nothing, AdamW makes whole steps of its rounding: PyTorch's own weights in f32 and in f64 are 4e-4 apart in
/// the norm, and single ones 8e-4.
const BOUND: f32 = 1e-3;

/// What the fixture calls a layer.
fn name_of(layer: &Adapter) -> String {
    match layer.target() {
        LoraTarget::Denoiser => layer.name().to_owned(),
        LoraTarget::TextEncoder => layer.name().replace("text_model.", "text_encoder."),
    }
}

/// The fixture's matrices of a kind, in the order of the adapters.
fn factors<N: Trainable>(fixture: &Fixture, kind: &str, trainer: &Trainer<N>) -> Factors {
    let names = trainer
        .adapters()
        .layers()
        .iter()
        .flat_map(|layer| ["lora_A", "lora_B"].map(|matrix| format!("{kind}.{}.{matrix}", name_of(layer))));
    Factors::new(names.map(|name| fixture.tensor(&name, &Device::flex())).collect())
}

/// The largest difference, in units of the largest value of its matrix.
fn difference(found: &Factors, expected: &Factors) -> f32 {
    let pairs = found.tensors().iter().zip(expected.tensors());
    let of_pair = pairs.map(|(found, expected)| {
        let off = (found.clone() - expected.clone()).abs().max().into_scalar::<f32>();
        off / expected.clone().abs().max().into_scalar::<f32>()
    });
    of_pair.fold(0.0, f32::max)
}

/// The largest norm of a matrix's difference, in units of its own.
fn difference_of_norms(found: &Factors, expected: &Factors) -> f32 {
    let norm = |tensor: Tensor<2>| tensor.square().sum().into_scalar::<f32>().sqrt();
    let pairs = found.tensors().iter().zip(expected.tensors());
    let of_pair = pairs.map(|(found, expected)| norm(found.clone() - expected.clone()) / norm(expected.clone()));
    of_pair.fold(0.0, f32::max)
}

/// The loss of a fixture's step and its gradients.
fn gradients<N: Trainable>(fixture: &Fixture, trainer: &Trainer<N>, step: usize) -> (f32, Factors) {
    let (device, names) = (Device::flex(), fixture.names());
    let has = |name: &str| names.iter().any(|known| known == name);
    let (latents, text) = (
        fixture.tensor("input.latents", &device),
        fixture.tensor("input.text", &device),
    );
    let noise: Tensor<5> = fixture.tensor("input.noise", &device);
    let draw = Draw {
        timestep: fixture.values("input.timesteps").1[step] as usize,
        noise: noise.narrow(0, step, 1),
        kept: None,
        places: has("input.places").then(|| fixture.tensor("input.places", &device)),
        target: None,
    };
    match has("input.ids") {
        true => {
            let ids: Vec<u32> = fixture.values("input.ids").1.iter().map(|id| *id as u32).collect();
            trainer.gradients_of_tokens(&latents, &ids, &draw).unwrap()
        }
        false => trainer.gradients(&latents, &text, &draw).unwrap(),
    }
}

/// Sets a trainer's adapters to those that the fixture begins with; it has as many.
fn begin<N: Trainable>(fixture: &Fixture, trainer: &mut Trainer<N>) {
    let is_input = |name: &&String| name.starts_with("input.") && name.ends_with("lora_A");
    let count = fixture.names().iter().filter(is_input).count();
    assert_eq!(trainer.adapters().layers().len(), count);
    trainer.set_factors(factors(fixture, "input", trainer));
}

fn check<N: Trainable>(name: &str, mut trainer: Trainer<N>) {
    let fixture = fixture(name);
    begin(&fixture, &mut trainer);
    let (_, losses) = fixture.values("output.losses");
    for (i, expected) in losses.iter().enumerate() {
        let (loss, gradients) = gradients(&fixture, &trainer, i);
        if i == 0 {
            let off = difference(&gradients, &factors(&fixture, "output.gradient", &trainer));
            println!("{name}: gradients are off by {off:e}");
            assert!(off < BOUND, "{off}");
        }
        assert!(
            (loss - expected).abs() < BOUND * expected.abs(),
            "{i}: {loss} {expected}"
        );
        trainer.apply(f64::from(loss), gradients).unwrap();
    }
    let (after, expected) = (
        trainer.adapters().factors(),
        factors(&fixture, "output.after", &trainer),
    );
    let off = difference_of_norms(&after, &expected);
    println!(
        "{name}: after {} steps of AdamW the weights are off by {off:e}",
        losses.len()
    );
    assert!(off < BOUND, "{off}");
}

fn settings_of(name: &str) -> TrainSettings {
    settings(&fixture(name))
}

#[test]
fn noise_is_predicted_as_in_torch() {
    let name = "lora_epsilon";
    check(name, trainer(&fixture(name), unet_3d(name), settings_of(name)));
}

/// With timesteps weighted by their ratio of signal to noise.
#[test]
fn velocity_is_predicted_as_in_torch() {
    let name = "lora_velocity";
    check(name, trainer(&fixture(name), unet_3d(name), settings_of(name)));
}

/// Of pictures and along time.
#[test]
fn convolutions_learn_as_in_torch() {
    let name = "lora_convolutions";
    let trainer = trainer(&fixture(name), unet_3d(name), settings_of(name));
    let kernels: Vec<&[usize]> = trainer.adapters().layers().iter().map(Adapter::kernel).collect();
    for kernel in [&[][..], &[1, 1], &[3, 3], &[3, 1, 1]] {
        assert!(kernels.contains(&kernel), "{kernel:?}");
    }
    check(name, trainer);
}

/// Stable Diffusion's network with motion modules, and places that count differently.
#[test]
fn motion_modules_learn_as_in_torch() {
    let name = "lora_motion";
    let Denoisers::UNet2d(network) = denoiser(name) else {
        panic!("it is a network of pictures");
    };
    check(name, trainer(&fixture(name), network, settings_of(name)));
}

#[test]
fn a_flow_is_predicted_as_in_torch() {
    let name = "lora_flow";
    let Denoisers::Wan(network) = denoiser(name) else {
        panic!("it is Wan's transformer");
    };
    check(name, trainer(&fixture(name), network, settings_of(name)));
}

fn with_text_encoder(checkpointing: bool) -> Trainer<t2v_denoiser::UNet3d> {
    let (name, text) = ("lora_text", fixture("lora_text_encoder"));
    let mut settings = settings_of(name);
    (settings.text_encoder, settings.checkpointing) = (true, checkpointing);
    let options = LoadOptions::new(DType::F32, &Device::flex());
    let model = ClipTextModel::from_weights(text.config(), &text.weights(), &options).unwrap();
    let trainer = trainer(&fixture(name), unet_3d(name), settings);
    trainer.with_text_encoder(model).unwrap()
}

#[test]
fn the_text_encoder_learns_as_in_torch() {
    check("lora_text", with_text_encoder(false));
}

#[test]
fn results_that_are_computed_again_give_the_same_gradients() {
    let fixture = fixture("lora_text");
    let of = |checkpointing| {
        let mut trainer = with_text_encoder(checkpointing);
        begin(&fixture, &mut trainer);
        gradients(&fixture, &trainer, 0)
    };
    let ((loss, expected), (again, found)) = (of(false), of(true));
    assert_eq!(loss, again);
    let off = difference(&found, &expected);
    assert!(off < 1e-5, "{off}");
}
