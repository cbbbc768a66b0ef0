//! GIF, WebP and PNG, read back with the decoders of their crates.

use std::fs;
use std::io::Cursor;

use t2v_mp4::{FrameRate, Metadata, Mp4Error, OutputFormat, VideoSpec, Writer};

use crate::clip::{psnr, smooth, to_memory};

const PROMPT: &str = "a ball & <a box>, ボール";

fn spec(rate: FrameRate) -> VideoSpec {
    VideoSpec::new(61, 47, rate).with_metadata(Metadata::new().with_prompt(PROMPT).with_seed(7))
}

#[test]
fn gif_keeps_time_and_colours() {
    let spec = spec(FrameRate::from(24));
    let bytes = to_memory(OutputFormat::Gif, &spec, 24, smooth);
    let comment = format!("{{\"prompt\":\"{PROMPT}\",\"seed\":\"7\"}}");
    assert!(bytes.windows(comment.len()).any(|window| window == comment.as_bytes()));

    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::RGBA);
    let mut decoder = options.read_info(Cursor::new(&bytes)).unwrap();
    assert_eq!((decoder.width(), decoder.height()), (61, 47));
    let mut delays = Vec::new();
    while let Some(frame) = decoder.read_next_frame().unwrap() {
        let rgb: Vec<u8> = frame.buffer.chunks(4).flat_map(|pixel| pixel[..3].to_vec()).collect();
        let quality = psnr(&rgb, &smooth(&spec, delays.len() as u32));
        assert!(quality > 34.0, "{quality} dB");
        delays.push(frame.delay);
    }
    assert_eq!(delays.len(), 24);
    assert_eq!(delays.iter().sum::<u16>(), 100, "24 frames last a second");
    assert!(delays.iter().all(|delay| (4..=5).contains(delay)));
    assert!(matches!(decoder.repeat(), gif::Repeat::Infinite));
}

#[test]
fn webp_is_lossless_and_on_time() {
    let spec = spec(FrameRate::new(24_000, 1001));
    let bytes = to_memory(OutputFormat::WebP, &spec, 24, smooth);
    let mut decoder = image_webp::WebPDecoder::new(Cursor::new(&bytes)).unwrap();
    assert!(decoder.is_animated());
    assert_eq!((decoder.dimensions(), decoder.num_frames()), ((61, 47), 24));
    assert!(matches!(decoder.loop_count(), image_webp::LoopCount::Forever));
    let mut total = 0;
    for time in 0..24 {
        let mut rgb = vec![0; spec.frame_len()];
        total += decoder.read_frame(&mut rgb).unwrap();
        assert!(rgb == smooth(&spec, time), "frame {time}");
    }
    assert_eq!(total, 1001);
    let xmp = String::from_utf8(decoder.xmp_metadata().unwrap().unwrap()).unwrap();
    assert!(xmp.contains("a ball &amp; &lt;a box&gt;, ボール"), "{xmp}");
}

/// What is in a PNG.
struct Png {
    frames: Vec<Vec<u8>>,
    /// Fractions of a second.
    delays: Vec<(u16, u16)>,
    texts: Vec<(String, String)>,
}

fn read_png(bytes: &[u8]) -> Png {
    let mut reader = png::Decoder::new(Cursor::new(bytes)).read_info().unwrap();
    let count = reader.info().animation_control.map_or(1, |control| control.num_frames);
    let (mut frames, mut delays) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut rgb).unwrap();
        frames.push(rgb);
        delays.extend(
            reader
                .info()
                .frame_control
                .map(|control| (control.delay_num, control.delay_den)),
        );
    }
    let texts = reader.info().utf8_text.iter();
    let texts = texts
        .map(|chunk| (chunk.keyword.clone(), chunk.get_text().unwrap()))
        .collect();
    Png { frames, delays, texts }
}

