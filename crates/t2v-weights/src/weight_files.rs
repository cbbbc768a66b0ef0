//! The names that weight files go by, in the order in which diffusers and transformers look for them.

use std::collections::BTreeSet;

/// File name stems of diffusers' and transformers' models, with their extension; safetensors before pickles.
const KINDS: [(&str, &str); 4] = [
    (DIFFUSERS, "safetensors"),
    ("model", "safetensors"),
    (DIFFUSERS, "bin"),
    ("pytorch_model", "bin"),
];
const DIFFUSERS: &str = "diffusion_pytorch_model";

/// A name to look for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) file: String,
    /// Whether it lists the files of a sharded checkpoint.
    pub(crate) is_index: bool,
}

/// The names of one variant's weight files, best first; `""` is full precision.
///
/// Where there are shards and a whole file, diffusers takes the shards, transformers the file.
pub(crate) fn candidates(variant: &str) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for (stem, extension) in KINDS {
        let dotted = match variant {
            "" => String::new(),
            variant => format!(".{variant}"),
        };
        let whole = Candidate {
            file: format!("{stem}{dotted}.{extension}"),
            is_index: false,
        };
        let indices = index_names(stem, &dotted, extension).into_iter();
        let indices = indices.map(|file| Candidate { file, is_index: true });
        if (stem, extension) == KINDS[0] {
            candidates.extend(indices.chain([whole]));
        } else {
            candidates.extend([whole].into_iter().chain(indices));
        }
    }
    candidates
}

/// The names an index has had over the versions of diffusers and transformers.
fn index_names(stem: &str, dotted_variant: &str, extension: &str) -> Vec<String> {
    match dotted_variant {
        "" => vec![format!("{stem}.{extension}.index.json")],
        variant => vec![
            format!("{stem}.{extension}.index{variant}.json"),
            format!("{stem}.{extension}{variant}.index.json"),
            format!("{stem}{variant}.{extension}.index.json"),
        ],
    }
}

/// The variants that a folder with these files has weights of.
pub(crate) fn variants_among(files: &[String]) -> BTreeSet<String> {
    files.iter().filter_map(|file| variant_of(file, files)).collect()
}

/// The part of a weight file's name that is neither stem, extension, number of a shard nor `index.json`.
fn variant_of(file: &str, files: &[String]) -> Option<String> {
    let mut parts = file.split('.');
    let stem = parts.next()?;
    KINDS.iter().find(|(known, _)| *known == stem)?;
    let extra = |part: &&str| !["safetensors", "bin", "index", "json"].contains(part);
    // A shard, such as `model.fp16-00001-of-00002.safetensors`, is of no use without its index.
    let variant = parts.find(extra).filter(|part| !part.contains("-of-"))?;
    let found = candidates(variant)
        .iter()
        .any(|candidate| files.contains(&candidate.file));
    found.then(|| variant.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diffusers_takes_shards_first_and_transformers_the_whole_file() {
        let names: Vec<String> = candidates("").into_iter().map(|c| c.file).collect();
        assert_eq!(
            names,
            [
                "diffusion_pytorch_model.safetensors.index.json",
                "diffusion_pytorch_model.safetensors",
                "model.safetensors",
                "model.safetensors.index.json",
                "diffusion_pytorch_model.bin",
                "diffusion_pytorch_model.bin.index.json",
                "pytorch_model.bin",
                "pytorch_model.bin.index.json",
            ]
        );
    }

    #[test]
    fn variants_are_those_that_could_be_read() {
        let files = [
            "config.json",
            "diffusion_pytorch_model.bin",
            "diffusion_pytorch_model.fp16.safetensors",
            "diffusion_pytorch_model.ema-00001-of-00002.safetensors",
            "diffusion_pytorch_model.safetensors.index.non_ema.json",
            "model.safetensors.bf16.index.json",
            "other.int8.safetensors",
        ];
        let variants = variants_among(&files.map(String::from));
        assert_eq!(variants.into_iter().collect::<Vec<_>>(), ["bf16", "fp16", "non_ema"]);
    }
}
