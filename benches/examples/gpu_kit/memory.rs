//! What of its memory a device has given away.

use burn::tensor::Device;
use serde_json::{Value, json};

/// Bytes of tensors that are alive (`in_use`), and of all that the device's pools hold (`reserved`), which they keep for the
/// next tensors: after a stage about the most that it needed. Null where the device doesn't tell.
pub(crate) fn usage(device: &Device) -> Value {
    match device.memory_pool_usage() {
        Some(usage) => json!({ "in_use": usage.bytes_in_use, "reserved": usage.bytes_reserved }),
        None => json!({ "in_use": null, "reserved": null }),
    }
}
