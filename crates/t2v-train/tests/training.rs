//! Runs of training: that they are repeated, go on where they were interrupted, and save what they saw.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{DType, Device, Tensor, TensorData},
};
use common::{data, fixture, network, settings, trainer};
use t2v_denoiser::{Conditioning, Denoiser, UNet3d};
use t2v_train::{LoraLabel, OptimiserKind, SavedState, TrainError, TrainSettings, attach, save_lora};
use t2v_weights::{Lora, LoraSet, LoraTarget, Network};

/// With everything on that draws random numbers.
fn varied(optimiser: OptimiserKind) -> TrainSettings {
    let mut settings = settings(&fixture("lora_epsilon"));
    settings.optimiser = optimiser;
    settings.steps = 4;
    settings.batch_size = 2;
    settings.rank_dropout = 0.3;
    settings.caption_dropout = 0.3;
    settings.noise_offset = 0.1;
    settings.ema_decay = 0.9;
    settings.warmup_steps = 2;
    settings.cosine = true;
    settings
}

fn values(adapters: &t2v_train::Adapters) -> Vec<TensorData> {
    adapters
        .factors()
        .tensors()
        .iter()
        .map(|tensor| tensor.clone().into_data())
        .collect()
}

/// The result of all steps; where a file is given, the training is interrupted after two, kept there and gone on from.
fn trained(settings: &TrainSettings, state: Option<&Path>) -> Vec<TensorData> {
    let fixture = fixture("lora_epsilon");
    let (mut training, data) = (trainer(&fixture, settings.clone()), data(&fixture));
    while training.steps_done() < settings.steps {
        training.step(&data).unwrap();
        if let Some(state) = state.filter(|_| training.steps_done() == 2) {
            training.state().save(state, "run").unwrap();
            training = trainer(&fixture, settings.clone());
            training
                .restore(SavedState::open(state, "run", &Device::flex()).unwrap())
                .unwrap();
            assert_eq!(training.steps_done(), 2);
        }
    }
    let (last, result) = (values(training.adapters()), values(&training.result()));
    assert_ne!(last, result, "the moving average is saved");
    last.into_iter().chain(result).collect()
}

#[test]
fn seeds_decide_and_an_interruption_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for optimiser in [OptimiserKind::AdamW, OptimiserKind::Lion] {
        let settings = varied(optimiser);
        let first = trained(&settings, None);
        assert_eq!(first, trained(&settings, None), "{optimiser:?}");
        assert_eq!(
            first,
            trained(&settings, Some(&folder.path().join("s.safetensors"))),
            "{optimiser:?}"
        );
        let mut other = settings.clone();
        other.seed = 1;
        assert_ne!(first, trained(&other, None), "{optimiser:?}");
    }
}

#[test]
fn states_of_other_trainings_are_refused() {
    let (folder, fixture) = (tempfile::tempdir().unwrap(), fixture("lora_epsilon"));
    let file = folder.path().join("state.safetensors");
    let settings = varied(OptimiserKind::AdamW);
    let mut training = trainer(&fixture, settings.clone());
    training.step(&data(&fixture)).unwrap();
    training.state().save(&file, "here").unwrap();
    let open = |run: &str| SavedState::open(&file, run, &Device::flex());
    let message = open("there").unwrap_err().to_string();
    assert!(message.contains("here") && message.contains("there"), "{message}");
    let mut other = settings.clone();
    other.learning_rate = 0.5;
    let message = trainer(&fixture, other)
        .restore(open("here").unwrap())
        .unwrap_err()
        .to_string();
    assert!(message.contains("other settings"), "{message}");
    let mut longer = settings;
    longer.steps = 9;
    assert!(trainer(&fixture, longer).restore(open("here").unwrap()).is_ok());
    std::fs::write(&file, b"nothing").unwrap();
    assert!(matches!(open("here"), Err(TrainError::File { .. })));
}

#[test]
fn training_makes_the_loss_smaller() {
    let fixture = fixture("lora_epsilon");
    let mut settings = settings(&fixture);
    settings.steps = 12;
    settings.learning_rate = 2e-2;
    let (mut training, data) = (trainer(&fixture, settings), data(&fixture));
    let probe = |training: &t2v_train::Trainer<UNet3d>| {
        let device = Device::flex();
        let draw = t2v_train::Draw {
            timestep: 500,
            noise: fixture.tensor::<5>("input.noise", &device).narrow(0, 0, 1),
            kept: None,
        };
        training
            .gradients(
                &fixture.tensor("input.latents", &device),
                &fixture.tensor("input.text", &device),
                &draw,
            )
            .0
    };
    let before = probe(&training);
    while training.steps_done() < 12 {
        training.step(&data).unwrap();
    }
    let after = probe(&training);
    assert!(after < 0.9 * before, "{before} {after}");
}

