//! LoRAs as files: the loader of generations makes of them the weights that training saw.

use std::{collections::HashMap, fs, path::Path};

use crate::common::{self, data, denoiser, fixture, settings};
use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{DType, Device, Int, Tensor},
};
use safetensors::SafeTensors;
use serde_json::Value;
use t2v_denoiser::Conditioning;
use t2v_text_encoder::ClipTextModel;
use t2v_train::{
    Adapters, Denoisers, Draw, LoraLabel, TrainSettings, Trainable, Trainer, attach, attach_to, freeze, lora_bytes,
    save_lora,
};
use t2v_weights::{LoadOptions, Lora, LoraSet, LoraTarget, Network};

/// All parameters of a network.
#[derive(Default)]
struct Parameters(Vec<Vec<f32>>);

impl ModuleVisitor for Parameters {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(param.val().into_data().try_into_vec().unwrap());
    }
}

fn parameters<M: Module>(network: &M) -> Vec<Vec<f32>> {
    let mut found = Parameters::default();
    network.visit(&mut found);
    found.0
}

fn label() -> LoraLabel {
    LoraLabel {
        trigger: Some("zorb".into()),
        base: "tiny".into(),
        base_sha256: "0".into(),
        steps: 3,
    }
}

/// Adapters after three steps on a fixture's data, in a file.
fn saved<N: Trainable>(name: &str, trainer: &mut Trainer<N>, file: &Path) -> Lora {
    let (data, fixture) = (data(&fixture(name)), fixture(name));
    let draw = |step| Draw {
        timestep: 300 * step,
        noise: fixture.tensor::<5>("input.noise", &Device::flex()).narrow(0, step, 1),
        kept: None,
        places: None,
        target: None,
    };
    for step in 0..3 {
        match trainer.settings().text_encoder {
            true => {
                let latents = fixture.tensor("input.latents", &Device::flex());
                let (loss, gradients) = trainer
                    .gradients_of_tokens(&latents, &[18, 3, 5, 19], &draw(step))
                    .unwrap();
                trainer.apply(f64::from(loss), gradients).unwrap();
            }
            false => {
                trainer.step(&data).unwrap();
            }
        }
    }
    save_lora(file, &trainer.result(), &label(), trainer.settings()).unwrap();
    let in_memory = lora_bytes(&trainer.result(), &label(), trainer.settings()).unwrap();
    assert_eq!(tensors(&in_memory), tensors(&fs::read(file).unwrap()));
    if let Ok(folder) = std::env::var("T2V_TRAIN_KEEP_LORAS") {
        fs::copy(file, Path::new(&folder).join(format!("{name}.safetensors"))).unwrap();
    }
    let lora = Lora::open(file).unwrap();
    assert!(lora.unknown_keys().is_empty(), "{:?}", lora.unknown_keys());
    lora
}

fn tensors(file: &[u8]) -> HashMap<String, Vec<u8>> {
    let tensors = SafeTensors::deserialize(file).unwrap();
    tensors
        .iter()
        .map(|(name, view)| (name.to_owned(), view.data().to_vec()))
        .collect()
}

/// What the loader makes of a network, which is what training saw.
fn merged<N: Network>(plain: &N, lora: Lora, target: LoraTarget, adapters: &Adapters) -> N {
    let in_file = lora.layers(target);
    assert_eq!(
        in_file,
        adapters
            .layers()
            .iter()
            .filter(|layer| layer.target() == target)
            .count()
    );
    let set = LoraSet::new().with(lora, 1.0);
    let (merged, _) = set.apply(plain, &N::key_map(), target, DType::F32).unwrap();
    let (made, seen) = (
        parameters(&merged),
        parameters(&attach_to(target, plain, adapters, None)),
    );
    assert_ne!(made, parameters(plain));
    let pairs = made.iter().flatten().zip(seen.iter().flatten());
    let off = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("the merged weights are off by {off:e}");
    assert!(off < 1e-6, "{off}");
    merged
}

