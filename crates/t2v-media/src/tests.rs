use std::{fs::File, path::Path};

use image::{
    DynamicImage, Frame, ImageEncoder, Rgb, RgbImage, RgbaImage,
    codecs::{gif::GifEncoder, jpeg::JpegEncoder, png::PngEncoder, webp::WebPEncoder},
};

use crate::{InitMedia, limits, open_picture, picture_files, pictures};

/// 24x16 pixels: left half red, right half blue.
fn halves() -> RgbImage {
    RgbImage::from_fn(24, 16, |x, _| if x < 12 { RED } else { BLUE })
}

const RED: Rgb<u8> = Rgb([255, 0, 0]);
const BLUE: Rgb<u8> = Rgb([0, 0, 255]);

fn near(actual: &Rgb<u8>, expected: Rgb<u8>) -> bool {
    actual.0.iter().zip(expected.0).all(|(a, b)| a.abs_diff(b) < 30)
}

/// EXIF with nothing but an orientation.
fn exif(orientation: u8) -> Vec<u8> {
    let entry = [0x12, 1, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0];
    [b"II*\0\x08\0\0\0\x01\0", &entry[..], &[0; 4]].concat()
}

fn write_with(path: &Path, orientation: u8) {
    let (file, picture) = (File::create(path).unwrap(), halves());
    let size = picture.dimensions();
    fn write(mut encoder: impl ImageEncoder, exif: Vec<u8>, picture: &RgbImage, size: (u32, u32)) {
        encoder.set_exif_metadata(exif).unwrap();
        encoder
            .write_image(picture.as_raw(), size.0, size.1, image::ExtendedColorType::Rgb8)
            .unwrap();
    }
    match path.extension().unwrap().to_str().unwrap() {
        "jpg" => write(
            JpegEncoder::new_with_quality(file, 95),
            exif(orientation),
            &picture,
            size,
        ),
        "png" => write(PngEncoder::new(file), exif(orientation), &picture, size),
        "webp" => write(WebPEncoder::new_lossless(file), exif(orientation), &picture, size),
        _ => std::fs::write(path, tiff(orientation.into())).unwrap(),
    }
}

/// The halves as a TIFF file without compression.
fn tiff(orientation: u16) -> Vec<u8> {
    // Tag, type (short), value. Offsets: 8 bytes in front, 10 entries of 12 bytes, and 2 + 4 around them.
    let (bits, pixels) = (8 + 2 + 120 + 4, 8 + 2 + 120 + 4 + 6);
    let entries: [(u16, u32, u16); 10] = [
        (256, 1, 24),
        (257, 1, 16),
        (258, 3, bits),
        (259, 1, 1),
        (262, 1, 2),
        (273, 1, pixels),
        (274, 1, orientation),
        (277, 1, 3),
        (278, 1, 16),
        (279, 1, 24 * 16 * 3),
    ];
    let mut file = b"II*\0\x08\0\0\0\x0a\0".to_vec();
    for (tag, count, value) in entries {
        file.extend(tag.to_le_bytes());
        file.extend(3u16.to_le_bytes());
        file.extend(count.to_le_bytes());
        file.extend(u32::from(value).to_le_bytes());
    }
    file.extend([0; 4]);
    file.extend([8, 0, 8, 0, 8, 0]);
    file.extend(halves().as_raw());
    file
}

#[test]
fn pictures_are_turned_as_they_are_to_be_shown() {
    let folder = tempfile::tempdir().unwrap();
    for extension in ["jpg", "png", "webp", "tif"] {
        let path = folder.path().join("x").with_extension(extension);
        // Clockwise by 90 degrees: left becomes top.
        write_with(&path, 6);
        let picture = open_picture(&path).unwrap();
        assert_eq!(picture.dimensions(), (16, 24), "{extension}");
        assert_eq!(pictures::picture_size(&path).unwrap(), (16, 24), "{extension}");
        assert!(
            near(picture.get_pixel(8, 2), RED) && near(picture.get_pixel(8, 21), BLUE),
            "{extension}"
        );
        write_with(&path, 2);
        let mirrored = open_picture(&path).unwrap();
        assert_eq!(mirrored.dimensions(), (24, 16), "{extension}");
        assert!(near(mirrored.get_pixel(2, 8), BLUE), "{extension}");
    }
}

