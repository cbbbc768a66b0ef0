//! Pictures as CLIP's vision tower takes them (`CLIPImageProcessor` of transformers, by Pillow): resized, cut from the middle,
//! normalised.

use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;
use serde::Deserialize;
use t2v_weights::{Component, WeightsError};

use crate::resize::{Filter, resize_rgb};

const FILE: &str = "preprocessor_config.json";
/// Far above any model's.
const MAX_SIDE: u32 = 4096;

/// A size in pixels, in any of the ways in which configurations have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Size {
    /// Of the shorter side, where a picture is resized; of both, where it is cut.
    Side(u32),
    Shortest {
        shortest_edge: u32,
    },
    Sides {
        height: u32,
        width: u32,
    },
}

impl Size {
    /// Width and height of a picture that is made as large.
    fn resized(self, width: u32, height: u32) -> [u32; 2] {
        let shortest = match self {
            Self::Sides { height, width } => return [width, height],
            Self::Side(side) | Self::Shortest { shortest_edge: side } => side,
        };
        let longest = u64::from(shortest) * u64::from(width.max(height)) / u64::from(width.min(height).max(1));
        let longest = u32::try_from(longest).unwrap_or(u32::MAX);
        if width <= height {
            [shortest, longest]
        } else {
            [longest, shortest]
        }
    }

    fn sides(self) -> [u32; 2] {
        match self {
            Self::Side(side) | Self::Shortest { shortest_edge: side } => [side, side],
            Self::Sides { height, width } => [width, height],
        }
    }
}

/// `preprocessor_config.json`, with the defaults of `CLIPImageProcessor`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub(super) struct ClipPictures {
    do_resize: bool,
    size: Size,
    resample: u8,
    do_center_crop: bool,
    crop_size: Size,
    do_rescale: bool,
    rescale_factor: f64,
    do_normalize: bool,
    image_mean: [f32; 3],
    image_std: [f32; 3],
}

impl Default for ClipPictures {
    fn default() -> Self {
        Self {
            do_resize: true,
            size: Size::Shortest { shortest_edge: 224 },
            resample: 3,
            do_center_crop: true,
            crop_size: Size::Side(224),
            do_rescale: true,
            rescale_factor: 1.0 / 255.0,
            do_normalize: true,
            image_mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
            image_std: [0.268_629_54, 0.261_302_6, 0.275_777_1],
        }
    }
}

impl ClipPictures {
    /// Reads the configuration of a model folder's `image_processor`, for an encoder of square pictures with sides of `side`.
    ///
    /// # Errors
    /// It is missing or damaged, or makes pictures of another size.
    pub(super) fn from_component(component: &Component, side: usize) -> Result<Self, WeightsError> {
        let fault = |reason: String| WeightsError::Config {
            file: component.display(FILE),
            reason,
        };
        let config = serde_json::Value::Object(component.json(FILE)?);
        let config: Self = serde_json::from_value(config).map_err(|error| fault(error.to_string()))?;
        config.check(side).map_err(fault)?;
        Ok(config)
    }

    fn check(&self, side: usize) -> Result<(), String> {
        let result = match (self.do_center_crop, self.size) {
            (true, _) => self.crop_size.sides(),
            (false, Size::Sides { height, width }) if self.do_resize => [width, height],
            (false, _) => return Err("`do_center_crop` is false; pictures of other shapes are not supported".into()),
        };
        if result.map(|pixels| pixels as usize) != [side; 2] {
            let [width, height] = result;
            return Err(format!(
                "`crop_size` makes pictures of {width}x{height}, the image encoder takes {side}x{side}"
            ));
        }
        if self.size.sides().iter().any(|side| !(1..=MAX_SIDE).contains(side)) {
            return Err(format!("`size` must be sides of 1 to {MAX_SIDE}"));
        }
        if self.filter().is_none() {
            return Err(format!(
                "`resample` is {}; supported are 1 (Lanczos) and 3 (bicubic)",
                self.resample
            ));
        }
        match self.image_std.iter().all(|std| *std > 0.0) {
            true => Ok(()),
            false => Err("`image_std` must be above 0".into()),
        }
    }

