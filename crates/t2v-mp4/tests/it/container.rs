//! The boxes: what is in them, and that all durations are exact.

use t2v_mp4::{DEFAULT_KEYFRAME_INTERVAL, FrameRate, VideoSpec};

use crate::boxes::{Bits, be};
use crate::clip::{encode, flat, smooth};

const RATES: [(u32, u32); 16] = [
    (1, 1),
    (7, 1),
    (8, 1),
    (12, 1),
    (24_000, 1001),
    (24, 1),
    (25, 1),
    (30_000, 1001),
    (30, 1),
    (50, 1),
    (60_000, 1001),
    (60, 1),
    (240, 1),
    (15, 2),
    (1, 100_000),
    (4_294_967_291, 7),
];

#[test]
fn durations_are_exact_at_every_rate() {
    for (num, den) in RATES {
        let rate = FrameRate::new(num, den);
        let spec = VideoSpec::new(32, 16, rate);
        let movie = encode(&spec, 5, |spec, time| flat(spec, [time as u8 * 40, 9, 99]));
        assert_eq!(movie.samples.len(), 5, "{rate}");
        assert_eq!(movie.mvhd, movie.mdhd, "{rate}");
        assert_eq!(movie.tkhd_duration, movie.mvhd.1, "{rate}");
        let (timescale, duration) = movie.mdhd;
        let [(5, delta)] = movie.stts[..] else {
            panic!("{rate}: {:?}", movie.stts);
        };
        assert_eq!(duration, 5 * delta, "{rate}");
        // delta / timescale == den / num
        assert_eq!(delta * u64::from(num), timescale * u64::from(den), "{rate}");
    }
}

#[test]
fn long_durations_use_the_64_bit_headers() {
    let spec = VideoSpec::new(16, 16, FrameRate::new(1, 3_000_000));
    let movie = encode(&spec, 2, |spec, _| flat(spec, [1, 2, 3]));
    assert_eq!(movie.mdhd, (1000, 6_000_000_000));
    assert_eq!((movie.mvhd, movie.tkhd_duration), (movie.mdhd, 6_000_000_000));
    assert_eq!(movie.payload("moov/mvhd")[0], 1);
}

#[test]
fn the_boxes_are_in_order_and_complete() {
    let movie = encode(&VideoSpec::new(64, 48, 24), 3, smooth);
    let kinds: Vec<&str> = movie.top.iter().map(|node| node.kind.as_str()).collect();
    assert_eq!(kinds, ["ftyp", "moov", "mdat"], "the index comes first");
    assert_eq!(movie.payload("ftyp"), b"isom\0\0\x02\0isomiso2avc1mp41");

    let mvhd = movie.payload("moov/mvhd");
    assert_eq!(be(mvhd, mvhd.len() - 4, 4), 2, "next_track_ID");
    let tkhd = movie.payload("moov/trak/tkhd");
    assert_eq!(be(tkhd, 0, 4), 3, "flags");
    assert_eq!(be(tkhd, 12, 4), 1, "track_ID");
    assert_eq!(be(tkhd, 36, 2), 0, "volume");
    assert_eq!((be(tkhd, 76, 4), be(tkhd, 80, 4)), (64 << 16, 48 << 16));
    assert_eq!(&movie.payload("moov/trak/mdia/hdlr")[8..12], b"vide");
    assert_eq!(be(movie.payload("moov/trak/mdia/minf/vmhd"), 0, 4), 1);
    let url = movie.payload("moov/trak/mdia/minf/dinf/dref/url ");
    assert_eq!(be(url, 0, 4), 1, "the samples are in this file");

    let avc1 = movie.stbl("stsd/avc1");
    assert_eq!(be(avc1, 6, 2), 1, "data_reference_index");
    assert_eq!((be(avc1, 24, 2), be(avc1, 26, 2)), (64, 48));
    assert_eq!(movie.avc1("avcC")[1..3], [66, 0xc0], "Constrained Baseline");
    assert_eq!(movie.avc1("colr"), b"nclx\0\x01\0\x01\0\x01\0");
    assert_eq!(movie.avc1("pasp"), [0, 0, 0, 1, 0, 0, 0, 1]);
}

#[test]
fn samples_hold_no_parameter_sets_and_sync_samples_are_idr() {
    let count = 2 * DEFAULT_KEYFRAME_INTERVAL + 5;
    let movie = encode(&VideoSpec::new(48, 32, 24), count, smooth);
    for sample in 0..movie.samples.len() {
        let kinds: Vec<u8> = movie.nals(sample).iter().map(|nal| nal[0] & 31).collect();
        let is_sync = movie.sync.contains(&(sample as u64 + 1));
        assert_eq!(kinds, [if is_sync { 5 } else { 1 }], "sample {sample}");
    }
    let interval = u64::from(DEFAULT_KEYFRAME_INTERVAL);
    assert_eq!(movie.sync, [1, 1 + interval, 1 + 2 * interval]);
}

#[test]
fn the_sps_states_size_and_colour() {
    // 40 rows: the coded height of 48 must be cropped.
    let movie = encode(&VideoSpec::new(64, 40, 24), 1, smooth);
    let mut bits = Bits::new(&movie.sps[1..]);
    assert_eq!(bits.u(8), 66);
    bits.u(16);
    let _id = bits.ue();
    let _frame_num_bits = bits.ue();
    assert_eq!(bits.ue(), 2, "pic_order_cnt_type: output order is decoding order");
    let _references = bits.ue();
    bits.u(1);
    assert_eq!((bits.ue() + 1, bits.ue() + 1), (4, 3), "macroblocks");
    assert_eq!(bits.u(1), 1, "frames only");
    bits.u(1);
    assert_eq!(bits.u(1), 1, "cropped");
    assert_eq!([(); 4].map(|()| bits.ue()), [0, 0, 0, 4]);
    assert_eq!(bits.u(1), 1, "VUI present");
    if bits.u(1) == 1 {
        assert_eq!(bits.u(8), 1, "square pixels");
    }
    assert_eq!(bits.u(1), 0, "no overscan information");
    assert_eq!(bits.u(1), 1, "video signal type present");
    let _format = bits.u(3);
    assert_eq!(bits.u(1), 0, "limited range");
    assert_eq!(bits.u(1), 1, "colour description present");
    assert_eq!([bits.u(8), bits.u(8), bits.u(8)], [1, 1, 1], "BT.709");
    assert_eq!(bits.u(1), 0, "chroma location left at its default");
}
