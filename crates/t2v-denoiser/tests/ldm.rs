//! U-Nets and motion modules in the layouts of their first code (`scripts/make_single_file_fixtures.py`).

#![allow(clippy::unwrap_used)]

use std::fs;

use serde_json::{Map, Value};
use t2v_denoiser::{MotionAdapterConfig, UNet2dConfig, ldm, motion_module, motion_module_config, open_motion_adapter};
use t2v_test_support::LayoutKeys;
use t2v_weights::{Component, FolderParts};

const CRATE: &str = env!("CARGO_MANIFEST_DIR");
const MODULES: [&str; 3] = ["mm_sd_v14", "mm_sd_v15_v2", "v3_sd15_mm"];

/// Each key of `config` is that of `expected`.
fn assert_agrees(config: &Value, expected: &Value) {
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(config[key], *value, "{key}");
    }
}

#[test]
fn all_tensors_of_the_unets_are_taken_as_diffusers_takes_them() {
    for (name, config) in [("v1", ldm::unet_2d_v1_config(4)), ("v2", ldm::unet_2d_v2_config(4, 96))] {
        let keys = LayoutKeys::read(CRATE, name);
        keys.assert_taken_by(&ldm::unet_2d(4, 2));
        // That it fits the shapes is checked where they are made: diffusers' model of this configuration has them.
        assert_agrees(&config, &keys.config);
    }
    assert_eq!(ldm::unet_2d_v1_config(9)["in_channels"], 9);
}

#[test]
fn unets_of_other_depths_are_counted_right() {
    for (name, levels, layers) in [("small", 2, 1), ("deep", 3, 4)] {
        let keys = LayoutKeys::read(CRATE, name);
        assert_eq!(keys.config["block_out_channels"].as_array().unwrap().len(), levels);
        assert_eq!(keys.config["layers_per_block"], layers);
        keys.assert_taken_by(&ldm::unet_2d(levels, layers));
    }
}

#[test]
fn tensors_of_other_components_and_averages_are_left_alone() {
    let keys = [
        ("model.diffusion_model.out.2.bias", &[4][..]),
        ("model_ema.diffusion_modelout2bias", &[4]),
        ("first_stage_model.decoder.conv_in.bias", &[4]),
        ("betas", &[1000]),
    ];
    let taken = ldm::unet_2d(4, 2).plan("model.ckpt", keys).unwrap();
    let names: Vec<&str> = taken.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names, ["conv_out.bias"]);
}

#[test]
fn all_tensors_of_motion_modules_are_taken_as_diffusers_takes_them() {
    for name in MODULES {
        let keys = LayoutKeys::read(CRATE, name);
        keys.assert_taken_by(&motion_module());
        let config = motion_module_config(name, keys.shapes()).unwrap();
        for (key, expected) in keys.config.as_object().unwrap() {
            // diffusers keeps one number for a list of the same.
            assert_eq!(config[key], *expected, "{name}: {key}");
        }
    }
}

#[test]
fn a_wrapped_motion_module_is_the_same() {
    let keys = LayoutKeys::read(CRATE, "mm_sd_v15_v2");
    let folder = tempfile::tempdir().unwrap();
    for wrapper in ["", "module.", "state_dict.", "state_dict.module."] {
        let wrapped: Vec<_> = keys
            .shapes()
            .map(|(key, shape)| (format!("{wrapper}{key}"), shape))
            .collect();
        let path = folder.path().join("mm_sd_v15_v2.safetensors");
        LayoutKeys::write_hollow(wrapped.iter().map(|(key, shape)| (key.as_str(), *shape)), &path);
        let adapter = open_motion_adapter(&path).unwrap();
        assert_eq!(adapter.weights().unwrap().shapes().unwrap(), keys.model(), "{wrapper}");
        let config: Map<String, Value> = adapter.config(&["MotionAdapter"]).unwrap();
        assert_eq!(config["use_motion_mid_block"], true);
    }
}