#[test]
fn what_is_no_number_ends_training_before_it_changes_anything() {
    let fixture = fixture("lora_epsilon");
    let mut training = trainer(&fixture, settings(&fixture));
    training.step(&data(&fixture)).unwrap();
    let before = values(training.adapters());
    let gradients = training.adapters().factors();
    let error = training.apply(f64::NAN, gradients).unwrap_err();
    assert!(error.to_string().contains("step 2"), "{error}");
    assert_eq!(values(training.adapters()), before);
    assert_eq!(training.steps_done(), 1);
}

#[test]
fn layers_that_are_not_there_are_named() {
    let fixture = fixture("lora_epsilon");
    let mut settings = settings(&fixture);
    settings.targets = t2v_train::TargetModules::new(["to_x".to_owned()]);
    let noise = t2v_schedulers::TrainingNoise::from_config(t2v_schedulers::SchedulerKind::Ddpm, &serde_json::json!({}));
    let result = t2v_train::Trainer::new(network(&fixture), noise.unwrap(), settings, &Device::flex());
    let message = result.err().unwrap().to_string();
    assert!(message.contains("to_x"), "{message}");
}

/// All parameters of a network.
#[derive(Default)]
struct Parameters(Vec<Vec<f32>>);

impl ModuleVisitor for Parameters {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(param.val().into_data().try_into_vec().unwrap());
    }
}

fn parameters(network: &UNet3d) -> Vec<Vec<f32>> {
    let mut found = Parameters::default();
    network.visit(&mut found);
    found.0
}

/// The file, added to the checkpoint by the loader of generations, makes the weights that training saw; and the CPU's operators,
/// which take the merged network and leave the one of training alone, predict the same.
#[test]
fn the_file_gives_the_weights_that_training_saw() {
    let (fixture, folder) = (fixture("lora_velocity"), tempfile::tempdir().unwrap());
    let (mut training, data) = (trainer(&fixture, settings(&fixture)), data(&fixture));
    for _ in 0..3 {
        training.step(&data).unwrap();
    }
    let file = folder.path().join("lora.safetensors");
    let label = LoraLabel {
        trigger: Some("zorb".into()),
        base: "tiny".into(),
        base_sha256: "0".into(),
        steps: 3,
    };
    save_lora(&file, &training.result(), &label, training.settings()).unwrap();
    if let Ok(copy) = std::env::var("T2V_TRAIN_KEEP_LORA") {
        std::fs::copy(&file, copy).unwrap();
    }
    let lora = Lora::open(&file).unwrap();
    assert_eq!(lora.layers(LoraTarget::Denoiser), training.adapters().layers().len());
    assert!(lora.unknown_keys().is_empty());

    let plain = network(&fixture);
    let set = LoraSet::new().with(lora, 1.0);
    let (merged, _) = set
        .apply(&plain, &UNet3d::key_map(), LoraTarget::Denoiser, DType::F32)
        .unwrap();
    let seen = attach(&plain, training.adapters(), None);
    let (merged_values, seen_values) = (parameters(&merged), parameters(&seen));
    assert_ne!(merged_values, parameters(&plain));
    let pairs = merged_values.iter().flatten().zip(seen_values.iter().flatten());
    let off = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("the merged weights are off by {off:e}");
    assert!(off < 1e-6, "{off}");

    let device = Device::flex();
    let (latents, text): (Tensor<5>, Tensor<3>) = (
        fixture.tensor("input.latents", &device),
        fixture.tensor("input.text", &device),
    );
    let fast = merged.forward(latents.clone(), 500.0, &Conditioning::new(text.clone()));
    let recorded = attach(&t2v_train::freeze(plain), training.adapters(), None);
    let slow = recorded
        .forward(latents.autodiff(), 500.0, &Conditioning::new(text.autodiff()))
        .inner();
    println!(
        "the prediction begins with {:?}",
        &fast.to_data().try_to_vec::<f32>().unwrap()[..4]
    );
    let off = (fast - slow).abs().max().into_scalar::<f32>();
    println!("the predictions are off by {off:e}");
    assert!(off < 1e-4, "{off}");
}