#[test]
fn every_format_is_read() {
    let folder = tempfile::tempdir().unwrap();
    for extension in ["png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "PNG"] {
        let path = folder.path().join(format!("x.{extension}"));
        halves().save(&path).unwrap();
        let InitMedia::Image(picture) = InitMedia::open_image(&path).unwrap() else {
            panic!("no picture");
        };
        assert_eq!(picture.dimensions(), (24, 16));
        assert!(
            near(picture.get_pixel(2, 8), RED) && near(picture.get_pixel(21, 8), BLUE),
            "{extension}"
        );
    }
    assert_eq!(picture_files(folder.path()).unwrap().len(), 9);
}

#[test]
fn folders_are_taken_in_natural_order_without_hidden_files() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..12u8 {
        let grey = RgbImage::from_pixel(16, 16, Rgb([number * 20; 3]));
        let extension = ["png", "bmp"][usize::from(number % 2)];
        grey.save(folder.path().join(format!("{number}.{extension}"))).unwrap();
        std::fs::write(folder.path().join(format!("._{number}.png")), "Mac OS X").unwrap();
    }
    std::fs::write(folder.path().join("Thumbs.db"), "no picture").unwrap();
    std::fs::create_dir(folder.path().join("more.png")).unwrap();
    let InitMedia::Video(frames) = InitMedia::open_video(folder.path()).unwrap() else {
        panic!("no video");
    };
    let shades: Vec<u8> = frames.iter().map(|frame| frame.get_pixel(0, 0)[0] / 20).collect();
    assert_eq!(shades, (0..12).collect::<Vec<_>>());
}

/// The sentence about what is wrong with a video.
fn refusal(path: &Path) -> String {
    InitMedia::open_video(path).unwrap_err().to_string()
}

#[test]
fn a_picture_that_is_too_large_is_named_with_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wide.png");
    RgbImage::new(8193, 1).save(&path).unwrap();
    for error in [
        InitMedia::open_image(&path).unwrap_err().to_string(),
        refusal(folder.path()),
    ] {
        assert!(
            error.contains("8193x1 pixels") && error.contains("at most 8192"),
            "{error}"
        );
        assert!(error.contains("wide.png"), "{error}");
    }
    let deep = limits::check_picture((8192, 8192), 8192 * 8192 * 16).unwrap_err();
    assert!(deep.contains("8192x8192") && deep.contains("1024 MiB"), "{deep}");
}

#[test]
fn all_frames_together_have_a_limit_that_is_found_before_decoding() {
    let folder = tempfile::tempdir().unwrap();
    // Headers of 50 million pixels each; there are no pixels behind them.
    let header = |path: &Path, width: u32, height: u32| {
        let file = File::create(path).unwrap();
        let mut encoder = png::Encoder::new(file, width, height);
        encoder.set_color(png::ColorType::Rgb);
        let mut writer = encoder.write_header().unwrap();
        writer.write_chunk(png::chunk::IDAT, &[0; 16]).unwrap();
    };
    for number in 0..15 {
        header(&folder.path().join(format!("{number}.png")), 8192, 6144);
    }
    let error = refusal(folder.path());
    assert!(
        error.contains("15 frames of 8192x6144") && error.contains("2048 MiB are allowed"),
        "{error}"
    );
    header(&folder.path().join("0.png"), 16, 16);
    let error = refusal(folder.path());
    assert!(
        error.contains(r#""0.png" has 16x16 pixels, and "1.png" 8192x6144"#),
        "{error}"
    );
    for number in 15..129 {
        std::fs::write(folder.path().join(format!("{number}.png")), "").unwrap();
    }
    let error = refusal(folder.path());
    assert!(error.contains("129 frames, and at most 128"), "{error}");
}

#[test]
fn gifs_have_the_same_limits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.gif");
    let write = |count: usize, file: &Path| {
        let mut encoder = GifEncoder::new(File::create(file).unwrap());
        let frames = (0..count).map(|i| Frame::new(RgbaImage::from_pixel(4, 4, image::Rgba([i as u8, 9, 9, 255]))));
        encoder.encode_frames(frames).unwrap();
    };
    write(5, &path);
    assert_eq!(InitMedia::open_video(&path).unwrap().num_frames(), Some(5));
    write(11, &path);
    let mut large = std::fs::read(&path).unwrap();
    // The size of the screen.
    large[6..8].copy_from_slice(&8192u16.to_le_bytes());
    large[8..10].copy_from_slice(&8192u16.to_le_bytes());
    std::fs::write(&path, &large).unwrap();
    let error = refusal(&path);
    assert!(
        error.contains("11 frames of 8192x8192") && error.contains("-vf scale="),
        "{error}"
    );
    write(129, &path);
    let error = refusal(&path);
    assert!(
        error.contains("129 frames, and at most 128 are allowed; `ffmpeg -i"),
        "{error}"
    );
    let mut large = std::fs::read(&path).unwrap();
    large[6..10].fill(0xff);
    std::fs::write(&path, &large).unwrap();
    let error = refusal(&path);
    assert!(
        error.contains("65535x65535 pixels, and a side may have at most 8192"),
        "{error}"
    );
}

