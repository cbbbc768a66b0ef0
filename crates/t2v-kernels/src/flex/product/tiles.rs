//! Products with weights in bf16 on tiles, as Intel's AMX has them: 16x16 sums of products of bf16.
//!
//! An f32 has 24 binary digits, a bf16 eight, so that an f32 is the sum of three of these. Each is multiplied with the weight; the products are exact,
//! as long as they aren't too small for an f32, and added up in f32, so that the result is what f32 gives
//! ([Henry, Tang and Heinecke, 2019](https://arxiv.org/abs/1904.06376)). For right sides in f32, which would take six products, tiles aren't used:
//! they do sixteen times as many multiplications as vectors on paper, and three to four times as many where a processor has to keep cool.
//! Nor are they where rows are few: taking these apart for every panel of columns costs what tiles save.
//!
//! A right side is put in order when it is packed, a left side is taken apart when it is multiplied. Buffers are those of all operators: what they hold
//! are the bits of two bf16, as one of f32.

use std::{ops::Range, sync::OnceLock};

use rten_simd::{Isa, SimdOp};

use super::{Bias, Product};
use crate::{
    flex::{
        MOST_LANES,
        buffer::Scratch,
        simd::{lanes, run},
    },
    settings::{Vectors, settings},
};

/// Rows, and sums of a row, of a tile.
const SIDE: usize = 16;
/// Lines of the right side that meet in a tile, in pairs.
const STEP: usize = 2 * SIDE;
/// Numbers in bf16 that make one in f32.
const PARTS: usize = 3;
/// Words of a tile.
const TILE: usize = SIDE * SIDE;
/// Words of the parts of numbers at the same places, largest first.
const PARTS_LEN: usize = PARTS * TILE;
/// Columns of a panel: two tiles beside each other.
pub(super) const COLUMNS: usize = 2 * SIDE;
/// Words of two tiles beside each other.
const PAIR_LEN: usize = 2 * TILE;
/// Words of a line of the cache, where tiles begin.
const LINE: usize = 16;
/// Rows of the left side that are taken apart at a time; what they become stays in the cache.
const ROWS: usize = 256;

/// Whether a right side of this shape fills tiles, and they are there.
pub(super) fn suit(depth: usize, columns: usize) -> bool {
    depth >= SIDE && columns >= SIDE && are_there()
}

/// Whether the processor has tiles, the system lets programs use them, and [`settings`] allow it.
fn are_there() -> bool {
    static ARE_THERE: OnceLock<bool> = OnceLock::new();
    *ARE_THERE.get_or_init(|| settings().vectors == Vectors::Best && lanes() == MOST_LANES && instructions::are_there())
}

/// Words of the panels of these columns of a block of the depth.
pub(super) fn panels_len(depth: usize, columns: usize) -> usize {
    depth.div_ceil(STEP) * columns.div_ceil(COLUMNS) * PAIR_LEN
}

/// Words that are added to a buffer so that a line of the cache begins within it.
pub(super) const SLACK: usize = LINE;

/// The first word of a buffer at which a line of the cache begins.
pub(super) fn first_line(words: &[f32]) -> usize {
    match words.as_ptr().align_offset(LINE * size_of::<f32>()) {
        first if first < LINE => first,
        _ => 0,
    }
}

/// Packs a panel: what `write` writes to lines of [`COLUMNS`] elements, all in bf16.
pub(super) fn pack(depth: usize, packed: &mut [f32], write: impl FnOnce(&mut [f32])) {
    let mut lines = Scratch::new(depth * COLUMNS);
    write(&mut lines);
    run(PairLines { lines: &lines, packed });
}

/// Two numbers in bf16, each in the upper half of its bits, as one word.
#[inline(always)]
fn paired(low: u32, high: u32) -> f32 {
    f32::from_bits(low >> 16 | high & 0xffff_0000)
}

/// The parts of a number, each in the upper half of its bits. They make it exactly, down to where bf16 has no smaller ones; what is infinite
/// becomes no number, and what is no number stays so.
#[inline(always)]
fn split(value: f32) -> [u32; PARTS] {
    let mut rest = value;
    std::array::from_fn(|_| {
        let part = rest.to_bits() & 0xffff_0000;
        rest -= f32::from_bits(part);
        part
    })
}

/// Writes row `y` of tiles: the numbers of two lines in pairs.
#[inline(always)]
fn split_pairs(tiles: &mut [f32; PARTS_LEN], y: usize, low: &[f32; SIDE], high: &[f32; SIDE]) {
    for x in 0..SIDE {
        let (low, high) = (split(low[x]), split(high[x]));
        for part in 0..PARTS {
            tiles[part * TILE + y * SIDE + x] = paired(low[part], high[part]);
        }
    }
}

