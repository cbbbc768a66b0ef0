use super::*;

/// Writes `ue(v)` and `u(n)` as text of bits, and makes a NAL unit of them.
fn nal(fields: &[(u32, u32)]) -> Vec<u8> {
    let mut text = String::new();
    for &(value, width) in fields {
        match width {
            0 => {
                let digits = format!("{:b}", value + 1);
                text += &"0".repeat(digits.len() - 1);
                text += &digits;
            }
            width => text += &format!("{value:0width$b}", width = width as usize),
        }
    }
    text += "10000000";
    let digits = text.as_bytes().chunks_exact(8);
    let bytes = digits.map(|eight| eight.iter().fold(0, |byte, &digit| byte << 1 | (digit - b'0')));
    // Emulation prevention, as the few zeros here need it.
    let mut nal = vec![0x67];
    for byte in bytes {
        if byte <= 3 && nal.ends_with(&[0, 0]) {
            nal.push(3);
        }
        nal.push(byte);
    }
    nal
}

/// Baseline, of so many macroblocks and cropping, with usability information.
fn fields(profile: u32, blocks: (u32, u32), frames_only: u32, crop: [u32; 4]) -> Vec<(u32, u32)> {
    let mut fields = vec![(profile, 8), (30, 16), (0, 0)];
    if profile == HIGH {
        fields.extend([(1, 0), (0, 0), (0, 0), (0, 1), (0, 1)]);
    }
    fields.extend([
        (0, 0),
        (2, 0),
        (1, 0),
        (0, 1),
        (blocks.0 - 1, 0),
        (blocks.1 - 1, 0),
        (frames_only, 1),
        (1, 1),
    ]);
    fields.push((1, 1));
    fields.extend(crop.map(|offset| (offset, 0)));
    // Aspect ratio, overscan, signal type with colours, siting.
    fields.extend([(1, 1), (1, 1), (255, 8), (0x0001_0001, 32), (0, 1)]);
    fields.extend([
        (1, 1),
        (5, 3),
        (1, 1),
        (1, 1),
        (6, 8),
        (6, 8),
        (6, 8),
        (1, 1),
        (1, 0),
        (1, 0),
    ]);
    fields
}

#[test]
fn size_and_colours_are_read() {
    let expected = Sps {
        width: 62,
        height: 34,
        full_range: true,
        matrix: Some(6),
        siting: 1,
    };
    for profile in [BASELINE, MAIN, HIGH] {
        let fields = fields(profile, (4, 3), 1, [1, 0, 3, 4]);
        assert_eq!(Sps::parse(&nal(&fields)).unwrap(), expected);
    }
}

#[test]
fn a_profile_without_reordering_changes_nothing_else() {
    for profile in [MAIN, HIGH] {
        let set = nal(&fields(profile, (4, 3), 1, [1, 0, 3, 4]));
        let mut changed = without_reordering(&set);
        assert_eq!((changed[0], changed[1]), (set[0], SCALABLE_BASELINE));
        // It has the fields of High.
        changed[1] = HIGH as u8;
        assert_eq!(Sps::parse(&changed).unwrap(), Sps::parse(&set).unwrap());
    }
    let baseline = nal(&fields(BASELINE, (4, 3), 1, [0; 4]));
    assert_eq!(without_reordering(&baseline), baseline);
}

#[test]
fn what_the_decoder_cannot_do_is_refused() {
    let refusal = |fields: &[(u32, u32)]| match Sps::parse(&nal(fields)) {
        Err(Fault::Unsupported(what, _)) => what,
        other => panic!("{other:?}"),
    };
    assert!(refusal(&fields(88, (4, 3), 1, [0; 4])).contains("H.264 Extended,"));
    assert!(refusal(&fields(118, (4, 3), 1, [0; 4])).contains("profile 118,"));
    assert!(refusal(&fields(MAIN, (4, 3), 0, [0; 4])).contains("interlaced"));
    assert!(refusal(&fields(MAIN, (256, 145), 1, [0; 4])).contains("256x145"));
    assert!(refusal(&fields(MAIN, (1 << 20, 1 << 20), 1, [0; 4])).contains("5.2"));
    let mut deep = fields(HIGH, (4, 3), 1, [0; 4]);
    (deep[0], deep[4], deep[5]) = ((HIGH_10, 8), (2, 0), (2, 0));
    assert!(refusal(&deep).contains("High 10 with 10-bit 4:2:0 pictures"));
    let mut colourful = fields(HIGH, (4, 3), 1, [0; 4]);
    colourful[3] = (2, 0);
    colourful[0] = (HIGH_422, 8);
    assert!(refusal(&colourful).contains("High 4:2:2 with 8-bit 4:2:2 pictures"));
    colourful[3] = (0, 0);
    colourful[0] = (HIGH, 8);
    assert!(refusal(&colourful).contains("8-bit grey pictures"));
}

#[test]
fn nonsense_is_refused() {
    for crop in [[32, 0, 0, 0], [0, 0, 12, 12], [u32::MAX - 1, 2, 0, 0]] {
        let parsed = Sps::parse(&nal(&fields(MAIN, (4, 3), 1, crop)));
        assert!(matches!(parsed, Err(Fault::Malformed(_))), "{crop:?}: {parsed:?}");
    }
    let whole = nal(&fields(MAIN, (4, 3), 1, [0; 4]));
    for end in 0..whole.len() - 2 {
        assert!(
            matches!(Sps::parse(&whole[..end]), Err(Fault::Malformed(_))),
            "{end} bytes"
        );
    }
}
