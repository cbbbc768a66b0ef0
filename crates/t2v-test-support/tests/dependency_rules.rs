//! The directions of dependency that ARCHITECTURE.md promises, checked on every manifest.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Crates that must not depend on one another.
const SIBLINGS: [&str; 5] = [
    "t2v-text-encoder",
    "t2v-denoiser",
    "t2v-schedulers",
    "t2v-vae",
    "t2v-mp4",
];
/// Features of Burn that choose a backend.
const BACKENDS: [&str; 6] = ["flex", "cuda", "wgpu", "vulkan", "metal", "cpu"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The lines of each table of a manifest, `[dependencies]` and so on.
fn tables(manifest: &str) -> BTreeMap<String, Vec<String>> {
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current = String::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') && line.ends_with(']') && !line.contains('=') {
            current = line.trim_matches(['[', ']']).to_string();
        } else if !line.is_empty() && !line.starts_with('#') {
            tables.entry(current.clone()).or_default().push(line.to_string());
        }
    }
    tables
}

fn dependencies(manifest: &str) -> Vec<String> {
    let names = |lines: &Vec<String>| -> Vec<String> {
        let name = |line: &String| line.split(['.', '=', ' ']).next().unwrap_or("").to_string();
        lines.iter().map(name).collect()
    };
    tables(manifest).get("dependencies").map(names).unwrap_or_default()
}

fn crates() -> Vec<(String, PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let folder = entry.unwrap().path();
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        found.push((
            folder.file_name().unwrap().to_string_lossy().into_owned(),
            folder,
            manifest,
        ));
    }
    assert!(found.len() >= 9, "the crates were not found");
    found
}

#[test]
fn siblings_do_not_know_each_other() {
    for (name, _, manifest) in crates() {
        if SIBLINGS.contains(&name.as_str()) {
            for dependency in dependencies(&manifest) {
                let allowed = !SIBLINGS.contains(&dependency.as_str()) && dependency != "t2v-pipeline";
                assert!(allowed, "{name} depends on {dependency}");
            }
        }
    }
}

#[test]
fn the_muxer_knows_no_tensors() {
    let (_, _, manifest) = crates().into_iter().find(|(name, ..)| name == "t2v-mp4").unwrap();
    for dependency in dependencies(&manifest) {
        assert!(!dependency.starts_with("burn"), "t2v-mp4 depends on {dependency}");
    }
}

#[test]
fn only_t2v_weights_reads_weight_files() {
    for (name, _, manifest) in crates() {
        let uses = dependencies(&manifest).contains(&"burn-store".to_string());
        assert_eq!(uses, name == "t2v-weights", "{name} and burn-store");
    }
}

#[test]
fn only_the_facade_chooses_backends() {
    for (name, _, manifest) in crates() {
        let features = tables(&manifest).remove("features").unwrap_or_default();
        for backend in BACKENDS {
            let declared = features.iter().any(|line| line.starts_with(&format!("{backend} ")));
            assert!(
                !declared || name == "t2v-pipeline",
                "{name} declares the backend {backend}"
            );
        }
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn only_the_kernels_are_unsafe() {
    for (name, folder, _) in crates() {
        let mut files = Vec::new();
        sources(&folder.join("src"), &mut files);
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            let unsafe_code = ["unsafe {", "unsafe fn", "unsafe impl"]
                .iter()
                .any(|form| text.contains(form));
            assert!(
                !unsafe_code || name == "t2v-kernels",
                "{} has unsafe code",
                file.display()
            );
        }
    }
}
