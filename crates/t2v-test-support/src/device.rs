//! The device that golden tests run on, and how near to upstream's values it must come.

use std::{fs::OpenOptions, io::Write};

use burn::tensor::Device;

/// The CPU, or the device that the environment variable `T2V_TEST_DEVICE` names: `wgpu`, `vulkan` or `cuda`, each with this
/// crate's feature of its name.
///
/// # Panics
/// On a name that this build doesn't have.
pub fn device() -> Device {
    match name().as_str() {
        "flex" => Device::flex(),
        #[cfg(feature = "wgpu")]
        "wgpu" => Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
        #[cfg(feature = "vulkan")]
        "vulkan" => Device::vulkan(burn::tensor::DeviceKind::DefaultDevice),
        #[cfg(feature = "cuda")]
        "cuda" => Device::cuda(burn::tensor::DeviceIndex::Default),
        other => panic!("T2V_TEST_DEVICE={other}: this build has none; enable `t2v-test-support/{other}`"),
    }
}

fn name() -> String {
    let name = std::env::var("T2V_TEST_DEVICE").unwrap_or_default();
    if name.is_empty() { "flex".into() } else { name }
}

/// The largest difference that values of a module may have, relative above 1. Where a GPU has matrix units they round what
/// they multiply to 11 significant bits (TF32, f16), also in single precision.
pub fn tolerance() -> f32 {
    match name().as_str() {
        "flex" | "wgpu" => 1e-4,
        _ => 1e-2,
    }
}

/// The largest difference of values, and the largest of those that were expected. With `T2V_TEST_REPORT=FILE` a line of the
/// file has both, the device and `what`, for `scripts/table_of_differences.py`.
///
/// # Panics
/// On another number of values, and on a value that is none.
pub fn difference(what: &str, actual: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(actual.len(), expected.len(), "{what}");
    let largest = |values: &mut dyn Iterator<Item = f32>| {
        values.fold(0.0, |largest: f32, value| {
            assert!(!value.is_nan(), "{what} is not a number");
            largest.max(value.abs())
        })
    };
    let difference = largest(&mut actual.iter().zip(expected).map(|(a, b)| a - b));
    if let Some(path) = std::env::var_os("T2V_TEST_REPORT") {
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        let size = largest(&mut expected.iter().copied());
        // In one write, since tests run side by side.
        let line = format!("{}\t{what}\t{difference:e}\t{size:e}\n", name());
        file.write_all(line.as_bytes()).unwrap();
    }
    difference
}