#[test]
fn other_files_are_named_as_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("x.mp4");
    DynamicImage::from(halves())
        .save_with_format(&picture, image::ImageFormat::Png)
        .unwrap();
    assert!(refusal(&picture).contains("give it as the init image"));
    let video = Path::new(env!("CARGO_MANIFEST_DIR")).join("../t2v-mp4/tests/fixtures/high_b_pyramid.mp4");
    let error = InitMedia::open_image(&video).unwrap_err().to_string();
    assert!(error.contains("init video") && error.contains("BMP"), "{error}");
    let heic = folder.path().join("x.heic");
    std::fs::write(&heic, b"\0\0\0\x18ftypheic\0\0\0\0mif1heic").unwrap();
    assert!(refusal(&heic).contains("neither a folder of pictures"));
    let cut = folder.path().join("cut.jpg");
    halves().save(&cut).unwrap();
    let whole = std::fs::read(&cut).unwrap();
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let error = InitMedia::open_image(&cut).unwrap_err().to_string();
    assert!(error.contains("cut"), "{error}");
    // Phones put a film behind the picture, which may have any bytes in it.
    std::fs::write(&cut, [&whole[..], b"and a film of the moment \xff\xda"].concat()).unwrap();
    InitMedia::open_image(&cut).unwrap();
    let other = folder.path().join("x.webm");
    std::fs::write(&other, b"\x1a\x45\xdf\xa3 and more").unwrap();
    let error = refusal(&other);
    assert!(
        error.contains("neither a folder of pictures") && error.contains("`ffmpeg -i \""),
        "{error}"
    );
    // What it is counts, not what it is called.
    let gif = folder.path().join("gif.webm");
    halves().save_with_format(&gif, image::ImageFormat::Gif).unwrap();
    assert_eq!(InitMedia::open_video(&gif).unwrap().num_frames(), Some(1));
    std::fs::remove_file(&gif).unwrap();
    assert!(refusal(&gif).contains("gif.webm"));
}

#[test]
fn mp4_files_have_the_same_limits() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../t2v-mp4/tests/fixtures/high_b_pyramid.mp4");
    assert_eq!(InitMedia::open_video(fixture).unwrap().num_frames(), Some(12));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.mp4");
    let spec = t2v_mp4::VideoSpec::new(16, 16, 24);
    let mut writer = t2v_mp4::Writer::create(&path, spec).unwrap();
    for _ in 0..129 {
        writer.push(&[99; 16 * 16 * 3]).unwrap();
    }
    writer.finish().unwrap();
    let error = refusal(&path);
    assert!(
        error.contains("129 frames, and at most 128") && error.contains("-frames:v 128"),
        "{error}"
    );
}

#[test]
fn pictures_given_in_code_are_checked() {
    let frame = |width, height| RgbImage::new(width, height);
    let wrong = |media: InitMedia| media.check().unwrap_err();
    assert_eq!(InitMedia::Image(frame(1, 1)).check(), Ok(()));
    assert_eq!(InitMedia::Video(vec![frame(2, 3); 128]).check(), Ok(()));
    assert!(wrong(InitMedia::Video(vec![])).contains("no frames"));
    assert!(wrong(InitMedia::Video(vec![frame(2, 3); 129])).contains("129 frames"));
    assert!(wrong(InitMedia::Image(frame(0, 0))).contains("0x0 pixels"));
    assert!(wrong(InitMedia::Video(vec![frame(5, 0); 2])).contains("5x0 pixels"));
    assert_eq!(InitMedia::Ends([frame(1, 2), frame(3, 4)]).check(), Ok(()));
    assert!(wrong(InitMedia::Ends([frame(1, 2), frame(3, 0)])).contains("3x0 pixels"));
    let differing = wrong(InitMedia::Video(vec![frame(2, 3), frame(2, 3), frame(3, 2)]));
    assert!(
        differing.contains("frame 2 has 3x2") && differing.contains("first one 2x3"),
        "{differing}"
    );
}
