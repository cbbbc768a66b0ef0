//! One step of each scheduler on the latents of a clip of 16 frames at 512x512.
//!
//! A step's time is the mean over runs of 20 steps, as a multistep solver's first ones have less to add up; scaling the
//! model's input is a part of it. Model outputs and fresh noise are made beforehand. Latents are in f32 whatever the networks
//! compute in, so `T2V_DTYPE` changes nothing; the device has finished a step before the next begins, as in a pipeline.
//!
//! Run with
//!
//! ```text
//! cargo bench -p t2v-benches --bench scheduler_step
//! T2V_DEVICE=cuda cargo bench -p t2v-benches --features cuda --bench scheduler_step
//! ```

#![allow(clippy::expect_used, missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use burn::tensor::Tensor;
use criterion::{Criterion, criterion_group, criterion_main};
use t2v_benches::{Target, warm_up};
use t2v_pipeline::{Device, SchedulerKind};
use t2v_schedulers::{NoiseSource, Scheduler, TorchGenerator, for_model};

/// `[batch, channels, frames, height, width]`.
const SHAPE: [usize; 5] = [1, 4, 16, 64, 64];
const STEPS: usize = 20;

/// Hands out the same noise again and again.
struct Prepared(Tensor<5>);

impl NoiseSource for Prepared {
    fn normal(&mut self, _shape: [usize; 5], _device: &Device) -> Tensor<5> {
        self.0.clone()
    }
}

/// The time of a number of steps. A run that ends is followed by another.
fn time_steps(scheduler: &mut dyn Scheduler, count: u64, tensors: &[Tensor<5>; 3]) -> Duration {
    let [start, output, fresh] = tensors;
    let device = start.device();
    let mut noise = Prepared(fresh.clone());
    let (mut time, mut left, mut x) = (Duration::ZERO, 0, start.clone());
    for _ in 0..count {
        if left == 0 {
            scheduler.set_timesteps(STEPS).expect("20 steps are valid");
            left = scheduler.timesteps().len();
            x = start.clone() * scheduler.init_noise_sigma();
        }
        left -= 1;
        device.sync().expect("the device finishes");
        let begin = Instant::now();
        let input = scheduler.scale_model_input(x.clone(), &mut noise);
        let input = input.expect("a step is left");
        let step = scheduler.step(output.clone(), x, &mut noise).expect("a step succeeds");
        device.sync().expect("the device finishes");
        time += begin.elapsed();
        black_box(input);
        x = step.prev_sample;
    }
    time
}

fn scheduler_step(c: &mut Criterion) {
    let target = Target::from_env().expect("T2V_DEVICE and T2V_DTYPE name what this build has");
    let mut generator = TorchGenerator::new(0);
    let tensors = [(); 3].map(|()| generator.normal(SHAPE, target.device()));
    let mut group = c.benchmark_group("scheduler_step");
    for &kind in SchedulerKind::ALL {
        let mut scheduler = for_model(kind, &serde_json::json!({})).expect("defaults are valid");
        let mut cold = true;
        group.bench_function(target.id(&kind.to_string()), |b| {
            if std::mem::take(&mut cold) {
                // Whole runs, since a multistep solver's first steps are other than those that follow.
                let mut run = || Ok::<Duration, ()>(time_steps(scheduler.as_mut(), STEPS as u64, &tensors));
                warm_up(&mut run).expect("nothing fails");
            }
            b.iter_custom(|count| time_steps(scheduler.as_mut(), count, &tensors));
        });
    }
    group.finish();
}

criterion_group!(benches, scheduler_step);
criterion_main!(benches);
