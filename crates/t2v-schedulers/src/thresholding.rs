//! Bounds on the estimate of the clean sample: clipping, and dynamic thresholding as in Imagen (Saharia et al.,
//! <https://arxiv.org/abs/2205.11487>, section 2.3).

use burn::tensor::{DType, Tensor};

use crate::SchedulerError;
use crate::config::ConfigReader;

/// The options `thresholding`, `dynamic_thresholding_ratio` and `sample_max_value`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DynamicThreshold {
    ratio: f32,
    max: f32,
}

impl DynamicThreshold {
    /// Reads the options; `None` if thresholding is off.
    pub(crate) fn read(reader: &ConfigReader) -> Result<Option<Self>, SchedulerError> {
        let on = reader.flag("thresholding", false)?;
        let ratio = reader.number("dynamic_thresholding_ratio", 0.995)?;
        let max = reader.number("sample_max_value", 1.0)?;
        if on && !(0.0..=1.0).contains(&ratio) {
            let reason = format!("is {ratio}, expected a quantile from 0 to 1");
            return Err(reader.unsupported("dynamic_thresholding_ratio", reason));
        }
        Ok(on.then_some(Self {
            ratio: ratio as f32,
            max: max as f32,
        }))
    }

    /// Clips each sample of the batch to a quantile of its absolute values, at least 1 and at most `sample_max_value`
    /// (which wins where it is below 1), and divides by that.
    pub(crate) fn apply(&self, sample: Tensor<5>) -> Tensor<5> {
        let (dtype, dims) = (sample.dtype(), sample.dims());
        let sample = sample.cast(DType::F32);
        let flat: Tensor<2> = sample.clone().abs().reshape([dims[0], dims[1..].iter().product()]);
        let bound = quantile(flat, self.ratio).clamp_min(1.0).clamp_max(self.max);
        let bound = bound.reshape([dims[0], 1, 1, 1, 1]).expand(dims);
        let clipped = sample.max_pair(bound.clone().neg()).min_pair(bound.clone());
        (clipped / bound).cast(dtype)
    }
}

/// The options `thresholding` and `clip_sample`, of which the former wins, with theirs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    threshold: Option<DynamicThreshold>,
    clip: Option<f32>,
}

impl Bounds {
    /// Reads the options.
    pub(crate) fn read(reader: &ConfigReader, clip_default: bool) -> Result<Self, SchedulerError> {
        Ok(Self {
            threshold: DynamicThreshold::read(reader)?,
            ..Self::read_clip(reader, clip_default)?
        })
    }

    /// Reads `clip_sample` and `clip_sample_range` only.
    pub(crate) fn read_clip(reader: &ConfigReader, clip_default: bool) -> Result<Self, SchedulerError> {
        Ok(Self {
            threshold: None,
            clip: read_clip(reader, clip_default)?,
        })
    }

    /// The estimate of the clean sample within the bounds.
    pub(crate) fn apply(&self, original: Tensor<5>) -> Tensor<5> {
        match (self.threshold, self.clip) {
            (Some(threshold), _) => threshold.apply(original),
            (None, Some(range)) => original.clamp(-range, range),
            (None, None) => original,
        }
    }
}

/// The options `clip_sample` and `clip_sample_range`: the greatest absolute value, if there is one.
pub(crate) fn read_clip(reader: &ConfigReader, default: bool) -> Result<Option<f32>, SchedulerError> {
    let range = reader.number("clip_sample_range", 1.0)?;
    let clips = reader.flag("clip_sample", default)?;
    if clips && range < 0.0 {
        return Err(reader.unsupported("clip_sample_range", format!("is {range}, expected at least 0")));
    }
    Ok(clips.then_some(range as f32))
}

/// A quantile of each row, `[rows, columns]` to `[rows, 1]`, by linear interpolation between the two nearest values.
fn quantile(values: Tensor<2>, ratio: f32) -> Tensor<2> {
    let last = values.dims()[1] - 1;
    let rank = ratio * last as f32;
    let low = (rank as usize).min(last);
    let weight = rank - low as f32;
    let sorted = values.sort(1);
    let below = sorted.clone().narrow(1, low, 1);
    let above = sorted.narrow(1, (low + 1).min(last), 1);
    let step = above.clone() - below.clone();
    // From the nearer end, as torch's `lerp` computes.
    if weight < 0.5 {
        below + step * weight
    } else {
        above - step * (1.0 - weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData, Tolerance};
    use serde_json::json;

    fn threshold(config: serde_json::Value, values: [f32; 8]) -> Vec<f32> {
        let reader = ConfigReader::new(crate::SchedulerKind::Ddim, &config).unwrap();
        let threshold = DynamicThreshold::read(&reader).unwrap().unwrap();
        let sample = Tensor::from_data(TensorData::new(values.to_vec(), [2, 1, 1, 2, 2]), &Device::flex());
        threshold.apply(sample).into_data().try_into_vec().unwrap()
    }

    #[test]
    fn the_quantile_is_taken_a_sample() {
        let config = json!({"thresholding": true, "dynamic_thresholding_ratio": 0.5, "sample_max_value": 2.5});
        let values = threshold(config, [-4.0, 1.0, 2.0, 3.0, 0.1, -0.2, 0.3, 8.0]);
        let expected = [-1.0, 0.4, 0.8, 1.0, 0.1, -0.2, 0.3, 1.0];
        let [values, expected] = [values, expected.to_vec()].map(|v| TensorData::new(v, [8]));
        values.assert_approx_eq(&expected, Tolerance::<f32>::rel_abs(1e-6, 1e-6));
    }

    #[test]
    fn a_maximum_below_one_wins() {
        let config = json!({"thresholding": true, "sample_max_value": 0.5});
        let values = threshold(config, [0.25, 0.5, 1.0, -1.0, 0.0, 0.1, 0.2, -0.3]);
        assert_eq!(&values[..4], [0.5, 1.0, 1.0, -1.0]);
    }
}