/// The CPU's operators, which take the merged network and leave the one of training alone, predict the same.
fn check<N: Trainable + Network>(name: &str, plain: N) {
    let folder = tempfile::tempdir().unwrap();
    let fixture = fixture(name);
    let mut trainer = common::trainer(&fixture, plain.clone(), settings(&fixture));
    let lora = saved(name, &mut trainer, &folder.path().join("lora.safetensors"));
    let merged = merged(&plain, lora, LoraTarget::Denoiser, trainer.adapters());
    let device = Device::flex();
    let (latents, text): (Tensor<5>, Tensor<3>) = (
        fixture.tensor("input.latents", &device),
        fixture.tensor("input.text", &device),
    );
    let fast = merged.forward(latents.clone(), 500.0, &Conditioning::new(text.clone()));
    let recorded = attach(&freeze(plain), trainer.adapters(), None);
    let slow = recorded
        .forward(latents.autodiff(), 500.0, &Conditioning::new(text.autodiff()))
        .inner();
    let beginning = fast.to_data().try_to_vec::<f32>().unwrap();
    println!("{name}: the prediction begins with {:?}", &beginning[..4]);
    let off = (fast - slow).abs().max().into_scalar::<f32>();
    println!("{name}: the predictions are off by {off:e}");
    assert!(off < 1e-4, "{off}");
}

#[test]
fn the_file_gives_the_weights_that_training_saw() {
    for name in ["lora_velocity", "lora_convolutions", "lora_motion", "lora_flow"] {
        match denoiser(name) {
            Denoisers::UNet3d(network) => check(name, network),
            Denoisers::UNet2d(network) => check(name, network),
            Denoisers::Wan(network) => check(name, network),
            other => panic!("{other:?}"),
        }
    }
}

fn text_encoder() -> ClipTextModel {
    let fixture = fixture("lora_text_encoder");
    let options = LoadOptions::new(DType::F32, &Device::flex());
    ClipTextModel::from_weights(fixture.config(), &fixture.weights(), &options).unwrap()
}

#[test]
fn the_text_encoder_is_in_the_file_too() {
    let (folder, name) = (tempfile::tempdir().unwrap(), "lora_text");
    let file = folder.path().join("lora.safetensors");
    let network = common::unet_3d(name);
    let mut settings = settings(&fixture(name));
    settings.text_encoder = true;
    let trainer = common::trainer(&fixture(name), network.clone(), settings);
    let mut trainer = trainer.with_text_encoder(text_encoder()).unwrap();
    let lora = saved(name, &mut trainer, &file);
    assert_eq!(lora.layers(LoraTarget::TextEncoder), 8);
    let model = merged(&text_encoder(), lora, LoraTarget::TextEncoder, trainer.adapters());
    let ids = Tensor::<2, Int>::from_data([[18, 3, 5, 19]], &Device::flex());
    let embedding = model
        .forward(ids, 0)
        .unwrap()
        .into_data()
        .try_into_vec::<f32>()
        .unwrap();
    println!("{name}: the embedding begins with {:?}", &embedding[..4]);
    merged(
        &network,
        Lora::open(&file).unwrap(),
        LoraTarget::Denoiser,
        trainer.adapters(),
    );
}

#[test]
fn a_file_says_what_it_is() {
    let (folder, name) = (tempfile::tempdir().unwrap(), "lora_flow");
    let file = folder.path().join("lora.safetensors");
    let Denoisers::Wan(network) = denoiser(name) else {
        panic!("it is Wan's transformer");
    };
    let mut trainer = common::trainer(&fixture(name), network, settings(&fixture(name)));
    saved(name, &mut trainer, &file);
    let bytes = fs::read(&file).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().clone().unwrap();
    for (key, value) in [
        ("trigger", "zorb"),
        ("modelspec.trigger_phrase", "zorb"),
        ("base", "tiny"),
        ("rank", "2"),
    ] {
        assert_eq!(metadata[key], value);
    }
    let saved: TrainSettings = serde_json::from_str(&metadata["settings"]).unwrap();
    assert_eq!(saved, *trainer.settings());
    let peft: Value = serde_json::from_str(&metadata["lora_adapter_metadata"]).unwrap();
    assert_eq!(peft["transformer.r"], 2);
    let targets: Vec<&str> = peft["transformer.target_modules"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(Value::as_str)
        .collect();
    assert_eq!(
        targets,
        ["to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2"]
    );
    assert!(tensors(&bytes).contains_key("transformer.blocks.1.ffn.net.2.lora_B.weight"));
    assert!(!bytes.is_empty() && peft.get("text_encoder.r").is_none());
}
