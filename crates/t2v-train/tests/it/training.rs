//! Runs of training: that they are repeated, go on where they were interrupted, and end where there is no going on.

use std::{num::NonZeroUsize, path::Path};

use crate::common::{self, data, fixture, settings, unet_3d};
use burn::tensor::{Device, TensorData};
use t2v_denoiser::UNet3d;
use t2v_test_support::Fixture;
use t2v_train::{Dataset, OptimiserKind, SavedState, TrainError, TrainSettings, Trainer};

fn trainer(fixture: &Fixture, settings: TrainSettings) -> Trainer<UNet3d> {
    common::trainer(fixture, unet_3d("lora_epsilon"), settings)
}

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

#[test]
fn clips_at_the_same_time_teach_the_same() {
    let fixture = fixture("lora_epsilon");
    let mut settings = varied(OptimiserKind::AdamW);
    settings.batch_size = 5;
    let trained = |at_once| {
        let mut training = trainer(&fixture, settings.clone()).with_clips_at_once(NonZeroUsize::new(at_once).unwrap());
        let data = data(&fixture);
        let losses: Vec<f64> = (0..2).map(|_| training.step(&data).unwrap().loss).collect();
        (losses, values(training.adapters()))
    };
    let one_by_one = trained(1);
    for at_once in [2, 5, 9] {
        assert_eq!(one_by_one, trained(at_once), "{at_once}");
    }
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
    other.noise_offset = 0.5;
    let message = trainer(&fixture, other)
        .restore(open("here").unwrap())
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("other settings, `noise_offset` 0.1 in place of 0.5;"),
        "{message}"
    );
    let mut longer = settings;
    (longer.steps, longer.learning_rate, longer.cosine) = (9, 1e-5, false);
    let mut other = trainer(&fixture, longer);
    other.restore(open("here").unwrap()).unwrap();
    assert_eq!(other.losses(), training.losses());
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
            places: None,
            target: None,
        };
        let (latents, text) = (
            fixture.tensor("input.latents", &device),
            fixture.tensor("input.text", &device),
        );
        training.gradients(&latents, &text, &draw).unwrap().0
    };
    let before = probe(&training);
    while training.steps_done() < 12 {
        training.step(&data).unwrap();
    }
    let after = probe(&training);
    assert!(after < 0.9 * before, "{before} {after}");
}

/// What a network without adapters predicts is what it is to predict of what it knows: that can't be done better than by new adapters, and others
/// are led back to it.
#[test]
fn what_is_known_is_what_was_predicted_before() {
    let fixture = fixture("lora_epsilon");
    let mut settings = settings(&fixture);
    (settings.steps, settings.learning_rate) = (16, 2e-2);
    let known = data(&fixture).as_known(2.0);
    let nothing_new = trainer(&fixture, settings.clone()).step(&known).unwrap();
    assert!(nothing_new.loss < 1e-9, "{}", nothing_new.loss);
    let mut training = trainer(&fixture, settings);
    for _ in 0..4 {
        training.step(&data(&fixture)).unwrap();
    }
    let losses: Vec<f64> = (0..12).map(|_| training.step(&known).unwrap().loss).collect();
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    assert!(losses[0] > 1e-6, "what is new changed what is predicted: {losses:?}");
    assert!(mean(&losses[9..]) < 0.8 * mean(&losses[..3]), "{losses:?}");
}

#[test]
fn captions_that_are_kept_are_never_left_out() {
    let fixture = fixture("lora_epsilon");
    let losses = |caption_dropout, data: Dataset| {
        let mut settings = settings(&fixture);
        settings.caption_dropout = caption_dropout;
        let mut training = trainer(&fixture, settings);
        training.step(&data).unwrap();
        training.step(&data).unwrap();
        training.losses().to_vec()
    };
    let kept = losses(0.999, data(&fixture).with_captions_kept());
    assert_eq!(kept, losses(0.0, data(&fixture)));
    assert_ne!(kept, losses(0.999, data(&fixture)));
}

/// The adapters that gave such a loss are no good, so that it is those of the step before which are kept.
#[test]
fn what_is_no_number_ends_training_at_the_last_good_state() {
    let fixture = fixture("lora_epsilon");
    let mut settings = settings(&fixture);
    settings.ema_decay = 0.9;
    let (mut training, data) = (trainer(&fixture, settings), data(&fixture));
    training.step(&data).unwrap();
    let (first, average) = (values(training.adapters()), values(&training.result()));
    training.step(&data).unwrap();
    let (gradients, loss) = (training.adapters().factors(), training.losses()[0]);
    let error = training.apply(f64::NAN, gradients.clone()).unwrap_err().to_string();
    assert!(error.contains("step 3") && error.contains("after step 1"), "{error}");
    assert_eq!((training.steps_done(), training.losses()), (1, &[loss][..]));
    assert_eq!(values(training.adapters()), first);
    assert_eq!(values(&training.result()), average);
    // The same step is taken again, from the optimiser's state of then.
    let again = training.step(&data).unwrap();
    let mut other = trainer(&fixture, training.settings().clone());
    other.step(&data).unwrap();
    assert_eq!(other.step(&data).unwrap().loss, again.loss);
    assert_eq!(values(other.adapters()), values(training.adapters()));
    // Gradients that are no numbers end it likewise.
    let infinite = t2v_train::Factors::new(gradients.tensors().iter().map(|g| g.clone() * f32::INFINITY).collect());
    assert!(training.apply(1.0, infinite).is_err());
}

#[test]
fn a_learning_rate_that_is_too_high_ends_in_one_sentence() {
    let fixture = fixture("lora_epsilon");
    let mut settings = settings(&fixture);
    settings.learning_rate = 1e38;
    let (mut training, data) = (trainer(&fixture, settings), data(&fixture));
    let error = (0..9).find_map(|_| training.step(&data).err());
    let message = error.expect("the loss is a number all along").to_string();
    assert!(message.contains("lower learning rate than 1e38"), "{message}");
    assert!(training.losses().iter().all(|loss| loss.is_finite()));
}

#[test]
fn layers_that_are_not_there_are_named() {
    let fixture = fixture("lora_epsilon");
    let mut settings = settings(&fixture);
    settings.targets = t2v_train::TargetModules::new(["to_x".to_owned()]);
    let network = unet_3d("lora_epsilon");
    let result = Trainer::new(network, common::noise(&fixture), settings, &Device::flex());
    let message = result.err().unwrap().to_string();
    assert!(message.contains("to_x"), "{message}");
}