/// A component that has nothing but a configuration.
fn configured(config: &Value) -> Component {
    Component::from_parts(FolderParts::new("model.safetensors").with_json("config.json", config))
}

#[test]
fn assumed_configurations_are_those_of_networks() {
    let (first, second) = (ldm::unet_2d_v1_config(4), ldm::unet_2d_v2_config(4, 96));
    let sides = [&first, &second].map(|config| {
        let config = UNet2dConfig::from_component(&configured(config)).unwrap();
        config.sample_size()
    });
    assert_eq!(sides, [Some([64, 64]), Some([96, 96])]);
    for name in MODULES {
        let adapter = motion_module_config(name, LayoutKeys::read(CRATE, name).shapes()).unwrap();
        let adapter = MotionAdapterConfig::from_component(&configured(&adapter)).unwrap();
        UNet2dConfig::with_adapter(&configured(&first), &adapter).unwrap();
    }
}

#[test]
fn a_folder_of_a_motion_adapter_is_opened_and_others_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let keys = LayoutKeys::read(CRATE, "mm_sd_v14");
    let model = keys.model();
    let file = root.join("diffusion_pytorch_model.fp16.safetensors");
    LayoutKeys::write_hollow(model.iter().map(|(key, shape)| (key.as_str(), shape.as_slice())), &file);
    let open = || open_motion_adapter(root).map_err(|e| e.to_string());
    assert!(open().unwrap_err().contains("it has no `config.json`"));
    fs::write(root.join("config.json"), r#"{"_class_name": "MotionAdapter"}"#).unwrap();
    assert_eq!(open().unwrap().weights().unwrap().shapes().unwrap(), model);
    fs::write(root.join("config.json"), r#"{"_class_name": "ControlNetModel"}"#).unwrap();
    let message = open().unwrap_err();
    assert!(
        message.contains("`ControlNetModel` is not supported; MotionAdapter is"),
        "{message}"
    );
    // The weights of a folder are no module by themselves.
    let message = open_motion_adapter(&file).unwrap_err().to_string();
    assert!(
        message.contains("give the folder that has its `config.json`"),
        "{message}"
    );
}

#[test]
fn modules_that_are_not_for_stable_diffusion_1_are_named() {
    let module = LayoutKeys::read(CRATE, "mm_sd_v15_v2");
    let without = |part: &str| -> Vec<(String, Vec<usize>)> {
        let keys = module.file.iter().filter(|(key, _)| !key.contains(part));
        keys.cloned().collect()
    };
    let with = |key: &str| [module.file.clone(), vec![(key.to_owned(), vec![1])]].concat();
    let xl = without("_blocks.3.");
    let two: Vec<_> = xl
        .iter()
        .filter(|(key, _)| !key.contains("_blocks.2."))
        .cloned()
        .collect();
    for (file, part) in [
        (xl, "Stable Diffusion XL"),
        (two, "of 2 resolutions"),
        (with("controlnet_cond_embedding.conv_in.weight"), "SparseCtrl"),
        (with("conv_in.weight"), "PIA"),
        (
            vec![("down_blocks.0.motion_modules.0.to_q_lora.down.weight".into(), vec![1])],
            "a LoRA",
        ),
        (
            vec![("down_blocks.0.temporal_attentions.0.norm.weight".into(), vec![1])],
            "Hotshot-XL",
        ),
        (
            vec![("model.diffusion_model.out.0.bias".into(), vec![1])],
            "a checkpoint of a whole model",
        ),
        (
            vec![("encoder.weight".into(), vec![1])],
            "its first key is `encoder.weight`",
        ),
        (vec![], "its first key is none"),
    ] {
        let shapes = file.iter().map(|(key, shape)| (key.as_str(), shape.as_slice()));
        let message = motion_module_config("mm.ckpt", shapes).unwrap_err().to_string();
        assert!(
            message.contains(part) && message.contains("`mm.ckpt`"),
            "{part}: {message}"
        );
    }
}
