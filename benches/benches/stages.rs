//! The networks of tiny-world, the embedded model, and of the folder that `T2V_MODEL` names: text encoder, a guided step of
//! the denoiser, decoding a clip.
//!
//! ```text
//! cargo bench -p t2v-benches --bench stages
//! .venv/bin/python scripts/make_random_modelscope.py /tmp/ms
//! T2V_MODEL=/tmp/ms cargo bench -p t2v-benches --bench stages
//! .venv/bin/python scripts/make_random_wan.py /tmp/wan
//! T2V_MODEL=/tmp/wan cargo bench -p t2v-benches --bench stages
//! T2V_MODEL=/tmp/ms T2V_DEVICE=cuda T2V_DTYPE=f16 cargo bench -p t2v-benches --features cuda --bench stages
//! ```

#![allow(clippy::expect_used, missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use t2v_benches::{Stages, Target, Work, warm_up};

const TINY: [&str; 3] = ["text encoder", "step 16 64 64", "decode 16 64 64"];
/// Sizes that two cores do in half a minute.
const ON_CPUS: [&str; 5] = [
    "text encoder",
    "decode 1 256 256",
    "decode 1 512 512",
    "step 16 128 128",
    "step 16 256 256",
];
/// Those that ModelScope and Zeroscope were trained at.
const ON_GPUS: [&str; 5] = [
    "text encoder",
    "decode 16 256 256",
    "decode 24 320 576",
    "step 16 256 256",
    "step 24 320 576",
];

/// The same of Wan, whose autoencoder has a latent frame for the first frame and for each four more.
const WAN_ON_CPUS: [&str; 3] = ["text encoder", "decode 5 256 256", "step 5 256 256"];
const WAN_ON_GPUS: [&str; 3] = ["text encoder", "decode 17 480 832", "step 17 480 832"];

fn measure(c: &mut Criterion, name: &str, target: &Target, stages: &mut Stages, all: &[&str]) {
    let mut group = c.benchmark_group(name);
    group.sample_size(10);
    for words in all {
        let work: Work = words.parse().expect("it is a stage");
        let mut cold = true;
        group.bench_function(target.id(words), |b| {
            if std::mem::take(&mut cold) {
                warm_up(|| stages.run(work)).expect("the stage runs");
            }
            b.iter_custom(|times| (0..times).map(|_| stages.run(work).expect("the stage runs")).sum());
        });
    }
}

fn stages(c: &mut Criterion) {
    let target = Target::from_env().expect("T2V_DEVICE and T2V_DTYPE name what this build has");
    let mut tiny = Stages::embedded(&target).expect("the embedded checkpoint is whole");
    measure(c, "tiny-world", &target, &mut tiny, &TINY);
    let Some(folder) = std::env::var_os("T2V_MODEL") else {
        eprintln!("tiny-world alone: set T2V_MODEL to a model folder, as one of scripts/make_random_modelscope.py");
        return;
    };
    let mut model = Stages::open(folder, &target).expect("T2V_MODEL is a model folder");
    let all: &[&str] = match (model.is_wan(), target.is_cpu()) {
        (false, true) => &ON_CPUS,
        (false, false) => &ON_GPUS,
        (true, true) => &WAN_ON_CPUS,
        (true, false) => &WAN_ON_GPUS,
    };
    measure(c, "stages", &target, &mut model, all);
}

criterion_group!(benches, stages);
criterion_main!(benches);
