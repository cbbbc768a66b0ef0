//! Latents before they are decoded, to keep and to decode again.

use std::{collections::HashMap, path::Path};

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::{PipelineError, Report, readback};

const TENSOR: &str = "latents";
const REPORT: &str = "report";

/// The result of denoising: what the autoencoder makes frames from.
#[derive(Debug, Clone, PartialEq)]
pub struct Latents {
    /// `[1, channels, frames, height, width]`, row by row.
    values: Vec<f32>,
    shape: [usize; 5],
    report: Report,
}

impl Latents {
    /// From latents as a clip.
    pub(crate) fn new(clip: Tensor<5>, report: Report) -> Result<Self, PipelineError> {
        Ok(Self {
            shape: clip.dims(),
            values: readback::values(clip)?,
            report,
        })
    }

    /// As a clip.
    pub(crate) fn tensor(&self, device: &Device) -> Tensor<5> {
        Tensor::from_data(TensorData::new(self.values.clone(), self.shape), device)
    }

    /// `[1, channels, frames, height, width]` of the latents.
    #[must_use]
    pub fn shape(&self) -> [usize; 5] {
        self.shape
    }

    /// The values, row by row.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// What they were made with.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Writes them as one safetensors file, complete or not at all: a tensor `latents`, the report in the metadata.
    ///
    /// # Errors
    /// A path that can't be written to.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), PipelineError> {
        let path = path.as_ref();
        let fault = |reason: String| PipelineError::Latents {
            path: path.display().to_string(),
            reason,
        };
        let bytes: Vec<u8> = self.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let view = TensorView::new(Dtype::F32, self.shape.to_vec(), &bytes).map_err(|e| fault(e.to_string()))?;
        let report = serde_json::to_string(&self.report).map_err(|e| fault(e.to_string()))?;
        let metadata = HashMap::from([(REPORT.to_owned(), report)]);
        let file = safetensors::serialize([(TENSOR, view)], Some(metadata)).map_err(|e| fault(e.to_string()))?;
        t2v_mp4::write_file(path, &file).map_err(|e| fault(e.to_string()))
    }

    /// Reads what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// No such file, or one of another kind.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, PipelineError> {
        let path = path.as_ref();
        Self::parse(path).map_err(|reason| PipelineError::Latents {
            path: path.display().to_string(),
            reason,
        })
    }

    fn parse(path: &Path) -> Result<Self, String> {
        let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| e.to_string())?;
        let report = header.metadata().as_ref().and_then(|metadata| metadata.get(REPORT));
        let report = report.ok_or_else(|| format!("its metadata have no `{REPORT}`"))?;
        let report = serde_json::from_str(report).map_err(|e| format!("`{REPORT}` in its metadata: {e}"))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| e.to_string())?;
        let view = file.tensor(TENSOR).map_err(|e| e.to_string())?;
        let shape: [usize; 5] = view.shape().try_into().map_err(|_| {
            let found = view.shape();
            format!("`{TENSOR}` has the shape {found:?}, expected [1, channels, frames, height, width]")
        })?;
        if view.dtype() != Dtype::F32 || shape[0] != 1 || shape.contains(&0) {
            return Err(format!("`{TENSOR}` is no f32 clip but {:?} {shape:?}", view.dtype()));
        }
        let values = view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        Ok(Self {
            values: values.collect(),
            shape,
            report,
        })
    }
}
