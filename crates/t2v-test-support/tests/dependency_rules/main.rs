//! The directions of dependency that ARCHITECTURE.md promises, checked on every manifest of the workspace, and each rule on
//! manifests that break it (`broken.rs`).

#![allow(clippy::unwrap_used)]

mod broken;
mod manifest;

use std::{
    fs,
    path::{Path, PathBuf},
};

use manifest::{Kind, Manifest, strings};
use toml::Table;

/// Crates that must not depend on one another.
const SIBLINGS: [&str; 5] = [
    "t2v-text-encoder",
    "t2v-denoiser",
    "t2v-schedulers",
    "t2v-vae",
    "t2v-mp4",
];
/// Crates that the siblings build on.
const FOUNDATIONS: [&str; 2] = ["t2v-weights", "t2v-kernels"];
/// The one that both of these build on: it knows no other crate of the workspace.
const QUANT: &str = "t2v-quant";
/// The crate that composes the others and chooses the backend.
const FACADE: &str = "t2v-pipeline";
/// Programs, which forward that choice.
const PROGRAMS: [&str; 4] = ["t2v-examples", "t2v-benches", "t2v-server", TRAINING];
/// The one that records gradients.
const TRAINING: &str = "t2v-train";
/// Burn's backends: features of `burn`, and crates `burn-<name>`.
const BACKENDS: [&str; 11] = [
    "flex", "cuda", "wgpu", "vulkan", "metal", "webgpu", "cpu", "rocm", "ndarray", "tch", "remote",
];

/// Siblings depend neither on each other nor on the facade, and foundations on none of them, not even in tests.
fn upwards(manifest: &Manifest) -> Vec<String> {
    if !manifest.is(&SIBLINGS) && !manifest.is(&FOUNDATIONS) {
        return Vec::new();
    }
    manifest.faults(|dependency| {
        let package = dependency.package.as_str();
        let is_sideways = manifest.is(&FOUNDATIONS) && FOUNDATIONS.contains(&package) && dependency.kind != Kind::Dev;
        let is_upwards = SIBLINGS.contains(&package) || PROGRAMS.contains(&package) || package == FACADE;
        is_sideways || is_upwards
    })
}

/// What quantised blocks are is known to all and knows of nobody.
fn beneath_all(manifest: &Manifest) -> Vec<String> {
    manifest.faults(|dependency| manifest.name == QUANT && dependency.package.starts_with("t2v-"))
}

/// The crate that tests are written with is no part of what is built.
fn test_support_in_use(manifest: &Manifest) -> Vec<String> {
    manifest.faults(|dependency| dependency.package == "t2v-test-support" && dependency.kind != Kind::Dev)
}

/// `t2v-mp4` knows no tensors: neither Burn nor a crate of the workspace, which all have it.
fn tensors_in_the_muxer(manifest: &Manifest) -> Vec<String> {
    let has_tensors = |package: &str| package.starts_with("burn") || package.starts_with("t2v-");
    manifest.faults(|dependency| manifest.name == "t2v-mp4" && has_tensors(&dependency.package))
}

/// Only `t2v-weights` uses `burn-store`, which `burn` also has behind features.
fn readers_of_weights(manifest: &Manifest) -> Vec<String> {
    let is_store = |feature: &String| ["store", "safetensors", "pytorch"].contains(&feature.as_str());
    manifest.faults(|dependency| match dependency.package.as_str() {
        "burn-store" => manifest.name != "t2v-weights",
        "burn" => dependency.features.iter().any(is_store),
        _ => false,
    })
}

/// Only `t2v-train` has Burn record gradients, and nothing builds on it: what generates is built without.
fn gradients(manifest: &Manifest) -> Vec<String> {
    let records = |feature: &String| ["autodiff", "optim", "train"].contains(&feature.as_str());
    manifest.faults(|dependency| match dependency.package.as_str() {
        "burn" => manifest.name != TRAINING && dependency.features.iter().any(records),
        "burn-autodiff" | "burn-optim" | "burn-train" => true,
        TRAINING => true,
        _ => false,
    })
}

