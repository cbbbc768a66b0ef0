//! Files that can't be used, and sets that don't fit a model: one sentence that names the file and the key.

use std::sync::Arc;

use burn::tensor::DType;
use t2v_weights::{KeyMap, Lora, LoraSet, LoraTarget, WeightsError};

use crate::lora::model::{Entry, FIXTURES, base, entry, file, load, unet, unet_keys};

fn refused(tensors: &[Entry], parts: &[&str]) {
    let error = Lora::from_safetensors("x.safetensors", file(tensors, None)).unwrap_err();
    assert!(matches!(error, WeightsError::Lora { .. }), "{error:?}");
    check(&error, parts);
}

fn check(error: &WeightsError, parts: &[&str]) {
    let message = error.to_string();
    for part in parts.iter().chain(&["x.safetensors"]) {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    assert!(!message.contains('\n'), "{message}");
}

fn pair(layer: &str, down: &[usize], up: &[usize]) -> Vec<Entry> {
    vec![
        entry(&format!("{layer}.lora_down.weight"), down),
        entry(&format!("{layer}.lora_up.weight"), up),
    ]
}

#[test]
fn other_kinds_are_refused_by_name() {
    for (key, part) in [
        ("lora_unet_conv_in.dora_scale", "DoRA"),
        ("lora_unet_conv_in.hada_w1_a", "LoHa"),
        ("lora_unet_conv_in.lokr_w1", "LoKr"),
        ("lora_unet_conv_in.lora_mid.weight", "Tucker"),
        ("lora_unet_norm.diff", "differences"),
        ("lora_te2_text_model_encoder_layers_0_mlp_fc1.alpha", "SDXL"),
        ("lora_unet_input_blocks_4_1_proj_in.alpha", "SDXL"),
    ] {
        let mut tensors = pair("lora_unet_conv_in", &[2, 4, 3, 3], &[8, 2, 1, 1]);
        tensors.push(entry(key, &[1]));
        refused(&tensors, &[part, key]);
    }
}

#[test]
fn files_without_layers_are_refused_by_what_they_are() {
    refused(&[entry("emb_params", &[1, 8])], &["textual inversion"]);
    refused(
        &[entry("model.diffusion_model.out.2.weight", &[4])],
        &["whole checkpoint"],
    );
    refused(&[entry("conv_in.weight", &[4])], &["it is no LoRA", "`conv_in.weight`"]);
    refused(&[], &["no tensors"]);
}

#[test]
fn halves_of_pairs_are_named() {
    let whole = pair("unet.conv_in", &[2, 4, 3, 3], &[8, 2, 1, 1]);
    refused(&whole[..1], &["`unet.conv_in.lora_down.weight`", "no matrix `up`"]);
    refused(&whole[1..], &["`unet.conv_in.lora_up.weight`", "no matrix `down`"]);
    for (down, up) in [
        (vec![2, 4, 3, 3], vec![8, 3, 1, 1]),
        (vec![2, 4, 3, 3], vec![8, 2, 3, 3]),
        (vec![2], vec![8, 2]),
        (vec![0, 4], vec![8, 0]),
    ] {
        let tensors = pair("unet.conv_in", &down, &up);
        refused(
            &tensors,
            &["do not go together", "lora_down", "lora_up", &format!("{down:?}")],
        );
    }
    let mut twice = whole;
    twice.push(entry("conv_in.lora_A.weight", &[2, 4, 3, 3]));
    refused(&twice, &["for the same layer", "`conv_in.lora_A.weight`"]);
}

#[test]
fn alphas_must_be_numbers() {
    for alpha in [vec![f32::NAN], vec![1.0, 2.0], vec![]] {
        let mut tensors = pair("lora_unet_conv_in", &[2, 4, 3, 3], &[8, 2, 1, 1]);
        tensors.push(("lora_unet_conv_in.alpha".into(), vec![alpha.len()], alpha));
        refused(&tensors, &["`lora_unet_conv_in.alpha`", "one finite number"]);
    }
}

fn apply(tensors: &[Entry], scale: f64) -> Result<Vec<String>, WeightsError> {
    let module = load(unet(), &unet_keys(), base("unet"), DType::F32);
    let lora = Lora::from_safetensors("x.safetensors", file(tensors, None))?;
    let set = LoraSet::new().with(lora, scale);
    let (_, applied) = set.apply(&module, &unet_keys(), LoraTarget::Denoiser, DType::F32)?;
    Ok(applied.left_out().to_vec())
}

#[test]
fn layers_that_the_model_lacks_are_left_out() {
    let mut tensors = pair("lora_unet_conv_in", &[2, 4, 3, 3], &[8, 2, 1, 1]);
    tensors.extend(pair("lora_unet_conv_out", &[2, 4, 3, 3], &[8, 2, 1, 1]));
    assert_eq!(apply(&tensors, 1.0).unwrap(), ["lora_unet_conv_out.lora_down.weight"]);
}

#[test]
fn other_shapes_are_an_error_that_names_them() {
    let block = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0";
    for (width, base) in [
        (768, "Stable Diffusion 1.x"),
        (1024, "Stable Diffusion 2.x"),
        (2048, "SDXL"),
    ] {
        let mut tensors = pair("lora_unet_conv_in", &[2, 4, 3, 3], &[8, 2, 1, 1]);
        tensors.extend(pair(&format!("{block}_attn2_to_k"), &[2, width], &[8, 2]));
        let error = apply(&tensors, 1.0).unwrap_err();
        let key = format!("`{block}_attn2_to_k.lora_down.weight`");
        check(
            &error,
            &[
                "1 layer has another shape",
                &key,
                &format!("[8, {width}]"),
                "[8, 12]",
                base,
            ],
        );
    }
}

#[test]
fn loras_of_other_models_are_named() {
    let transformer = pair("transformer.single_transformer_blocks.0.attn.to_q", &[2, 8], &[8, 2]);
    let flux = pair("lora_unet_double_blocks_0_img_attn_qkv", &[2, 8], &[8, 2]);
    let motion = pair(
        "unet.mid_block.motion_modules.0.transformer_blocks.0.attn1.to_q",
        &[2, 8],
        &[8, 2],
    );
    let other = pair("unet.other_block.conv", &[2, 8], &[8, 2]);
    for (tensors, part) in [
        (transformer, "diffusion transformer"),
        (flux, "diffusion transformer"),
        (motion, "motion LoRA"),
        (other, "`conv_in`"),
    ] {
        let error = apply(&tensors, 1.0).unwrap_err();
        check(&error, &["none of its 1 layers", "denoiser", &tensors[0].0, part]);
    }
}

#[test]
fn values_and_scales_must_be_finite() {
    let mut tensors = pair("lora_unet_conv_in", &[2, 4, 3, 3], &[8, 2, 1, 1]);
    check(&apply(&tensors, f64::NAN).unwrap_err(), &["its scale is NaN"]);
    tensors[0].2[3] = f32::INFINITY;
    check(
        &apply(&tensors, 1.0).unwrap_err(),
        &["`lora_unet_conv_in.lora_down.weight`", "finite"],
    );
}

#[test]
fn damaged_and_absent_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = file(&pair("lora_unet_conv_in", &[2, 4, 3, 3], &[8, 2, 1, 1]), None);
    for (name, bytes) in [
        ("x.safetensors", &bytes[..bytes.len() - 4]),
        ("x.safetensors.pt", &bytes[..40]),
    ] {
        std::fs::write(folder.path().join(name), bytes).unwrap();
        check(
            &Lora::open(folder.path().join(name)).unwrap_err(),
            &["not a usable weight file"],
        );
    }
    let error = Lora::open(folder.path().join("absent/x.safetensors")).unwrap_err();
    assert!(matches!(error, WeightsError::MissingFile { .. }), "{error}");
}

#[test]
fn pickles_run_no_code() {
    let error = Lora::open(format!("{FIXTURES}/runs_code.ckpt")).unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("runs_code.ckpt") && message.contains("mkdir"),
        "{message}"
    );
    assert!(!std::path::Path::new("code_ran").exists());
}

#[test]
fn a_key_map_that_does_not_compile_is_named() {
    let module = load(unet(), &unet_keys(), base("unet"), DType::F32);
    let tensors = pair("lora_unet_conv_in", &[2, 4, 3, 3], &[8, 2, 1, 1]);
    let lora = Arc::new(Lora::from_safetensors("x.safetensors", file(&tensors, None)).unwrap());
    let set = LoraSet::new().with(lora, 1.0);
    let error = set.apply(
        &module,
        &KeyMap::new().rename("(", ""),
        LoraTarget::Denoiser,
        DType::F32,
    );
    check(&error.unwrap_err(), &["key map does not compile", "unclosed group"]);
}
