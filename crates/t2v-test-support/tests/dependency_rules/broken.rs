//! Each rule on made-up manifests that break it.

use crate::{
    FACADE, Rule, beneath_all, choices_of_a_backend, gradients, manifest::Manifest, readers_of_weights,
    tensors_in_the_muxer, test_support_in_use, unsafe_code, upwards,
};

/// Tries a rule on a crate of this name with these lines.
#[track_caller]
fn assert_broken(rule: Rule, name: &str, lines: &str) {
    let faults = rule(&made_up(name, lines));
    assert_eq!(faults.len(), 1, "{name}: {lines}: {faults:?}");
}

#[track_caller]
fn assert_kept(rule: Rule, name: &str, lines: &str) {
    let faults = rule(&made_up(name, lines));
    assert!(faults.is_empty(), "{faults:?}");
}

fn made_up(name: &str, lines: &str) -> Manifest {
    let workspace = r#"
        [workspace.dependencies]
        burn = { version = "0", features = ["std"] }
        renamed = { version = "0", package = "t2v-vae" }
        with-store = { version = "0", package = "burn", features = ["safetensors"] }
        t2v-vae = { path = "x" }
        [workspace.lints.rust]
        unsafe_code = "forbid"
    "#;
    Manifest::parse(
        &format!("[package]\nname = {name:?}\n{lines}"),
        &workspace.parse().unwrap(),
    )
}

#[test]
fn what_lies_beneath_all_knows_nobody() {
    let lines = "[dependencies]\nt2v-kernels = '0'";
    assert_broken(beneath_all, "t2v-quant", lines);
    assert_kept(beneath_all, "t2v-quant", "[dependencies]\nburn = '0'");
    assert_kept(beneath_all, "t2v-weights", "[dependencies]\nt2v-quant = '0'");
}

#[test]
fn dependencies_sideways_and_upwards_are_seen() {
    for lines in [
        "[dependencies]\nt2v-vae.workspace = true",
        "[dependencies.t2v-vae]\npath = '../x'",
        "[dependencies]\nvae = { package = 't2v-vae', version = '0' }",
        "[dependencies]\nrenamed.workspace = true",
        "[dev-dependencies]\nt2v-vae = '0'",
        "[build-dependencies]\nt2v-vae = '0'",
        "[target.'cfg(unix)'.dependencies]\nt2v-vae = '0'",
        "[target.x86_64-unknown-linux-gnu.dev-dependencies]\nvae = { package = 't2v-vae' }",
        "[dependencies]\nt2v-pipeline = '0'",
    ] {
        assert_broken(upwards, "t2v-denoiser", lines);
        assert_broken(upwards, "t2v-kernels", lines);
        assert_kept(upwards, "t2v-benches", lines);
    }
    assert_broken(upwards, "t2v-kernels", "[dependencies]\nt2v-weights = '0'");
    assert_kept(upwards, "t2v-kernels", "[dev-dependencies]\nt2v-weights = '0'");
    assert_kept(
        upwards,
        "t2v-denoiser",
        "[dependencies]\nt2v-weights = '0'\nt2v-kernels = '0'",
    );
    let lines = "[target.'cfg(unix)'.dependencies]\nt2v-test-support = '0'";
    assert_broken(test_support_in_use, "t2v-vae", lines);
}

#[test]
fn tensors_in_the_muxer_are_seen() {
    for lines in [
        "[dependencies]\nburn.workspace = true",
        "[dev-dependencies]\nburn-tensor = '0'",
        "[dependencies]\ntensors = { package = 'burn-flex', version = '0' }",
        "[target.'cfg(windows)'.dependencies]\nburn = '0'",
        "[dependencies]\nt2v-weights = '0'",
    ] {
        assert_broken(tensors_in_the_muxer, "t2v-mp4", lines);
    }
}

