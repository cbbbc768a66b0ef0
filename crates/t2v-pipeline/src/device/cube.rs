//! GPUs, which CubeCL compiles kernels for: finding them, opening them, and where their kernels are kept.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

use burn::{
    backend::DispatchDevice,
    cubecl::{
        self,
        config::{CubeClRuntimeConfig, RuntimeConfig, cache::CacheConfig},
        device::{WgpuBackend, WgpuDevice, WgpuDeviceKind},
    },
    tensor::{DType, Device},
};

use super::Backend;

/// The kinds of adapters that wgpu knows, the better ones first. It counts each by itself.
const ADAPTERS: [WgpuDeviceKind; 5] = [
    WgpuDeviceKind::DiscreteGpu(0),
    WgpuDeviceKind::IntegratedGpu(0),
    WgpuDeviceKind::VirtualGpu(0),
    WgpuDeviceKind::Other(0),
    WgpuDeviceKind::Cpu,
];

/// What a device says of itself.
pub(super) struct Facts {
    pub(super) adapter: String,
    /// Bytes, where the driver tells.
    pub(super) memory: Option<u64>,
    /// Whether the CPU does the work.
    pub(super) is_software: bool,
}

/// The devices of a backend, in the order of their indices. None is opened.
pub(super) fn devices(backend: Backend) -> Vec<cubecl::Device> {
    let like = |device: cubecl::Device| {
        let ids = cubecl::Device::enumerate(device.to_id()).into_iter();
        ids.map(cubecl::Device::from_id).collect::<Vec<_>>()
    };
    let adapters = |api: WgpuBackend| {
        let kinds = ADAPTERS.into_iter();
        let found = kinds.flat_map(|kind| like(cubecl::Device::Wgpu(WgpuDevice::new(kind).on(api))));
        found.collect()
    };
    if !backend.is_compiled_in() {
        return Vec::new();
    }
    keep_kernels();
    match backend {
        Backend::Flex => Vec::new(),
        Backend::Wgpu => adapters(WgpuBackend::Auto),
        Backend::Vulkan => adapters(WgpuBackend::Vulkan),
        Backend::Metal => adapters(WgpuBackend::Metal),
        Backend::Cuda => like(cubecl::Device::Cuda(Default::default())),
    }
}

/// Opens a backend's device.
pub(super) fn open(backend: Backend, index: usize) -> Result<Device, String> {
    let devices = devices(backend);
    let Some(device) = devices.get(index) else {
        return Err(format!("there is no device `{backend}:{index}`"));
    };
    guarded(|| drop(device.client())).map_err(|reason| format!("`{backend}:{index}` cannot be opened: {reason}"))?;
    Ok(Device::new(device.clone()))
}

/// What a device says of itself once it is opened; none if it can't be.
pub(super) fn facts(device: &cubecl::Device) -> Option<Facts> {
    let client = guarded(|| device.client()).ok()?;
    let properties = client.properties();
    Some(Facts {
        adapter: properties.identity.name.clone(),
        memory: properties.memory.max_memory(),
        is_software: matches!(device, cubecl::Device::Wgpu(wgpu) if wgpu.kind == WgpuDeviceKind::Cpu),
    })
}

/// Whether a device has matrix units for a type, which kernels reach.
pub(super) fn has_matrix_units(device: &Device, dtype: DType) -> bool {
    let DispatchDevice::Cube(device) = device.as_dispatch() else {
        return false;
    };
    let client = device.client();
    let features = &client.properties().features.matmul;
    let element = burn::backend::cubecl::dtype_to_storage_type(dtype);
    let takes = |a, b| a == element && b == element;
    features.cmma.iter().any(|unit| takes(unit.a_type, unit.b_type))
        || features.mma.iter().any(|unit| takes(unit.a_type, unit.b_type))
}

/// Drivers and their wrappers panic where something is wrong with an installation.
fn guarded<T>(open: impl FnOnce() -> T) -> Result<T, String> {
    panic::catch_unwind(AssertUnwindSafe(open)).map_err(|payload| crate::error::panic_message(&*payload))
}

/// Keeps compiled kernels, and which were found fastest, in the user's cache folder, so that only the first run of a machine
/// takes the time: CubeCL's own place is the folder of whatever Cargo project the program is started in, and compiled kernels
/// are not kept at all. A `cubecl.toml` that says where, and an application that configures CubeCL before, have their way.
fn keep_kernels() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let mut config = CubeClRuntimeConfig::from_current_dir().override_from_env();
        if matches!(config.environment.path, CacheConfig::Target) {
            config.environment.path = CacheConfig::Global;
        }
        config.compilation.cache = true;
        CubeClRuntimeConfig::try_set(config);
    });
}