/// Puts lines of a panel into tiles. A step has of 32 of them the first 16 and the last in pairs.
struct PairLines<'a> {
    lines: &'a [f32],
    packed: &'a mut [f32],
}

impl SimdOp for PairLines<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, _: I) {
        let (lines, (steps, _)) = (
            self.lines.as_chunks::<COLUMNS>().0,
            self.packed.as_chunks_mut::<PAIR_LEN>(),
        );
        for (lines, tiles) in lines.chunks(STEP).zip(steps) {
            let line = |y: usize| lines.get(y).unwrap_or(&[0.0; COLUMNS]);
            for y in 0..SIDE {
                let (low, high) = (line(y), line(SIDE + y));
                for x in 0..COLUMNS {
                    tiles[x / SIDE * TILE + y * SIDE + x % SIDE] = paired(low[x].to_bits(), high[x].to_bits());
                }
            }
        }
    }
}

/// Takes rows of the left side apart, 16 after 16. A row of tiles has of 32 numbers the first 16 and the last in pairs.
struct SplitRows<'a> {
    values: &'a [f32],
    stride: usize,
    depth: usize,
    rows: usize,
    out: &'a mut [f32],
}

impl SimdOp for SplitRows<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, _: I) {
        let steps = self.depth.div_ceil(STEP);
        let (tiles, _) = self.out.as_chunks_mut::<PARTS_LEN>();
        for (first, tiles) in (0..).step_by(SIDE).zip(tiles.chunks_exact_mut(steps)) {
            for y in 0..SIDE {
                let row = match first + y < self.rows {
                    true => &self.values[(first + y) * self.stride..][..self.depth],
                    false => &[],
                };
                for (step, tiles) in tiles.iter_mut().enumerate() {
                    let part = &row[row.len().min(step * STEP)..row.len().min((step + 1) * STEP)];
                    if let ([low, high], []) = part.as_chunks() {
                        split_pairs(tiles, y, low, high);
                        continue;
                    }
                    let mut pair = [[0.0; SIDE]; 2];
                    pair.as_flattened_mut()[..part.len()].copy_from_slice(part);
                    split_pairs(tiles, y, &pair[0], &pair[1]);
                }
            }
        }
    }
}

/// Computes a product with panels that were [packed](pack).
pub(super) fn multiply(mut product: Product) {
    let steps = product.depth.div_ceil(STEP);
    let rows_at_once = product.rows.min(ROWS);
    let tiles = instructions::Tiles::new();
    let mut room = Scratch::new(rows_at_once.div_ceil(SIDE) * steps * PARTS_LEN + SLACK);
    let line = first_line(&room);
    let left = &mut room[line..];
    for first in (0..product.rows).step_by(ROWS) {
        let rows = ROWS.min(product.rows - first);
        run(SplitRows {
            values: &product.left[first * product.stride..],
            stride: product.stride,
            depth: product.depth,
            rows,
            out: &mut *left,
        });
        multiply_rows(&mut product, &tiles, first..first + rows, left);
    }
}

/// Multiplies rows that were taken apart with all panels.
fn multiply_rows(product: &mut Product, tiles: &instructions::Tiles, rows: Range<usize>, left: &[f32]) {
    let steps = product.depth.div_ceil(STEP);
    let rows_len = steps * PARTS_LEN;
    let mut edges = [Edge([[0.0; SIDE]; SIDE]); 4];
    let columns = (0..product.columns).step_by(COLUMNS);
    for (column, right) in columns.zip(product.right.chunks(steps * PAIR_LEN)) {
        for (row, left) in rows.clone().step_by(2 * SIDE).zip(left.chunks(2 * rows_len)) {
            // Where there are no other rows, the same again, to sums that go nowhere.
            let others = match rows.end - row > SIDE {
                true => &left[rows_len..],
                false => left,
            };
            let places = [[0, 0], [0, SIDE], [SIDE, 0], [SIDE, SIDE]].map(|[y, x]| [row + y, column + x]);
            let mut sums = [(std::ptr::null_mut(), 0); 4];
            for ((sums, place), edge) in sums.iter_mut().zip(places).zip(&mut edges) {
                *sums = begin(product, rows.end, place, edge);
            }
            // SAFETY: sums are whole tiles of the product, or edges.
            #[expect(unsafe_code, reason = "tiles of sums are read and written by pointer")]
            unsafe {
                tiles.add_products([left, others], right, sums, steps);
            }
            for (place, edge) in places.into_iter().zip(&edges) {
                end(product, rows.end, place, edge);
            }
        }
    }
}