#[test]
fn animated_png_is_lossless_and_exact() {
    for (rate, expected) in [
        (FrameRate::new(24_000, 1001), vec![(1001, 24_000); 4]),
        (
            FrameRate::new(70_001, 1000),
            vec![(14, 1000), (15, 1000), (14, 1000), (14, 1000)],
        ),
    ] {
        let spec = spec(rate);
        let bytes = to_memory(OutputFormat::Apng, &spec, 4, smooth);
        let Png { frames, delays, texts } = read_png(&bytes);
        assert_eq!(frames.len(), 4);
        for (time, frame) in (0..).zip(&frames) {
            assert!(*frame == smooth(&spec, time), "frame {time}");
        }
        assert_eq!(delays, expected);
        assert_eq!(texts[0], ("prompt".to_owned(), PROMPT.to_owned()));
        assert_eq!(texts[1], ("seed".to_owned(), "7".to_owned()));
    }
}

#[test]
fn a_png_sequence_appears_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("frames");
    let spec = spec(FrameRate::from(24));
    let start = || Writer::create_as(OutputFormat::PngSequence, &path, spec.clone());
    let mut dropped = start().unwrap();
    dropped.push(&smooth(&spec, 0)).unwrap();
    drop(dropped);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

    let mut writer = start().unwrap();
    for time in 0..3 {
        writer.push(&smooth(&spec, time)).unwrap();
    }
    assert!(!path.exists());
    writer.finish().unwrap();
    let mut names: Vec<_> = fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    assert_eq!(names.len(), 3);
    for (time, name) in (0..).zip(&names) {
        assert!(name.ends_with(format!("frame_{time:06}.png")));
        let Png { frames, texts, .. } = read_png(&fs::read(name).unwrap());
        assert!(frames[0] == smooth(&spec, time));
        assert_eq!(texts.len(), 2);
    }
    assert!(matches!(start().unwrap_err(), Mp4Error::FolderInUse { .. }));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn files_of_every_format_appear_in_finish() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["clip.mp4", "clip.gif", "clip.webp", "clip.png"] {
        let path = folder.path().join(name);
        let format = OutputFormat::from_path(&path).unwrap();
        let spec = spec(FrameRate::from(8));
        let mut writer = Writer::create_as(format, &path, spec.clone()).unwrap();
        writer.push(&smooth(&spec, 0)).unwrap();
        assert!(!path.exists());
        writer.finish().unwrap();
        assert!(
            fs::read(&path).unwrap() == to_memory(format, &spec, 1, smooth),
            "{name}"
        );
        fs::remove_file(&path).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn rates_that_a_format_cannot_show_are_refused() {
    for (format, rate) in [
        (OutputFormat::Gif, 60),
        (OutputFormat::WebP, 120),
        (OutputFormat::Apng, 120),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let spec = VideoSpec::new(16, 16, rate);
        let error = Writer::create_as(format, folder.path().join("x"), spec).unwrap_err();
        assert!(matches!(error, Mp4Error::FrameRateRange { .. }), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

/// The most colours at once: a soft gradient in all directions, as a sky or skin has.
#[test]
fn gif_palettes_follow_the_picture() {
    let spec = VideoSpec::new(128, 128, 10);
    let gradient =
        |spec: &VideoSpec, _: u32| crate::clip::frame(spec, |x, y| [90.0 + x / 2.0, 150.0 + y / 2.0, 255.0 - x / 3.0]);
    let bytes = to_memory(OutputFormat::Gif, &spec, 1, gradient);
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::RGBA);
    let mut decoder = options.read_info(Cursor::new(&bytes)).unwrap();
    let frame = decoder.read_next_frame().unwrap().unwrap();
    let rgb: Vec<u8> = frame.buffer.chunks(4).flat_map(|pixel| pixel[..3].to_vec()).collect();
    let quality = psnr(&rgb, &gradient(&spec, 0));
    assert!(quality > 40.0, "{quality} dB");
}