/// Backends are chosen by the facade's features; programs forward these by the same names, and tests of libraries run on
/// flex, or on what the features of their support are for. The operators of `t2v-kernels` for flex are no choice: they come with the facade's feature.
fn choices_of_a_backend(manifest: &Manifest) -> Vec<String> {
    if [FACADE, "t2v-test-support"].contains(&manifest.name.as_str()) {
        return Vec::new();
    }
    let is_operators = |on: &str| manifest.name == "t2v-kernels" && on == "flex";
    let mut faults = manifest.faults(|dependency| match dependency.package.as_str() {
        "burn" | FACADE => dependency.features.iter().any(|feature| {
            let is_for_tests = dependency.kind == Kind::Dev && feature == "flex" && !manifest.is(&PROGRAMS);
            BACKENDS.contains(&feature.as_str()) && !is_for_tests
        }),
        package => {
            let backend = package.strip_prefix("burn-").filter(|name| BACKENDS.contains(name));
            backend.is_some_and(|backend| !is_operators(backend))
        }
    });
    for (feature, on) in &manifest.features {
        let is_forwarded = manifest.is(&PROGRAMS) && *on == [format!("{FACADE}/{feature}")];
        let chosen = |on: &String| {
            let backend = on
                .rsplit_once('/')
                .filter(|(from, _)| ["burn", FACADE].contains(&from.trim_end_matches('?')));
            backend.is_some_and(|(_, backend)| BACKENDS.contains(&backend) && !is_operators(backend))
        };
        let is_choice = BACKENDS.contains(&feature.as_str()) || on.iter().any(chosen);
        if is_choice && !is_forwarded {
            faults.push(format!(
                "{}: the feature {feature} = {on:?} chooses a backend",
                manifest.name
            ));
        }
    }
    faults
}

/// Only `t2v-kernels` may have unsafe code: the compiler refuses it in all targets of the others.
fn unsafe_code(manifest: &Manifest) -> Vec<String> {
    match manifest.forbids_unsafe || manifest.name == "t2v-kernels" {
        true => Vec::new(),
        false => vec![format!("{} doesn't forbid unsafe code", manifest.name)],
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn workspace() -> Table {
    fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap()
}

/// Every member of the workspace.
fn members() -> Vec<Manifest> {
    let workspace = workspace();
    let mut folders = Vec::new();
    for member in strings(workspace["workspace"].get("members")) {
        match member.strip_suffix("/*") {
            Some(parent) => {
                let entries = fs::read_dir(root().join(parent)).unwrap();
                folders.extend(entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()));
            }
            None => folders.push(root().join(member)),
        }
    }
    let read = |folder: &PathBuf| fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    folders
        .iter()
        .map(|folder| Manifest::parse(&read(folder), &workspace))
        .collect()
}

type Rule = fn(&Manifest) -> Vec<String>;
const RULES: [Rule; 8] = [
    upwards,
    beneath_all,
    test_support_in_use,
    tensors_in_the_muxer,
    readers_of_weights,
    gradients,
    choices_of_a_backend,
    unsafe_code,
];

#[test]
fn the_workspace_keeps_the_rules() {
    let members = members();
    let named = |name: &&str| members.iter().any(|member| member.name == *name);
    assert!(
        SIBLINGS
            .iter()
            .chain(&FOUNDATIONS)
            .chain(&PROGRAMS)
            .chain(&[FACADE, QUANT])
            .all(named)
    );
    let faults: Vec<String> = members
        .iter()
        .flat_map(|member| RULES.iter().flat_map(|rule| rule(member)))
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
    let weights = members.iter().find(|member| member.name == "t2v-weights").unwrap();
    assert!(
        weights
            .dependencies
            .iter()
            .any(|dependency| dependency.package == "burn-store")
    );
}

/// The workspace chooses no backend for everyone.
#[test]
fn burn_comes_without_a_backend() {
    let workspace = workspace();
    let burn = &workspace["workspace"]["dependencies"]["burn"];
    assert_eq!(burn["default-features"].as_bool(), Some(false));
    assert_eq!(strings(burn.get("features")), ["std"]);
}