/// Sums at an edge of a product, which has less than a tile there.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Edge([[f32; SIDE]; SIDE]);

/// Rows and columns of a tile that the product has.
#[inline(always)]
fn extent(product: &Product, rows_end: usize, [row, column]: [usize; 2]) -> [usize; 2] {
    let count = |all: usize, first| all.saturating_sub(first).min(SIDE);
    match [count(rows_end, row), count(product.columns, column)] {
        [0, _] | [_, 0] => [0, 0],
        extent => extent,
    }
}

/// Where a tile's sums are, with what they begin with, and the bytes from one row to the next: in place if it is whole.
#[inline(always)]
fn begin(product: &mut Product, rows_end: usize, place: [usize; 2], edge: &mut Edge) -> (*mut f32, usize) {
    let extent @ [rows, columns] = extent(product, rows_end, place);
    let ([row, column], is_whole) = (place, extent == [SIDE; 2]);
    let (add, bias) = (product.out.add, product.bias);
    for (y, edge) in edge.0.iter_mut().enumerate().take(rows) {
        let out = product.out.row(row + y, column..column + columns);
        let sums = match is_whole {
            true => out,
            false => {
                edge[..columns].copy_from_slice(out);
                &mut edge[..columns]
            }
        };
        if !add {
            sums.fill(0.0);
        }
        match bias {
            Bias::None => {}
            Bias::Rows(bias) => sums.iter_mut().for_each(|sum| *sum += bias[row + y]),
            Bias::Columns(bias) => sums
                .iter_mut()
                .zip(&bias[column..])
                .for_each(|(sum, bias)| *sum += bias),
        }
    }
    match is_whole {
        true => (product.out.at(place, extent), size_of::<f32>() * product.out.stride),
        false => (edge.0.as_flattened_mut().as_mut_ptr(), size_of::<f32>() * SIDE),
    }
}

/// Writes a tile's sums where they belong, if they aren't there.
#[inline(always)]
fn end(product: &mut Product, rows_end: usize, place: [usize; 2], edge: &Edge) {
    let extent @ [rows, columns] = extent(product, rows_end, place);
    if extent == [SIDE; 2] {
        return;
    }
    for (y, edge) in edge.0.iter().enumerate().take(rows) {
        let out = product.out.row(place[0] + y, place[1]..place[1] + columns);
        out.copy_from_slice(&edge[..columns]);
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "there are no functions for these instructions")]
mod instructions {
    use std::arch::{asm, x86_64::__cpuid_count};

    use super::{PAIR_LEN, PARTS_LEN, SIDE};

    pub(super) fn are_there() -> bool {
        are_of_the_processor() && are_permitted()
    }

    fn are_of_the_processor() -> bool {
        const FEATURES: u32 = 7;
        const BF16: u32 = 1 << 22;
        const TILES: u32 = 1 << 24;
        let most = __cpuid_count(0, 0).eax;
        most >= FEATURES && __cpuid_count(FEATURES, 0).edx & (BF16 | TILES) == BF16 | TILES
    }

