//! tiny-world: a text-to-video checkpoint of a few megabytes, embedded.
//!
//! A diffusers-format `TextToVideoSDPipeline` (`CLIPTextModel`, `UNet3DConditionModel`, `AutoencoderKL`, half
//! precision) that knows one coloured shape moving over an animated background. Its model card is `README.md`; the code
//! that trained it lies in `training/`.

/// The files of the model folder: path inside the folder, and bytes.
pub const FILES: &[(&str, &[u8])] = &[
    ("model_index.json", include_bytes!("../model_index.json")),
    ("t2v.json", include_bytes!("../t2v.json")),
    ("t2v_prompts.json", include_bytes!("../t2v_prompts.json")),
    (
        "scheduler/scheduler_config.json",
        include_bytes!("../scheduler/scheduler_config.json"),
    ),
    (
        "text_encoder/config.json",
        include_bytes!("../text_encoder/config.json"),
    ),
    (
        "text_encoder/model.safetensors",
        include_bytes!("../text_encoder/model.safetensors"),
    ),
    ("tokenizer/merges.txt", include_bytes!("../tokenizer/merges.txt")),
    (
        "tokenizer/tokenizer_config.json",
        include_bytes!("../tokenizer/tokenizer_config.json"),
    ),
    ("tokenizer/vocab.json", include_bytes!("../tokenizer/vocab.json")),
    ("unet/config.json", include_bytes!("../unet/config.json")),
    (
        "unet/diffusion_pytorch_model.safetensors",
        include_bytes!("../unet/diffusion_pytorch_model.safetensors"),
    ),
    ("vae/config.json", include_bytes!("../vae/config.json")),
    (
        "vae/diffusion_pytorch_model.safetensors",
        include_bytes!("../vae/diffusion_pytorch_model.safetensors"),
    ),
];
