//! Gradients and steps against PyTorch's: `scripts/make_t2v_train_fixtures.py`.

#![allow(clippy::unwrap_used)]

mod common;

use burn::tensor::{Device, Tensor};
use common::{fixture, settings, trainer};
use t2v_denoiser::UNet3d;
use t2v_test_support::Fixture;
use t2v_train::{Draw, Factors, Trainer};

/// How far gradients may be off, in units of the largest of their matrix, and trained weights, in the norm of their matrix. Where a
/// gradient is almost nothing, AdamW makes whole steps of its rounding: PyTorch's own weights in f32 and in f64 are 4e-4 apart in
/// the norm, and single ones 8e-4.
const BOUND: f32 = 1e-3;

/// The fixture's matrices of a kind, in the order of the adapters.
fn factors(fixture: &Fixture, kind: &str, trainer: &Trainer<UNet3d>) -> Factors {
    let names = trainer
        .adapters()
        .layers()
        .iter()
        .flat_map(|layer| ["lora_A", "lora_B"].map(|matrix| format!("{kind}.{}.{matrix}", layer.name())));
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

fn check(name: &str) {
    let fixture = fixture(name);
    let mut trainer = trainer(&fixture, settings(&fixture));
    let device = Device::flex();
    let count = fixture
        .names()
        .iter()
        .filter(|name| name.starts_with("input.") && name.ends_with("lora_A"))
        .count();
    assert_eq!(trainer.adapters().layers().len(), count);
    trainer.set_factors(factors(&fixture, "input", &trainer));
    let (latents, text) = (
        fixture.tensor("input.latents", &device),
        fixture.tensor("input.text", &device),
    );
    let noise: Tensor<5> = fixture.tensor("input.noise", &device);
    let (_, timesteps) = fixture.values("input.timesteps");
    let (_, losses) = fixture.values("output.losses");
    for (i, timestep) in timesteps.iter().enumerate() {
        let draw = Draw {
            timestep: *timestep as usize,
            noise: noise.clone().narrow(0, i, 1),
            kept: None,
        };
        let (loss, gradients) = trainer.gradients(&latents, &text, &draw);
        if i == 0 {
            let off = difference(&gradients, &factors(&fixture, "output.gradient", &trainer));
            println!("{name}: gradients are off by {off:e}");
            assert!(off < BOUND, "{off}");
        }
        assert!(
            (loss - losses[i]).abs() < BOUND * losses[i].abs(),
            "{i}: {loss} {}",
            losses[i]
        );
        trainer.apply(f64::from(loss), gradients).unwrap();
    }
    let off = difference_of_norms(
        &trainer.adapters().factors(),
        &factors(&fixture, "output.after", &trainer),
    );
    println!(
        "{name}: after {} steps of AdamW the weights are off by {off:e}",
        timesteps.len()
    );
    assert!(off < BOUND, "{off}");
}

#[test]
fn noise_is_predicted_as_in_torch() {
    check("lora_epsilon");
}

/// With timesteps weighted by their ratio of signal to noise.
#[test]
fn velocity_is_predicted_as_in_torch() {
    check("lora_velocity");
}