    /// Asks Linux for the tiles' state, which a process has only then.
    #[cfg(target_os = "linux")]
    fn are_permitted() -> bool {
        const REQUEST: libc::c_ulong = 0x1023;
        const TILE_DATA: libc::c_ulong = 18;
        // SAFETY: the call changes nothing but what this process may use.
        unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST, TILE_DATA) == 0 }
    }

    #[cfg(not(target_os = "linux"))]
    fn are_permitted() -> bool {
        false
    }

    /// How many rows tiles have, and bytes their rows.
    #[repr(C, align(64))]
    struct Shapes {
        palette: u8,
        start_row: u8,
        reserved: [u8; 14],
        row_bytes: [u16; 16],
        rows: [u8; 16],
    }

    /// Two tiles of the left side by two of the right. The code below knows where the fields are.
    #[repr(C)]
    struct Operands {
        left: [*const f32; 2],
        right: *const f32,
        sums: [*mut f32; 4],
        strides: [usize; 4],
        steps: usize,
    }

    /// The tiles of this thread, which are in use for as long as this value is there.
    pub(super) struct Tiles {
        /// Not for other threads.
        _here: std::marker::PhantomData<*mut ()>,
    }

    impl Tiles {
        /// # Panics
        /// Where there are none.
        pub(super) fn new() -> Self {
            const COUNT: usize = 8;
            assert!(
                super::are_there(),
                "a right side was packed for tiles where there are none"
            );
            let mut shapes = Shapes {
                palette: 1,
                start_row: 0,
                reserved: [0; 14],
                row_bytes: [0; 16],
                rows: [0; 16],
            };
            shapes.row_bytes[..COUNT].fill(4 * SIDE as u16);
            shapes.rows[..COUNT].fill(SIDE as u8);
            // SAFETY: the instruction is there, and the shapes are such as the only palette has.
            unsafe {
                asm!("ldtilecfg [{shapes}]", shapes = in(reg) &raw const shapes, options(nostack, readonly, preserves_flags));
            }
            Self {
                _here: std::marker::PhantomData,
            }
        }

        /// Adds the products of two tiles of the left side with two of the right, of so many steps, to four tiles of sums: where they
        /// begin, and the bytes from one row to the next.
        ///
        /// # Safety
        /// The sums are memory that nobody else uses, 16 rows of 16.
        #[inline(always)]
        pub(super) unsafe fn add_products(
            &self,
            left: [&[f32]; 2],
            right: &[f32],
            sums: [(*mut f32, usize); 4],
            steps: usize,
        ) {
            let is_enough = |left: &[f32]| left.len() >= steps * PARTS_LEN;
            assert!(steps > 0 && left.into_iter().all(is_enough) && right.len() >= steps * PAIR_LEN);
            let operands = Operands {
                left: left.map(<[f32]>::as_ptr),
                right: right.as_ptr(),
                sums: sums.map(|(first, _)| first),
                strides: sums.map(|(_, stride)| stride),
                steps,
            };
            // What is written of two tiles of the left side: a part of theirs by both tiles of the right side.
            macro_rules! part {
                ($offset:literal) => {
                    concat!(
                        "tileloadd tmm4, [{a} + {s} * 1 + ",
                        $offset,
                        "]\n",
                        "tdpbf16ps tmm0, tmm4, tmm6\n",
                        "tdpbf16ps tmm1, tmm4, tmm7\n",
                        "tileloadd tmm5, [{b} + {s} * 1 + ",
                        $offset,
                        "]\n",
                        "tdpbf16ps tmm2, tmm5, tmm6\n",
                        "tdpbf16ps tmm3, tmm5, tmm7",
                    )
                };
            }
            // SAFETY: tiles are configured, what is read was seen to be there, and the sums are the caller's.
            unsafe {
                asm!(
                    "mov {p}, [{o} + 24]", "mov {s}, [{o} + 56]", "tileloadd tmm0, [{p} + {s} * 1]",
                    "mov {p}, [{o} + 32]", "mov {s}, [{o} + 64]", "tileloadd tmm1, [{p} + {s} * 1]",
                    "mov {p}, [{o} + 40]", "mov {s}, [{o} + 72]", "tileloadd tmm2, [{p} + {s} * 1]",
                    "mov {p}, [{o} + 48]", "mov {s}, [{o} + 80]", "tileloadd tmm3, [{p} + {s} * 1]",
                    "mov {a}, [{o}]", "mov {b}, [{o} + 8]", "mov {c}, [{o} + 16]",
                    "mov {p}, [{o} + 88]", "mov {s}, 64",
                    "2:",
                    "tileloadd tmm6, [{c} + {s} * 1]",
                    "tileloadd tmm7, [{c} + {s} * 1 + 1024]",
                    part!("2048"), part!("1024"), part!("0"),
                    "add {a}, 3072", "add {b}, 3072", "add {c}, 2048",
                    "dec {p}", "jnz 2b",
                    "mov {p}, [{o} + 24]", "mov {s}, [{o} + 56]", "tilestored [{p} + {s} * 1], tmm0",
                    "mov {p}, [{o} + 32]", "mov {s}, [{o} + 64]", "tilestored [{p} + {s} * 1], tmm1",
                    "mov {p}, [{o} + 40]", "mov {s}, [{o} + 72]", "tilestored [{p} + {s} * 1], tmm2",
                    "mov {p}, [{o} + 48]", "mov {s}, [{o} + 80]", "tilestored [{p} + {s} * 1], tmm3",
                    o = in(reg) &raw const operands, p = out(reg) _, s = out(reg) _,
                    a = out(reg) _, b = out(reg) _, c = out(reg) _,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    }

    impl Drop for Tiles {
        fn drop(&mut self) {
            // SAFETY: tiles that are let go hold nothing.
            unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod instructions {
    pub(super) fn are_there() -> bool {
        false
    }

    pub(super) struct Tiles;

    impl Tiles {
        /// # Panics
        /// There are none.
        pub(super) fn new() -> Self {
            assert!(are_there(), "a right side was packed for tiles where there are none");
            Self
        }

        #[expect(unsafe_code, reason = "the same as where there are tiles")]
        pub(super) unsafe fn add_products(&self, _: [&[f32]; 2], _: &[f32], _: [(*mut f32, usize); 4], _: usize) {}
    }
}
