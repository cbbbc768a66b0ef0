//! The embedded model, from a prompt to frames.
//!
//! Run with
//!
//! ```text
//! cargo bench -p t2v-benches --bench generate
//! T2V_DEVICE=cuda T2V_DTYPE=f16 cargo bench -p t2v-benches --features cuda --bench generate
//! ```

#![allow(clippy::expect_used, missing_docs)]

use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use t2v_benches::{Target, warm_up};
use t2v_pipeline::{Pipeline, TextToVideoRequest};

fn generate(c: &mut Criterion) {
    let target = Target::from_env().expect("T2V_DEVICE and T2V_DTYPE name what this build has");
    let pipeline = Pipeline::embedded(target.placement()).expect("the embedded checkpoint loads");
    let request = TextToVideoRequest::new("a red ball bouncing in a blue sky")
        .with_num_inference_steps(4)
        .with_seed(0);
    let mut cold = true;
    c.bench_function(&target.id("tiny-world, 4 steps"), |b| {
        if std::mem::take(&mut cold) {
            warm_up(|| {
                let start = Instant::now();
                pipeline.generate(&request).map(|_| start.elapsed())
            })
            .expect("the request is valid");
        }
        // Frames are read back, so the device has finished.
        b.iter(|| pipeline.generate(&request).expect("it was generated before"));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = generate
}
criterion_main!(benches);
