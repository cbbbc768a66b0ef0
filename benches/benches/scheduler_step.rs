//! One step of each scheduler on the latents of a 512x512 clip.
//!
//! Run with
//!
//! ```text
//! cargo bench -p t2v-benches --bench scheduler_step
//! ```

#![allow(clippy::expect_used, missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use t2v_pipeline::{Device, SchedulerKind};
use t2v_schedulers::{NoiseSource, TorchGenerator, from_config};

fn scheduler_step(c: &mut Criterion) {
    let device = Device::flex();
    let mut noise = TorchGenerator::new(0);
    let sample = noise.normal([16, 4, 1, 64, 64], &device);
    let output = noise.normal([16, 4, 1, 64, 64], &device);
    for kind in SchedulerKind::ALL {
        let config = serde_json::json!({});
        c.bench_function(&kind.to_string(), |b| {
            b.iter(|| {
                let mut scheduler = from_config(*kind, &config).expect("defaults are valid");
                scheduler.set_timesteps(20).expect("20 steps are valid");
                let mut x = sample.clone();
                for _ in 0..scheduler.timesteps().len() {
                    let _ = scheduler.scale_model_input(x.clone(), &mut noise);
                    let step = scheduler.step(output.clone(), x, &mut noise).expect("a step succeeds");
                    x = step.prev_sample;
                }
                x.into_data()
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = scheduler_step
}
criterion_main!(benches);
