use std::io::Cursor;

use super::*;

fn boxed(kind: &[u8; 4], payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u32 + 8).to_be_bytes()[..], kind, payload].concat()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// A `trex` box of track 1 with duration 10 and size 5.
fn trex() -> Vec<u8> {
    boxed(b"trex", &words(&[0, 1, 1, 10, 5, 0]))
}

/// Position, size, time and duration of the samples of a file of these `traf` boxes in a `moof` box each.
fn samples(fragments: &[Vec<u8>], most: u32) -> Result<Vec<[u64; 4]>, Fault> {
    let file: Vec<u8> = fragments.iter().flat_map(|traf| boxed(b"moof", traf)).collect();
    let mut table = Table::new(1000, most);
    let mut padded = file.clone();
    padded.resize(1000, 0);
    let end = boxed(b"free", &vec![0; 1000 - file.len() - 8]);
    padded[file.len()..].copy_from_slice(&end);
    add(&mut Cursor::new(padded), &trex(), 1, &mut Clock::default(), &mut table)?;
    let samples = table.finish()?.into_iter().map(|sample| {
        let place = sample.place;
        [
            place.offset,
            place.size.into(),
            sample.time as u64,
            sample.duration.into(),
        ]
    });
    Ok(samples.collect())
}

fn traf(tfhd: &[u32], boxes: &[(&[u8; 4], &[u32])]) -> Vec<u8> {
    let inside = boxes.iter().flat_map(|(kind, fields)| boxed(kind, &words(fields)));
    let tfhd = boxed(b"tfhd", &words(tfhd));
    boxed(b"traf", &[tfhd, inside.collect()].concat())
}

#[test]
fn runs_have_their_own_fields_or_the_defaults() {
    let first = traf(&[BASE_IS_MOOF, 1], &[(b"trun", &[DATA_OFFSET, 2, 100])]);
    let length = first.len() as u64 + 8;
    let flags = DURATION | SIZE | FLAGS | OFFSET | FIRST_FLAGS;
    let second = traf(
        &[
            DEFAULT_DURATION | DEFAULT_SIZE | BASE_IS_MOOF | SAMPLE_DESCRIPTION,
            1,
            1,
            20,
            6,
        ],
        &[
            (b"tfdt", &[0, 50]),
            (b"trun", &[DATA_OFFSET, 1, 100]),
            (b"trun", &[flags, 2, 0, 7, 8, 0, 3, 9, 10, 0, (-4i32).cast_unsigned()]),
        ],
    );
    let expected = [
        [100, 5, 0, 10],
        [105, 5, 10, 10],
        [length + 100, 6, 50, 20],
        [length + 106, 8, 73, 7],
        [length + 114, 10, 73, 9],
    ];
    assert_eq!(samples(&[first, second], 9).unwrap(), expected);
}

#[test]
fn tracks_follow_one_another_where_they_have_no_base() {
    let others = traf(&[0, 2], &[(b"trun", &[DATA_OFFSET | SIZE, 2, 300, 30, 12])]);
    let ours = traf(&[0, 1], &[(b"trun", &[0, 1])]);
    let absolute = traf(&[BASE_DATA_OFFSET, 1, 0, 500], &[(b"trun", &[0, 1])]);
    let both = [others, ours].concat();
    assert_eq!(
        samples(&[both, absolute], 9).unwrap(),
        [[342, 5, 0, 10], [500, 5, 10, 10]]
    );
}

#[test]
fn lying_runs_are_found() {
    let fault = |tfhd: &[u32], trun: &[u32]| samples(&[traf(tfhd, &[(b"trun", trun)])], 9).unwrap_err();
    let lies = [
        (&[0, 1][..], &[SIZE, u32::MAX, 1][..], "too short"),
        (&[0, 1], &[DATA_OFFSET, 1], "too short"),
        (&[0, 1], &[0], "too short"),
        (&[0], &[0, 1], "too short"),
        (&[BASE_DATA_OFFSET, 1, 9], &[0, 1], "too short"),
        (&[0, 1], &[DATA_OFFSET, 1, 1 << 31], "before the start"),
        (&[BASE_DATA_OFFSET, 1, u32::MAX, u32::MAX], &[0, 1], "over the end"),
        (&[0, 1], &[DATA_OFFSET | SIZE, 1, 996, 5], "over the end"),
    ];
    for (tfhd, trun, expected) in lies {
        let fault = fault(tfhd, trun);
        assert!(
            matches!(fault, Fault::Malformed(reason) if reason.contains(expected)),
            "{fault:?}"
        );
    }
    let other = fault(&[SAMPLE_DESCRIPTION, 1, 2], &[0, 1]);
    assert!(
        matches!(&other, Fault::Unsupported(what, _) if what.contains("coding")),
        "{other:?}"
    );
    // No bytes for any of them, of no size.
    let many = fault(&[DEFAULT_SIZE, 1, 0], &[0, u32::MAX]);
    assert!(
        matches!(
            many,
            Fault::Limit {
                what: "frames",
                actual: 0xffff_ffff,
                ..
            }
        ),
        "{many:?}"
    );
}
