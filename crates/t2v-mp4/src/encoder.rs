//! OpenH264, set up so that every frame comes out, at constant quality and always the same.

use openh264::OpenH264API;
use openh264::encoder::{
    BitRate, Encoder, EncoderConfig, FrameRate as EncoderRate, FrameType, IntraFramePeriod, Profile, QpRange,
    RateControlMode, SpsPpsStrategy, UsageType,
};
use openh264::formats::YUVSlices;

use crate::bitstream::{AccessUnit, ParameterSets};
use crate::error::{Mp4Error, Result};
use crate::spec::VideoSpec;
use crate::yuv::Yuv420;

/// The frame rates that OpenH264 accepts. Rates outside are coded as the nearest one: that
/// changes its choice of the H.264 level, not the timing, which is the container's.
const ENCODER_RATES: (f64, f64) = (1.0, 60.0);
/// The bit rates that OpenH264 accepts, up to level 5.2's highest.
const ENCODER_BIT_RATES: (f64, f64) = (64e3, 240e6);

pub(crate) struct FrameEncoder {
    spec: VideoSpec,
    encoder: Encoder,
    /// Whether `encoder` is the one for large pictures.
    sliced: bool,
    picture: Yuv420,
    unit: AccessUnit,
    parameter_sets: Option<ParameterSets>,
    frame: u32,
    keyframes: u32,
}

impl FrameEncoder {
    pub(crate) fn new(spec: &VideoSpec) -> Result<Self> {
        Ok(Self {
            spec: spec.clone(),
            encoder: start(config(spec), 0)?,
            sliced: false,
            picture: Yuv420::new(spec.width as usize, spec.height as usize),
            unit: AccessUnit::default(),
            parameter_sets: None,
            frame: 0,
            keyframes: 0,
        })
    }

    /// Encodes one frame of RGB8 pixels. Its length must be right.
    pub(crate) fn encode(&mut self, rgb: &[u8]) -> Result<&AccessUnit> {
        let frame = self.frame;
        self.picture.fill_from_rgb(rgb, self.spec.colour.is_full_range());
        match self.encode_picture() {
            Err(Mp4Error::Encoder { .. }) if !self.sliced => self.encode_large_picture()?,
            result => result?,
        }
        self.keep_parameter_sets()
            .map_err(|reason| Mp4Error::Bitstream { frame, reason })?;
        self.frame += 1;
        self.keyframes += u32::from(self.unit.is_sync);
        Ok(&self.unit)
    }

    /// Encodes `picture` into `unit`.
    fn encode_picture(&mut self) -> Result<()> {
        let frame = self.frame;
        let source = YUVSlices::new(self.picture.planes(), self.picture.size(), self.picture.strides());
        let stream = self.encoder.encode(&source).map_err(failed_at(frame))?;
        self.unit.clear();
        for layer in (0..stream.num_layers()).filter_map(|index| stream.layer(index)) {
            for nal in (0..layer.nal_count()).filter_map(|index| layer.nal_unit(index)) {
                let result = self.unit.push(nal);
                result.map_err(|reason| Mp4Error::Bitstream { frame, reason })?;
            }
        }
        let skipped = matches!(stream.frame_type(), FrameType::Skip | FrameType::Invalid);
        if skipped || !self.unit.has_picture() {
            return Err(Mp4Error::FrameDropped { frame });
        }
        Ok(())
    }

    /// Goes on with an encoder for pictures of any complexity, from this picture on.
    ///
    /// OpenH264 reserves no more memory for a picture than its uncompressed size, which noise at
    /// a low quantiser exceeds, and after that failure it is of no more use. With a limit on the
    /// length of slices it reserves four times as much. That is not the way from the start,
    /// since it then prints a warning whatever the limit is.
    fn encode_large_picture(&mut self) -> Result<()> {
        let config = config(&self.spec).max_slice_len(slice_limit(&self.spec));
        self.encoder = start(config, self.frame)?;
        self.sliced = true;
        self.encode_picture()?;
        if self.keyframes == 1 {
            // The new encoder counts keyframes afresh. If the keyframe before was the first,
            // too, the two would have one number (`idr_pic_id`), which those of neighbours
            // must not (ITU-T H.264 7.4.3).
            self.encoder.force_intra_frame();
            self.encode_picture()?;
        }
        Ok(())
    }

    /// The parameter sets of all pictures, known from the first one on.
    pub(crate) fn parameter_sets(&self) -> Option<&ParameterSets> {
        self.parameter_sets.as_ref()
    }

    /// Remembers the first picture's parameter sets. Later ones must be the same, since `avcC`
    /// holds them once for all samples.
    fn keep_parameter_sets(&mut self) -> Result<(), &'static str> {
        let new = self.unit.parameter_sets()?;
        match (&self.parameter_sets, new) {
            (None, None) => Err("the first picture comes without parameter sets"),
            (None, Some(_)) if !self.unit.is_sync => Err("the first picture is no keyframe"),
            (None, Some(new)) => {
                self.parameter_sets = Some(new);
                Ok(())
            }
            (Some(old), Some(new)) if *old != new => Err("the parameter sets changed"),
            _ => Ok(()),
        }
    }
}

fn start(config: EncoderConfig, frame: u32) -> Result<Encoder> {
    Encoder::with_api_config(OpenH264API::from_source(), config).map_err(failed_at(frame))
}

fn failed_at(frame: u32) -> impl FnOnce(openh264::Error) -> Mp4Error {
    move |source| Mp4Error::Encoder {
        frame,
        source: Box::new(source),
    }
}

fn config(spec: &VideoSpec) -> EncoderConfig {
    let quantiser = spec.quantiser();
    let rate = spec.frame_rate.as_f64();
    let rate = rate.clamp(ENCODER_RATES.0, ENCODER_RATES.1);
    EncoderConfig::new()
        .profile(Profile::Baseline)
        .usage_type(UsageType::CameraVideoRealTime)
        // The one mode that has no code to drop frames, and that heeds the range of quantisers:
        // a constant one, but for one or two steps more in the first picture of a new scene.
        .rate_control_mode(RateControlMode::Bufferbased)
        .qp(QpRange::new(quantiser, quantiser))
        .adaptive_quantization(false)
        .bitrate(BitRate::from_bps(expected_bit_rate(spec, rate)))
        .skip_frames(false)
        .max_frame_rate(EncoderRate::from_hz(rate as f32))
        .intra_frame_period(IntraFramePeriod::from_num_frames(spec.keyframe_interval))
        .scene_change_detect(true)
        // Both trade fidelity for speed in talking heads.
        .background_detection(false)
        .long_term_reference(false)
        .sps_pps_strategy(SpsPpsStrategy::ConstantId)
        // More threads give other bytes.
        .num_threads(1)
        .vui(spec.colour.vui())
}

/// The most bytes in a slice: as many as the uncompressed picture has.
fn slice_limit(spec: &VideoSpec) -> u32 {
    const LEAST: u32 = 4096;
    (spec.width * spec.height / 2 * 3).max(LEAST)
}

/// A rough guess, which the encoder needs only to choose the H.264 level: a bit for four pixels
/// at a quantiser of 24, doubling every six steps down.
fn expected_bit_rate(spec: &VideoSpec, rate: f64) -> u32 {
    let pixels = f64::from(spec.width) * f64::from(spec.height) * rate;
    let bits_per_pixel = 0.25 * ((24.0 - f64::from(spec.quantiser())) / 6.0).exp2();
    let (least, most) = ENCODER_BIT_RATES;
    (pixels * bits_per_pixel).clamp(least, most) as u32
}
