//! Which files of a repository a pipeline needs.

/// Stems of weight files that diffusers and transformers write.
const STEMS: [&str; 3] = ["diffusion_pytorch_model", "model", "pytorch_model"];
/// Full precision first, as where a model folder is opened.
const VARIANTS: [&str; 3] = ["", "fp16", "bf16"];
const EXTENSIONS: [&str; 2] = ["safetensors", "bin"];

/// The files to download: configurations, vocabularies, and one set of weights a network, in `variant` where there is
/// one. `networks` are the folders that may have weights.
pub(crate) fn needed(files: &[String], networks: &[&str], variant: Option<&str>) -> Vec<String> {
    let plain = || files.iter().filter(|file| is_plain(file));
    let mut needed: Vec<String> = plain().filter(|file| is_small(file, networks)).cloned().collect();
    for network in networks {
        let weights: Vec<_> = plain()
            .filter_map(|file| Some((file, file.split_once('/')?)))
            .filter(|(_, (folder, _))| folder == network)
            .filter_map(|(file, (_, name))| Some((file, Weights::of(name)?)))
            .collect();
        if let Some(best) = best(&weights, variant) {
            let same = weights.iter().filter(|(_, kind)| *kind == best);
            needed.extend(same.map(|(file, _)| (*file).clone()));
        }
    }
    needed
}

/// What sets of weights differ in.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Weights<'a> {
    extension: &'a str,
    variant: &'a str,
}

impl<'a> Weights<'a> {
    /// `stem[-1-of-2][.variant[-1-of-2]].extension[.index[.variant].json]`; `None` for other files.
    fn of(name: &'a str) -> Option<Self> {
        let mut parts = name.split('.');
        let stem = parts.next()?.split("-0").next()?;
        let mut weights = Self {
            extension: "",
            variant: "",
        };
        for part in parts {
            match part {
                "index" | "json" => {}
                part if EXTENSIONS.contains(&part) => weights.extension = part,
                part => weights.variant = part.split('-').next()?,
            }
        }
        (STEMS.contains(&stem) && !weights.extension.is_empty()).then_some(weights)
    }
}

/// The kind that a model folder would be read from, of those there are: the variant counts before the file type.
fn best<'a>(weights: &[(&String, Weights<'a>)], wanted: Option<&str>) -> Option<Weights<'a>> {
    let variants = wanted.into_iter().chain(VARIANTS);
    let mut kinds = variants.flat_map(|variant| EXTENSIONS.map(|extension| (extension, variant)));
    kinds.find_map(|(extension, variant)| {
        let mut kinds = weights.iter().map(|(_, kind)| *kind);
        kinds.find(|kind| kind.extension == extension && kind.variant == variant)
    })
}

/// A file beside the index or in a component's folder, with nothing in its name that a path or a pattern could be of.
fn is_plain(file: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_name = |part: &str| !part.is_empty() && !part.starts_with('.') && part.chars().all(plain);
    file.matches('/').count() <= 1 && file.split('/').all(is_name)
}

/// Configurations and vocabularies.
fn is_small(file: &str, networks: &[&str]) -> bool {
    match file.split_once('/') {
        None => ["model_index.json", "t2v.json", "t2v_prompts.json"].contains(&file),
        Some(("scheduler", name)) => name == "scheduler_config.json",
        Some(("image_processor", name)) => name == "preprocessor_config.json",
        Some(("tokenizer", name)) => name.ends_with(".json") || name.ends_with(".txt") || name == "spiece.model",
        Some((folder, name)) => networks.contains(&folder) && name == "config.json",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: [&str; 8] = [
        "image_processor/preprocessor_config.json",
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "tokenizer/merges.txt",
        "tokenizer/spiece.model",
        "tokenizer/vocab.json",
        "unet/config.json",
    ];

    /// The weights that are chosen among `weights`, besides the small files.
    fn chosen(weights: &[&str], variant: Option<&str>) -> Vec<String> {
        let files: Vec<String> = SMALL.iter().chain(weights).map(ToString::to_string).collect();
        let mut needed = needed(&files, &["text_encoder", "unet", "vae"], variant);
        let weights = needed.split_off(SMALL.len());
        assert_eq!(needed, SMALL);
        weights
    }

    #[test]
    fn each_network_gets_one_set_of_weights() {
        let weights = [
            "text_encoder/model.fp16.safetensors",
            "text_encoder/model.safetensors",
            "text_encoder/pytorch_model.bin",
            "unet/diffusion_pytorch_model.bin",
            "unet/diffusion_pytorch_model.fp16.bin",
            "vae/diffusion_pytorch_model.fp16.safetensors",
            "vae/diffusion_pytorch_model.non_ema.safetensors",
        ];
        assert_eq!(chosen(&weights, None), [weights[1], weights[3], weights[5]]);
        assert_eq!(chosen(&weights, Some("fp16")), [weights[0], weights[4], weights[5]]);
        assert_eq!(chosen(&weights, Some("non_ema")), [weights[1], weights[3], weights[6]]);
    }

    #[test]
    fn shards_come_with_their_index() {
        let full = [
            "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
            "unet/diffusion_pytorch_model-00002-of-00002.safetensors",
            "unet/diffusion_pytorch_model.safetensors.index.json",
        ];
        let half = [
            "unet/diffusion_pytorch_model-00001-of-00001.fp16.safetensors",
            "unet/diffusion_pytorch_model.fp16-00001-of-00001.safetensors",
            "unet/diffusion_pytorch_model.safetensors.index.fp16.json",
        ];
        let all = [full, half].concat();
        assert_eq!(chosen(&all, None), full);
        assert_eq!(chosen(&all, Some("fp16")), half);
    }

    #[test]
    fn nothing_else_is_downloaded() {
        let others = [
            "README.md",
            "text_encoder/../../x.json",
            "unet/.hidden.json",
            "unet//config.json",
            "unet/deep/model.safetensors",
            "safety_checker/model.safetensors",
            "zeroscope.ckpt",
            "unet/model*.safetensors",
        ];
        assert!(chosen(&others, None).is_empty());
    }
}
