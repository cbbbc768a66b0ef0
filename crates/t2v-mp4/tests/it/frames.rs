//! As many frames out as in, whatever they show, and always the same bytes.

use t2v_mp4::VideoSpec;

use crate::boxes::{Bits, Movie};
use crate::clip::{decode, encode, flat, noise, psnr, smooth, write};

/// Scene changes, noise, stills and motion in turn.
fn mixed(spec: &VideoSpec, time: u32) -> Vec<u8> {
    match time / 6 % 5 {
        0 => smooth(spec, time),
        1 => noise(spec, time),
        2 => flat(spec, [(time * 37) as u8, (time * 91) as u8, (time * 13) as u8]),
        3 => noise(spec, 0),
        _ if time.is_multiple_of(2) => flat(spec, [0; 3]),
        _ => flat(spec, [255; 3]),
    }
}

#[test]
fn no_frame_is_lost() {
    for count in [1, 2, 47, 48, 49, 120] {
        for quality in [0, 90, 100] {
            let spec = VideoSpec::new(64, 64, 24).with_quality(quality);
            let movie = encode(&spec, count, mixed);
            assert_eq!(movie.samples.len(), count as usize, "quality {quality}");
            assert_eq!(movie.stts.len(), 1);
            assert_eq!(movie.stts[0].0, u64::from(count));
            assert_eq!(movie.sync[0], 1);
            assert_eq!(decode(&movie).len(), count as usize, "quality {quality}");
        }
    }
}

/// The most extreme values only, so that there is nothing to compress.
fn harsh_noise(spec: &VideoSpec, time: u32) -> Vec<u8> {
    let grey = noise(spec, time);
    grey.iter().map(|&value| if value < 128 { 0 } else { 255 }).collect()
}

#[test]
fn noise_at_the_best_quality_survives() {
    for (width, height) in [(16, 16), (16, 32), (18, 16), (64, 64), (256, 144), (640, 360)] {
        for picture in [noise, harsh_noise] {
            let spec = VideoSpec::new(width, height, 60).with_quality(100);
            let movie = encode(&spec, 9, picture);
            assert_eq!(movie.samples.len(), 9);
            let pictures = decode(&movie);
            assert_eq!(pictures.len(), 9);
            for (decoded, time) in pictures.iter().zip(0..) {
                let luma = luma_psnr(&decoded.planes[0], &picture(&spec, time));
                assert!(luma > 38.0, "{width}x{height}, frame {time}: {luma} dB");
            }
        }
    }
}

#[test]
fn noise_may_come_at_any_time() {
    // At the start, right after a keyframe, in the middle, at the next keyframe, after that.
    for start in [0, 1, 2, 7, 48, 49] {
        let spec = VideoSpec::new(64, 64, 24).with_quality(100);
        let picture = |spec: &VideoSpec, time| match time {
            time if time < start => smooth(spec, time),
            time => harsh_noise(spec, time),
        };
        let movie = encode(&spec, start + 3, picture);
        let pictures = decode(&movie);
        assert_eq!(pictures.len(), start as usize + 3);
        for (decoded, time) in pictures.iter().zip(0..) {
            let luma = luma_psnr(&decoded.planes[0], &picture(&spec, time));
            assert!(luma > 38.0, "{time} of noise from {start}: {luma} dB");
        }
        let ids: Vec<(u64, u32)> = movie.sync.iter().map(|&n| (n, idr_pic_id(&movie, n))).collect();
        let clash = ids
            .windows(2)
            .any(|two| two[0].0 + 1 == two[1].0 && two[0].1 == two[1].1);
        assert!(!clash, "noise from {start}: {ids:?}");
    }
}

/// The number of an IDR picture that its neighbour must not have.
fn idr_pic_id(movie: &Movie, sample: u64) -> u32 {
    let mut bits = Bits::new(&movie.nals(sample as usize - 1)[0][1..]);
    let _first_macroblock = bits.ue();
    let _slice_type = bits.ue();
    let _pps = bits.ue();
    assert_eq!(bits.u(15), 0, "frame_num of an IDR picture");
    bits.ue()
}

/// PSNR of a luma plane, by BT.709's formula from the pixels.
fn luma_psnr(luma: &[u8], rgb: &[u8]) -> f64 {
    let expected: Vec<u8> = rgb
        .chunks(3)
        .map(|p| {
            [0.2126, 0.7152, 0.0722]
                .iter()
                .zip(p)
                .map(|(k, &c)| k * f64::from(c))
                .sum()
        })
        .map(|y: f64| (16.0 + y * 219.0 / 255.0).round() as u8)
        .collect();
    psnr(luma, &expected)
}

#[test]
fn frames_keep_their_order() {
    let spec = VideoSpec::new(32, 32, 8);
    let movie = encode(&spec, 60, |spec, time| flat(spec, [time as u8 * 4; 3]));
    for (time, picture) in decode(&movie).iter().enumerate() {
        let expected = flat(&spec, [time as u8 * 4; 3]);
        assert!(psnr(&picture.to_rgb(), &expected) > 38.0, "frame {time}");
    }
}

#[test]
fn the_same_frames_give_the_same_bytes() {
    let spec = VideoSpec::new(96, 64, 24);
    let first = encode(&spec, 60, mixed);
    let second = encode(&spec, 60, mixed);
    assert!(first.bytes == second.bytes);
}

#[test]
fn writers_do_not_disturb_one_another() {
    let folder = tempfile::tempdir().unwrap();
    let spec = &VideoSpec::new(64, 64, 24);
    let alone = encode(spec, 50, mixed).bytes;
    std::thread::scope(|scope| {
        let tasks: Vec<_> = (0..3)
            .map(|task| {
                let path = folder.path().join(format!("{task}.mp4"));
                scope.spawn(move || write(&path, spec, 50, mixed).bytes)
            })
            .collect();
        for task in tasks {
            assert!(task.join().unwrap() == alone);
        }
    });
}
