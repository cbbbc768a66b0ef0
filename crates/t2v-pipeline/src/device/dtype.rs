//! The floating-point type that networks compute in.

use std::{fmt, str::FromStr};

use burn::tensor::{DType, Device};
use t2v_kernels::is_cpu;

use crate::PipelineError;

/// The floating-point type that networks compute in. Latents and schedulers stay in single precision whatever it is, and so
/// do the statistics of normalisations.
///
/// Half precision takes half the memory, and a fraction of the time on GPUs with matrix units. Frames differ from those of
/// single precision as they do in diffusers with `torch_dtype`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Dtype {
    /// Half precision where the device has matrix units for it (`f16`, or else `bf16`); otherwise single precision.
    Auto,
    /// Single precision. GPUs with matrix units may round what they multiply to fewer digits (TF32).
    #[default]
    F32,
    /// Half precision with 11 significant bits and values up to 65504.
    F16,
    /// Half precision with 8 significant bits and the range of single precision.
    Bf16,
}

impl Dtype {
    /// Every type.
    pub const ALL: [Self; 4] = [Self::Auto, Self::F32, Self::F16, Self::Bf16];

    /// Burn's type on a device.
    ///
    /// # Errors
    /// A type that the device can't compute in.
    pub fn on(self, device: &Device) -> Result<DType, PipelineError> {
        let wanted = match self {
            Self::Auto => {
                let is_fast = |half: &DType| device.supports_dtype(*half) && has_matrix_units(device, *half);
                return Ok([DType::F16, DType::BF16]
                    .into_iter()
                    .find(is_fast)
                    .unwrap_or(DType::F32));
            }
            Self::F32 => return Ok(DType::F32),
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
        };
        if is_cpu(device) {
            return Err(PipelineError::Device(format!(
                "the CPU computes in f32 (weights that are stored in half precision stay so in memory), not in {self}; use \
                 f32 or auto"
            )));
        }
        match device.supports_dtype(wanted) {
            true => Ok(wanted),
            false => {
                let known = Self::supported(device).map(|dtype| dtype.to_string());
                let known = known.collect::<Vec<_>>().join(", ");
                Err(PipelineError::Device(format!(
                    "the device can't compute in {self}; it can in {known}"
                )))
            }
        }
    }

    /// What [`Auto`](Self::Auto) is on a device; another type is what it is.
    ///
    /// # Errors
    /// As for [`on`](Self::on).
    pub fn resolved(self, device: &Device) -> Result<Self, PipelineError> {
        Ok(match self.on(device)? {
            DType::F16 => Self::F16,
            DType::BF16 => Self::Bf16,
            _ => Self::F32,
        })
    }

    /// The types that a device computes in.
    pub(super) fn supported(device: &Device) -> impl Iterator<Item = Self> {
        let halves = [(Self::F16, DType::F16), (Self::Bf16, DType::BF16)].into_iter();
        let halves = halves.filter(|(_, half)| !is_cpu(device) && device.supports_dtype(*half));
        std::iter::once(Self::F32).chain(halves.map(|(dtype, _)| dtype))
    }
}

fn has_matrix_units(device: &Device, dtype: DType) -> bool {
    #[cfg(feature = "gpu")]
    return super::cube::has_matrix_units(device, dtype);
    #[cfg(not(feature = "gpu"))]
    {
        let _ = (device, dtype);
        false
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        })
    }
}

impl FromStr for Dtype {
    type Err = PipelineError;

    fn from_str(name: &str) -> Result<Self, PipelineError> {
        let found = Self::ALL
            .into_iter()
            .find(|dtype| dtype.to_string().eq_ignore_ascii_case(name));
        found.ok_or_else(|| {
            let known = Self::ALL.map(|dtype| dtype.to_string()).join(", ");
            let name = name.escape_debug();
            PipelineError::Device(format!("there is no type `{name}`; known are {known}"))
        })
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for dtype in Dtype::ALL {
            assert_eq!(dtype.to_string().to_uppercase().parse::<Dtype>().unwrap(), dtype);
        }
        let fault = "fp16".parse::<Dtype>().unwrap_err().to_string();
        assert_eq!(fault, "there is no type `fp16`; known are auto, f32, f16, bf16");
    }

    #[test]
    fn the_cpu_computes_in_single_precision() {
        let cpu = Device::flex();
        assert_eq!(Dtype::Auto.on(&cpu).unwrap(), DType::F32);
        assert_eq!(Dtype::F32.on(&cpu).unwrap(), DType::F32);
        for half in [Dtype::F16, Dtype::Bf16] {
            let fault = half.on(&cpu).unwrap_err().to_string();
            assert!(fault.contains(&format!("not in {half}; use f32 or auto")), "{fault}");
        }
    }
}