#[test]
fn readers_of_weights_are_seen() {
    for lines in [
        "[dependencies]\nburn-store = '0'",
        "[dev-dependencies]\nstore = { package = 'burn-store', version = '0' }",
        "[target.'cfg(unix)'.build-dependencies]\nburn-store = '0'",
        "[dependencies]\nburn = { workspace = true, features = ['pytorch'] }",
        "[dependencies]\nwith-store.workspace = true",
    ] {
        assert_broken(readers_of_weights, "t2v-vae", lines);
    }
    assert_kept(readers_of_weights, "t2v-weights", "[dependencies]\nburn-store = '0'");
}

#[test]
fn gradients_are_seen() {
    for lines in [
        "[dependencies]\nburn = { workspace = true, features = ['autodiff'] }",
        "[dev-dependencies]\nburn = { workspace = true, features = ['optim'] }",
        "[dependencies]\nburn-optim = '0'",
        "[dependencies]\nt2v-train = '0'",
    ] {
        assert_broken(gradients, "t2v-pipeline", lines);
        assert_broken(gradients, "t2v-examples", lines);
    }
    let autodiff = "[dependencies]\nburn = { workspace = true, features = ['autodiff', 'optim'] }";
    assert_kept(gradients, "t2v-train", autodiff);
}

#[test]
fn choices_of_a_backend_are_seen() {
    for lines in [
        "[features]\ncuda = ['burn/cuda']",
        "[features]\nfast = ['burn/wgpu']",
        "[features]\nfast = ['burn?/wgpu']",
        "[features]\nwgpu = []",
        "[features]\ndefault = ['t2v-pipeline/cuda']",
        "[dependencies]\nburn = { workspace = true, features = ['flex'] }",
        "[dependencies]\nb = { package = 'burn', version = '0', features = ['ndarray'] }",
        "[target.'cfg(unix)'.dependencies]\nburn = { version = '0', features = ['cuda'] }",
        "[dependencies]\nburn-wgpu = '0'",
        "[dev-dependencies]\nburn = { workspace = true, features = ['cuda'] }",
        "[dependencies]\nt2v-pipeline = { path = 'x', features = ['vulkan'] }",
    ] {
        for name in ["t2v-vae", "t2v-kernels", "t2v-examples"] {
            assert_broken(choices_of_a_backend, name, lines);
        }
        assert_kept(choices_of_a_backend, FACADE, lines);
    }
    let forwarded = "[features]\ncuda = ['t2v-pipeline/cuda']";
    assert_kept(choices_of_a_backend, "t2v-benches", forwarded);
    assert_broken(choices_of_a_backend, "t2v-vae", forwarded);
    assert_broken(
        choices_of_a_backend,
        "t2v-benches",
        "[features]\ncuda = ['t2v-pipeline/cuda', 'burn/fusion']",
    );
    let in_tests = "[dev-dependencies]\nburn = { workspace = true, features = ['flex'] }";
    assert_kept(choices_of_a_backend, "t2v-vae", in_tests);
    assert_broken(choices_of_a_backend, "t2v-benches", in_tests);
    assert_kept(
        choices_of_a_backend,
        "t2v-kernels",
        "[features]\ncpu-operators = ['burn/flex']",
    );
    assert_broken(
        choices_of_a_backend,
        "t2v-vae",
        "[features]\ncpu-operators = ['burn/flex']",
    );
}

#[test]
fn unsafe_code_is_seen() {
    for lines in [
        "",
        "[lints.rust]\nunsafe_code = 'deny'",
        "[lints.clippy]\ntodo = 'warn'",
    ] {
        assert_broken(unsafe_code, "t2v-vae", lines);
        assert_kept(unsafe_code, "t2v-kernels", lines);
    }
    assert_kept(unsafe_code, "t2v-vae", "[lints]\nworkspace = true");
    assert_kept(unsafe_code, "t2v-vae", "[lints.rust]\nunsafe_code = 'forbid'");
}
