//! The devices that this build reaches.

use serde_json::json;
use t2v_benches::Error;
use t2v_pipeline::{Dtype, found_devices};

pub(crate) fn run() -> Result<(), Error> {
    for device in found_devices() {
        let dtypes: Vec<String> = device.dtypes.iter().map(Dtype::to_string).collect();
        let line = json!({
            "device": device.name.to_string(),
            "adapter": device.adapter,
            "memory": device.memory,
            "is_software": device.is_software,
            "dtypes": dtypes,
            "auto": device.auto.to_string(),
        });
        println!("{line}");
    }
    Ok(())
}
