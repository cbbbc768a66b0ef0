//! The embedded model, from a prompt to frames.
//!
//! Run with
//!
//! ```text
//! cargo bench -p t2v-benches --bench generate
//! T2V_DEVICE=wgpu cargo bench -p t2v-benches --features wgpu --bench generate
//! ```

#![allow(clippy::expect_used, missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use t2v_pipeline::{DeviceName, Pipeline, TextToVideoRequest};

fn generate(c: &mut Criterion) {
    let name = std::env::var("T2V_DEVICE").unwrap_or_else(|_| "flex".into());
    let device = name
        .parse::<DeviceName>()
        .and_then(DeviceName::device)
        .expect("a device of this build");
    let pipeline = Pipeline::embedded(&device).expect("the embedded checkpoint loads");
    let request = TextToVideoRequest::new("a red ball bouncing in a blue sky")
        .with_num_inference_steps(4)
        .with_seed(0);
    c.bench_function(&format!("tiny-world, 4 steps, {name}"), |b| {
        b.iter(|| pipeline.generate(&request).expect("the request is valid"));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = generate
}
criterion_main!(benches);
