//! A small MP4 parser that shares no code with the writer. It panics at whatever is wrong.

use std::ops::Range;

/// A box and, for containers, the boxes in it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: String,
    pub(crate) payload: Range<usize>,
    pub(crate) children: Vec<Node>,
}

/// Splits a range into boxes that must fill it exactly, and containers likewise.
pub(crate) fn walk(bytes: &[u8], range: Range<usize>) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut at = range.start;
    while at < range.end {
        assert!(at + 8 <= range.end, "no room for a box header at {at}");
        let size = be(bytes, at, 4) as usize;
        let kind = String::from_utf8(bytes[at + 4..at + 8].to_vec()).unwrap();
        assert!(size >= 8 && at + size <= range.end, "{kind} has size {size}");
        let payload = at + 8..at + size;
        let skip = match kind.as_str() {
            "moov" | "trak" | "mdia" | "minf" | "dinf" | "stbl" => Some(0),
            "stsd" | "dref" => Some(8),
            "avc1" => Some(78),
            _ => None,
        };
        let children = skip.map(|skip| walk(bytes, payload.start + skip..payload.end));
        nodes.push(Node {
            kind,
            payload,
            children: children.unwrap_or_default(),
        });
        at += size;
    }
    nodes
}

/// A big-endian number.
pub(crate) fn be(bytes: &[u8], at: usize, len: usize) -> u64 {
    bytes[at..at + len]
        .iter()
        .fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// A parsed video.
#[derive(Debug)]
pub(crate) struct Movie {
    pub(crate) bytes: Vec<u8>,
    pub(crate) top: Vec<Node>,
    pub(crate) samples: Vec<Range<usize>>,
    pub(crate) sync: Vec<u64>,
    /// Runs of samples of one duration.
    pub(crate) stts: Vec<(u64, u64)>,
    /// (timescale, duration).
    pub(crate) mvhd: (u64, u64),
    pub(crate) mdhd: (u64, u64),
    pub(crate) tkhd_duration: u64,
    pub(crate) sps: Vec<u8>,
    pub(crate) pps: Vec<u8>,
}

impl Movie {
    pub(crate) fn parse(bytes: Vec<u8>) -> Self {
        let top = walk(&bytes, 0..bytes.len());
        let mut movie = Self {
            samples: Vec::new(),
            sync: Vec::new(),
            stts: Vec::new(),
            mvhd: (0, 0),
            mdhd: (0, 0),
            tkhd_duration: 0,
            sps: Vec::new(),
            pps: Vec::new(),
            bytes,
            top,
        };
        movie.read_times();
        movie.read_samples();
        movie.read_avcc();
        movie
    }

    /// The payload of the only box at this place, such as `moov/trak/tkhd`.
    pub(crate) fn payload(&self, way: &str) -> &[u8] {
        let mut nodes = &self.top;
        let mut found = None;
        for kind in way.split('/') {
            let mut matching = nodes.iter().filter(|node| node.kind == kind);
            let node = matching.next().unwrap_or_else(|| panic!("no {kind} of {way}"));
            assert!(matching.next().is_none(), "two {kind} of {way}");
            nodes = &node.children;
            found = Some(node);
        }
        &self.bytes[found.unwrap().payload.clone()]
    }

    pub(crate) fn stbl(&self, kind: &str) -> &[u8] {
        self.payload(&format!("moov/trak/mdia/minf/stbl/{kind}"))
    }

    pub(crate) fn avc1(&self, kind: &str) -> &[u8] {
        self.stbl(&format!("stsd/avc1/{kind}"))
    }

    /// (timescale, duration) of `mvhd` or `mdhd`.
    fn header_times(&self, way: &str) -> (u64, u64) {
        let payload = self.payload(way);
        match payload[0] {
            0 => (be(payload, 12, 4), be(payload, 16, 4)),
            1 => (be(payload, 20, 4), be(payload, 24, 8)),
            version => panic!("{way} has version {version}"),
        }
    }

    fn read_times(&mut self) {
        self.mvhd = self.header_times("moov/mvhd");
        self.mdhd = self.header_times("moov/trak/mdia/mdhd");
        let tkhd = self.payload("moov/trak/tkhd");
        self.tkhd_duration = match tkhd[0] {
            0 => be(tkhd, 20, 4),
            _ => be(tkhd, 28, 8),
        };
        let stts = self.stbl("stts");
        assert_eq!(stts.len() as u64, 8 + 8 * be(stts, 4, 4));
        self.stts = (8..stts.len())
            .step_by(8)
            .map(|at| (be(stts, at, 4), be(stts, at + 4, 4)))
            .collect();
        let stss = self.stbl("stss");
        assert_eq!(stss.len() as u64, 8 + 4 * be(stss, 4, 4));
        self.sync = (8..stss.len()).step_by(4).map(|at| be(stss, at, 4)).collect();
    }

    /// Follows `stsc`, `stco` and `stsz` to the samples, and checks that they fill `mdat`.
    fn read_samples(&mut self) {
        let (stsz, stsc, stco) = (self.stbl("stsz"), self.stbl("stsc"), self.stbl("stco"));
        assert_eq!(be(stsz, 4, 4), 0, "all samples of one size");
        let count = be(stsz, 8, 4) as usize;
        assert_eq!(stsz.len(), 12 + 4 * count);
        let chunks = be(stco, 4, 4);
        assert_eq!(stco.len() as u64, 8 + 4 * chunks);
        let runs: Vec<(u64, u64)> = (8..stsc.len())
            .step_by(12)
            .map(|at| (be(stsc, at, 4), be(stsc, at + 4, 4)))
            .collect();
        assert_eq!(stsc.len() as u64, 8 + 12 * be(stsc, 4, 4));
        assert_eq!(runs[0].0, 1);

        let mut samples = Vec::new();
        for chunk in 1..=chunks {
            let run = runs.iter().rfind(|run| run.0 <= chunk).unwrap();
            let mut at = be(stco, 4 + 4 * chunk as usize, 4) as usize;
            for _ in 0..run.1 {
                let size = be(stsz, 12 + 4 * samples.len(), 4) as usize;
                samples.push(at..at + size);
                at += size;
            }
        }
        assert_eq!(samples.len(), count, "stsc and stsz differ");

        let mdat = self.top.iter().find(|node| node.kind == "mdat").unwrap();
        assert_eq!(samples[0].start, mdat.payload.start);
        assert_eq!(samples[count - 1].end, mdat.payload.end);
        assert!(samples.is_sorted_by(|a, b| a.end == b.start));
        self.samples = samples;
    }

    fn read_avcc(&mut self) {
        let avcc = self.avc1("avcC");
        assert_eq!(avcc[0], 1);
        assert_eq!((avcc[4], avcc[5]), (0xff, 0xe1), "4-byte lengths, one SPS");
        let sps_end = 8 + be(avcc, 6, 2) as usize;
        let sps = avcc[8..sps_end].to_vec();
        assert_eq!(avcc[1..4], sps[1..4], "avcC repeats the SPS's start");
        assert_eq!(avcc[sps_end], 1, "one PPS");
        let pps_end = sps_end + 3 + be(avcc, sps_end + 1, 2) as usize;
        let pps = avcc[sps_end + 3..pps_end].to_vec();
        assert_eq!(avcc.len(), pps_end);
        (self.sps, self.pps) = (sps, pps);
    }

    /// The NAL units of a sample.
    pub(crate) fn nals(&self, sample: usize) -> Vec<&[u8]> {
        let mut rest = &self.bytes[self.samples[sample].clone()];
        let mut nals = Vec::new();
        while !rest.is_empty() {
            let length = be(rest, 0, 4) as usize;
            nals.push(&rest[4..4 + length]);
            rest = &rest[4 + length..];
        }
        nals
    }
}

/// Reads the fields of a NAL unit.
pub(crate) struct Bits(Vec<bool>, usize);

impl Bits {
    pub(crate) fn new(nal: &[u8]) -> Self {
        let mut bytes: Vec<u8> = Vec::new();
        for &byte in nal {
            if byte != 3 || !bytes.ends_with(&[0, 0]) {
                bytes.push(byte);
            }
        }
        let bits = bytes
            .iter()
            .flat_map(|byte| (0..8).rev().map(move |n| byte >> n & 1 == 1));
        Self(bits.collect(), 0)
    }

    /// A number of so many bits.
    pub(crate) fn u(&mut self, count: usize) -> u32 {
        self.1 += count;
        let bits = &self.0[self.1 - count..self.1];
        bits.iter().fold(0, |value, &bit| value << 1 | u32::from(bit))
    }

    /// An Exp-Golomb number.
    pub(crate) fn ue(&mut self) -> u32 {
        let zeros = self.0[self.1..].iter().take_while(|&&bit| !bit).count();
        self.u(2 * zeros + 1) - 1
    }
}
