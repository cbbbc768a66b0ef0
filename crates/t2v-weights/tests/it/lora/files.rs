//! What a file has.

use t2v_weights::{AppliedLoras, Lora, LoraSet, LoraTarget};

use crate::lora::model::{FIXTURES, entry, file};

fn open(name: &str) -> Lora {
    Lora::open(format!("{FIXTURES}/{name}")).unwrap()
}

#[test]
fn every_layout_is_read_in_full() {
    for (name, layers) in [
        ("kohya.safetensors", [12, 4]),
        ("peft.safetensors", [12, 4]),
        ("layers.safetensors", [12, 4]),
        ("old.bin", [3, 2]),
        ("motion.ckpt", [3, 0]),
    ] {
        let lora = open(name);
        let found = [LoraTarget::Denoiser, LoraTarget::TextEncoder].map(|target| lora.layers(target));
        assert_eq!(found, layers, "{name}");
        assert!(lora.unknown_keys().is_empty(), "{name}: {:?}", lora.unknown_keys());
        assert!(lora.origin().ends_with(name));
    }
}

#[test]
fn the_fingerprint_is_that_of_the_whole_file() {
    use sha2::{Digest, Sha256};
    for name in ["kohya.safetensors", "old.bin"] {
        let bytes = std::fs::read(format!("{FIXTURES}/{name}")).unwrap();
        let digits: String = Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(open(name).sha256().unwrap(), digits);
    }
    let bytes = std::fs::read(format!("{FIXTURES}/kohya.safetensors")).unwrap();
    let lora = Lora::from_safetensors("memory", bytes).unwrap();
    assert_eq!(lora.sha256().unwrap(), open("kohya.safetensors").sha256().unwrap());
}

#[test]
fn keys_beside_the_layers_are_known() {
    let tensors = [
        entry("lora_unet_conv_in.lora_down.weight", &[2, 4, 3, 3]),
        entry("lora_unet_conv_in.lora_up.weight", &[8, 2, 1, 1]),
        entry("lora_unet_conv_out.alpha", &[]),
        entry("bundle_emb.word.string_to_param.*", &[1, 12]),
    ];
    let lora = Lora::from_safetensors("memory", file(&tensors, None)).unwrap();
    assert_eq!(lora.layers(LoraTarget::Denoiser), 1);
    let mut unknown = lora.unknown_keys().to_vec();
    unknown.sort();
    assert_eq!(
        unknown,
        ["bundle_emb.word.string_to_param.*", "lora_unet_conv_out.alpha"]
    );
}

#[test]
fn they_may_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Lora>();
    shared::<LoraSet>();
    shared::<AppliedLoras>();
}

#[test]
fn a_folder_stands_for_the_lora_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let error = || Lora::open(folder.path()).unwrap_err().to_string();
    let add = |file: &str, name: &str| std::fs::copy(format!("{FIXTURES}/{file}"), folder.path().join(name)).unwrap();
    let found = || {
        let lora = Lora::open(folder.path()).unwrap();
        (lora.origin().to_string(), lora.layers(LoraTarget::Denoiser))
    };
    assert!(error().contains("pytorch_lora_weights.safetensors"), "{}", error());
    add("kohya.safetensors", "style.safetensors");
    assert_eq!(
        found(),
        (folder.path().join("style.safetensors").display().to_string(), 12)
    );
    add("kohya.safetensors", "other.safetensors");
    assert!(error().contains("several safetensors files"), "{}", error());
    add("old.bin", "pytorch_lora_weights.bin");
    assert_eq!(found().1, 3);
}
