//! The stages of a ModelScope checkpoint, of the folder that `T2V_MODEL` names.
//!
//! ```text
//! .venv/bin/python scripts/make_random_modelscope.py /tmp/ms
//! T2V_MODEL=/tmp/ms cargo bench -p t2v-benches --bench stages
//! ```

#![allow(clippy::expect_used, missing_docs)]

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use t2v_benches::Stages;

fn stages(c: &mut Criterion) {
    let Some(folder) = std::env::var_os("T2V_MODEL") else {
        eprintln!("no stages: set T2V_MODEL to a model folder, as one of scripts/make_random_modelscope.py");
        return;
    };
    let mut stages = Stages::open(folder).expect("T2V_MODEL is a model folder");
    let mut group = c.benchmark_group("stages");
    group.sample_size(10);
    for stage in ["text encoder", "decode 256", "decode 512", "step 16 128", "step 16 256"] {
        group.bench_function(stage, |b| {
            b.iter_custom(|times| {
                let seconds = (0..times).map(|_| stages.run(stage).expect("the stage runs"));
                Duration::from_secs_f64(seconds.sum())
            });
        });
    }
}

criterion_group!(benches, stages);
criterion_main!(benches);
