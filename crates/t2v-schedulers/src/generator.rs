//! Random numbers equal, bit for bit, to those of torch's CPU generator.
//!
//! [`TorchGenerator::new`] is `torch.Generator().manual_seed(seed)` and [`TorchGenerator::randn`] is `torch.randn` of a
//! contiguous `float32` tensor, so that one seed gives the same noise here, on every backend and platform, as it gives in
//! diffusers on a CPU. The engine is the Mersenne Twister MT19937 (Matsumoto and Nishimura, 1998), the transform is that
//! of Box and Muller (1958). The sources followed are torch's `ATen/core/DistributionsHelper.h` and
//! `ATen/native/cpu/DistributionTemplates.h`.

mod box_muller;
mod mersenne_twister;

use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::NoiseSource;
use box_muller::box_muller_16;
use mersenne_twister::MersenneTwister;

/// Number of values that torch transforms at a time, and the least count that takes that way.
const GROUP: usize = 16;

/// Reproduces torch's CPU generator.
///
/// From 16 values on, torch draws one 24-bit uniform a value and transforms groups of 16; below 16 it draws pairs in
/// double precision and keeps the second of a pair for the next call. So the numbers depend on how a sequence is cut
/// into calls, here as there.
#[derive(Clone, Debug)]
pub struct TorchGenerator {
    engine: MersenneTwister,
    kept: Option<f64>,
}

impl TorchGenerator {
    /// A generator in the state that `manual_seed(seed)` gives. Torch, too, uses only the low 32 bits of the seed.
    pub fn new(seed: u64) -> Self {
        Self {
            engine: MersenneTwister::new(seed as u32),
            kept: None,
        }
    }

    /// The next `n` standard normal values, as `torch.randn(n, dtype=torch.float32)` draws them.
    pub fn randn(&mut self, n: usize) -> Vec<f32> {
        if n < GROUP {
            return (0..n).map(|_| self.normal_f64() as f32).collect();
        }
        let mut values: Vec<f32> = (0..n).map(|_| self.uniform_f32()).collect();
        let (groups, rest) = values.as_chunks_mut::<GROUP>();
        groups.iter_mut().for_each(box_muller_16);
        if !rest.is_empty() {
            let mut last = std::array::from_fn(|_| self.uniform_f32());
            box_muller_16(&mut last);
            values[n - GROUP..].copy_from_slice(&last);
        }
        values
    }

    /// The numbers below `n` in random order, as `torch.randperm(n)` draws it.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut numbers: Vec<usize> = (0..n).collect();
        for i in 0..n.saturating_sub(1) {
            let other = i + self.engine.next_u32() as usize % (n - i);
            numbers.swap(i, other);
        }
        numbers
    }

    /// A value of `[0, 1)` with 24 random bits.
    fn uniform_f32(&mut self) -> f32 {
        const SCALE: f32 = 1.0 / (1u32 << 24) as f32;
        (self.engine.next_u32() & 0x00ff_ffff) as f32 * SCALE
    }

    /// A value of `[0, 1)` with 53 random bits.
    fn uniform_f64(&mut self) -> f64 {
        const SCALE: f64 = 1.0 / (1u64 << 53) as f64;
        let high = u64::from(self.engine.next_u32());
        let low = u64::from(self.engine.next_u32());
        (((high << 32) | low) & ((1 << 53) - 1)) as f64 * SCALE
    }

    fn normal_f64(&mut self) -> f64 {
        if let Some(value) = self.kept.take() {
            return value;
        }
        let angle = 2.0 * std::f64::consts::PI * self.uniform_f64();
        let radius = (-2.0 * (-self.uniform_f64()).ln_1p()).sqrt();
        self.kept = Some(radius * angle.sin());
        radius * angle.cos()
    }
}

impl NoiseSource for TorchGenerator {
    fn normal(&mut self, shape: [usize; 5], device: &Device) -> Tensor<5> {
        let values = self.randn(shape.iter().product());
        Tensor::from_data(TensorData::new(values, shape), (device, DType::F32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_low_32_bits_of_the_seed_count() {
        let seed = 0x1_0000_002a;
        assert_eq!(TorchGenerator::new(seed).randn(40), TorchGenerator::new(42).randn(40));
        assert_ne!(TorchGenerator::new(43).randn(40), TorchGenerator::new(42).randn(40));
    }

    /// Expected: `torch.randn(20, generator=g); torch.randperm(9, generator=g)` of torch 2.13.0.
    #[test]
    fn permutations_are_those_of_torch() {
        let mut generator = TorchGenerator::new(42);
        generator.randn(20);
        assert_eq!(generator.permutation(9), [2, 1, 8, 3, 5, 7, 4, 0, 6]);
        assert_eq!(generator.permutation(1), [0]);
        assert!(generator.permutation(0).is_empty());
        assert_eq!(generator.permutation(4), [3, 0, 1, 2]);
    }

    #[test]
    fn a_pair_is_shared_by_two_short_calls() {
        let whole = TorchGenerator::new(7).randn(6);
        let mut parts = TorchGenerator::new(7);
        let mut joined = parts.randn(3);
        assert_eq!(parts.randn(0), Vec::<f32>::new());
        joined.extend(parts.randn(3));
        assert_eq!(whole, joined);
    }

    #[test]
    fn the_values_are_standard_normal() {
        let values = TorchGenerator::new(0).randn(100_000);
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / 1e5;
        let variance = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.01, "{mean} {variance}");
    }
}
