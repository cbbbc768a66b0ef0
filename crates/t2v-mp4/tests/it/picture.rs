//! What is seen: the decoded pictures are the ones that went in.

use t2v_mp4::VideoSpec;

use crate::clip::{decode, encode, flat, psnr, smooth};

/// The worst frame's PSNR in dB.
fn worst_psnr(spec: &VideoSpec, count: u32) -> f64 {
    let movie = encode(spec, count, smooth);
    let pictures = decode(&movie);
    assert_eq!(pictures.len(), count as usize);
    let worst = pictures.iter().zip(0..).map(|(picture, time)| {
        assert_eq!(picture.size, (spec.width as usize, spec.height as usize));
        psnr(&picture.to_rgb(), &smooth(spec, time))
    });
    worst.fold(f64::INFINITY, f64::min)
}

#[test]
fn smooth_clips_are_faithful_at_every_size() {
    // The smallest one, whole macroblocks, cropped ones, upright, and a wide one.
    for (width, height) in [(16, 16), (64, 64), (66, 34), (50, 98), (320, 18)] {
        let worst = worst_psnr(&VideoSpec::new(width, height, 24), 12);
        assert!(worst > 40.0, "{width}x{height}: {worst} dB");
    }
}

#[test]
fn the_largest_sizes_work() {
    for (width, height) in [(3840, 2160), (2160, 3840)] {
        let spec = VideoSpec::new(width, height, 60).with_quality(100);
        let movie = encode(&spec, 2, |spec, time| flat(spec, [200, 90, time as u8]));
        let pictures = decode(&movie);
        assert_eq!(pictures.len(), 2);
        assert_eq!(pictures[1].size, (width as usize, height as usize));
    }
}

#[test]
fn quality_stays_constant_over_a_long_clip() {
    let worst = worst_psnr(&VideoSpec::new(128, 96, 24), 120);
    assert!(worst > 40.0, "{worst} dB");
}

#[test]
fn a_higher_quality_is_closer_and_larger() {
    let at = |quality| {
        let spec = VideoSpec::new(128, 96, 24).with_quality(quality);
        (worst_psnr(&spec, 10), encode(&spec, 10, smooth).bytes.len())
    };
    let results = [0, 30, 60, 90, 100].map(at);
    assert!(results.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1), "{results:?}");
}

#[test]
fn colours_come_back_within_two_steps() {
    let spec = VideoSpec::new(32, 32, 24);
    let colours = [
        [0, 0, 0],
        [255, 255, 255],
        [255, 0, 0],
        [0, 255, 0],
        [0, 0, 255],
        [128; 3],
    ];
    for colour in colours {
        let movie = encode(&spec, 2, |spec, _| flat(spec, colour));
        for picture in decode(&movie) {
            for (actual, expected) in picture.to_rgb().into_iter().zip(flat(&spec, colour)) {
                assert!(actual.abs_diff(expected) <= 2, "{actual} for {colour:?}");
            }
        }
    }
}