    fn filter(&self) -> Option<Filter> {
        match self.resample {
            1 => Some(Filter::Lanczos),
            3 => Some(Filter::Bicubic),
            _ => None,
        }
    }

    /// # Shapes
    /// - output: `[1, 3, height, width]`
    pub(super) fn prepare(&self, picture: &RgbImage, device: &Device) -> Tensor<4> {
        let resized;
        let picture = match self.filter() {
            Some(filter) if self.do_resize => {
                let [width, height] = self.size.resized(picture.width(), picture.height());
                resized = resize_rgb(picture, width, height, filter);
                &resized
            }
            _ => picture,
        };
        let [width, height] = match self.do_center_crop {
            true => self.crop_size.sides(),
            false => [picture.width(), picture.height()],
        };
        let values = self.values(picture, width, height);
        let values = TensorData::new(values, [1, height as usize, width as usize, 3]);
        Tensor::<4>::from_data(values, device).permute([0, 3, 1, 2])
    }

    /// The middle of a picture, row by row; black where it is too small.
    fn values(&self, picture: &RgbImage, width: u32, height: u32) -> Vec<f32> {
        let offset = |from: u32, to: u32| (i64::from(from) - i64::from(to)).div_euclid(2);
        let [left, top] = [offset(picture.width(), width), offset(picture.height(), height)];
        let mut values = Vec::with_capacity(width as usize * height as usize * 3);
        for y in 0..i64::from(height) {
            for x in 0..i64::from(width) {
                let place = u32::try_from(x + left).ok().zip(u32::try_from(y + top).ok());
                let pixel = place.and_then(|(x, y)| picture.get_pixel_checked(x, y));
                let channels = pixel.map_or([0; 3], |pixel| pixel.0);
                values.extend((0..3).map(|i| self.value(channels[i], i)));
            }
        }
        values
    }

    fn value(&self, byte: u8, channel: usize) -> f32 {
        let mut value = f32::from(byte);
        if self.do_rescale {
            value = (f64::from(byte) * self.rescale_factor) as f32;
        }
        if self.do_normalize {
            value = (value - self.image_mean[channel]) / self.image_std[channel];
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use t2v_test_support::Fixture;

    use super::*;

    /// `scripts/make_t2v_pipeline_wan_pictures_fixtures.py`.
    #[test]
    fn equals_transformers() {
        let path = format!(
            "{}/tests/fixtures/clip_pictures.safetensors",
            env!("CARGO_MANIFEST_DIR")
        );
        let fixture = Fixture::open(&path);
        let configs: Vec<Value> = fixture.metadata("configs");
        assert!(configs.len() >= 6);
        for (i, config) in configs.into_iter().enumerate() {
            let config: ClipPictures = serde_json::from_value(config).unwrap();
            let (shape, values) = fixture.values(&format!("input.{i}"));
            let bytes: Vec<u8> = values.iter().map(|value| *value as u8).collect();
            let picture = RgbImage::from_raw(shape[1] as u32, shape[0] as u32, bytes).unwrap();
            let device = Device::flex();
            fixture.assert_close(&format!("output.{i}"), config.prepare(&picture, &device));
        }
    }

    #[test]
    fn what_does_not_fit_the_encoder_is_named() {
        let config = |config: Value| serde_json::from_value::<ClipPictures>(config).unwrap().check(32);
        let fitting = json!({"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}});
        assert_eq!(config(fitting), Ok(()));
        for (wrong, part) in [
            (json!({}), "224x224"),
            (json!({"crop_size": 32, "size": 0}), "`size`"),
            (json!({"crop_size": 32, "resample": 2}), "`resample`"),
            (json!({"crop_size": 32, "do_center_crop": false}), "`do_center_crop`"),
            (json!({"crop_size": 32, "image_std": [1, 0, 1]}), "`image_std`"),
        ] {
            let message = config(wrong).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }
}
