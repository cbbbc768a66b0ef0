//! Numbers equal, bit for bit, to those of torch's CPU generator; `scripts/make_fixtures.py` made them.

use crate::common::{Fixture, values};
use burn::tensor::Device;
use t2v_schedulers::{NoiseSource, TorchGenerator};

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn consecutive_calls_equal_torch() {
    let fixture = Fixture::open("generator");
    let calls: Vec<usize> = serde_json::from_value(fixture.json("calls")).unwrap();
    for seed in fixture.json("bit_sums").as_object().unwrap().keys() {
        let mut generator = TorchGenerator::new(seed.parse().unwrap());
        let found: Vec<f32> = calls.iter().flat_map(|&count| generator.randn(count)).collect();
        assert_eq!(bits(&found), bits(&fixture.f32s(seed)), "seed {seed}");
    }
}

#[test]
fn long_draws_equal_torch() {
    let sums = Fixture::open("generator").json("bit_sums");
    for (seed, sum) in sums.as_object().unwrap() {
        let values = TorchGenerator::new(seed.parse().unwrap()).randn(1_000_003);
        let found: u64 = values.iter().map(|value| u64::from(value.to_bits())).sum();
        assert_eq!(Some(found), sum.as_u64(), "seed {seed}");
    }
}

#[test]
fn a_tensor_is_filled_in_row_major_order() {
    let noise = TorchGenerator::new(3).normal([2, 4, 3, 5, 2], &Device::flex());
    assert_eq!(bits(&values(&noise)), bits(&Fixture::open("generator").f32s("shaped")));
}
