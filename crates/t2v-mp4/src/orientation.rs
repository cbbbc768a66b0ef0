//! How pictures are turned before they are shown: the matrices of `tkhd` and `mvhd` (ISO/IEC 14496-12 6.2.2).

use crate::fault::Fault;

/// A turn by a multiple of 90 degrees, mirrored or not: where a pixel's column and row go, as
/// `[[x in x, y in x], [x in y, y in y]]`, each row and column of which has one of ±1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Orientation([[i8; 2]; 2]);

impl Orientation {
    /// As the pictures lie in the file.
    #[cfg(test)]
    pub(crate) const UPRIGHT: Self = Self([[1, 0], [0, 1]]);

    /// Of the first five numbers of a matrix, `a b u c d`, which take (x, y) to (ax + cy, bx + dy). Sizes are not heeded.
    ///
    /// # Errors
    /// The turn is by another angle, or pictures are skewed.
    pub(crate) fn of_matrix([a, b, _, c, d]: [u32; 5]) -> Result<Self, Fault> {
        let sign = |number: u32| number.cast_signed().signum() as i8;
        let signs = [[sign(a), sign(c)], [sign(b), sign(d)]];
        let [[a, c], [b, d]] = signs.map(|row| row.map(|sign| sign != 0));
        match (a && d && !b && !c) || (b && c && !a && !d) {
            true => Ok(Self(signs)),
            false => Err(Fault::unsupported(
                "its pictures are to be shown turned by an angle other than 90, 180 or 270 degrees, or skewed",
            )),
        }
    }

    /// This turn, and then another one.
    pub(crate) fn then(self, Self(next): Self) -> Self {
        let Self(first) = self;
        let at = |row: usize, column: usize| (0..2).map(|k| next[row][k] * first[k][column]).sum();
        Self([[at(0, 0), at(0, 1)], [at(1, 0), at(1, 1)]])
    }

    /// Width and height as shown, of those in the file.
    pub(crate) fn size(self, (width, height): (u32, u32)) -> (u32, u32) {
        match self.0[0][0] {
            0 => (height, width),
            _ => (width, height),
        }
    }

    /// Turns RGB8 pixels that have this size in the file.
    pub(crate) fn apply(self, rgb: Vec<u8>, size: (u32, u32)) -> Vec<u8> {
        let Self([[1, 0], [0, 1]]) = self else {
            return self.turned(&rgb, size);
        };
        rgb
    }

    fn turned(self, rgb: &[u8], size: (u32, u32)) -> Vec<u8> {
        let Self([[a, c], [b, d]]) = self;
        let (pixels, _) = rgb.as_chunks::<3>();
        let (width, height) = (size.0 as usize, size.1 as usize);
        let (shown_width, shown_height) = self.size(size);
        let mut turned = Vec::with_capacity(rgb.len());
        // A sign that is negative counts from the other end.
        let place = |at: u32, sign: i8, side: usize| match sign {
            1 => at as usize,
            _ => side - 1 - at as usize,
        };
        for y in 0..shown_height {
            for x in 0..shown_width {
                let (column, row) = match a {
                    0 => (place(y, b, width), place(x, c, height)),
                    _ => (place(x, a, width), place(y, d, height)),
                };
                turned.extend(pixels[row * width + column]);
            }
        }
        turned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: u32 = 0x1_0000;
    const MINUS: u32 = 0xffff_0000;

    fn turn(matrix: [u32; 4]) -> Orientation {
        let [a, b, c, d] = matrix;
        Orientation::of_matrix([a, b, 0, c, d]).unwrap()
    }

    /// What becomes of the picture `abc / def`, row by row.
    fn shown(orientation: Orientation) -> (u32, String) {
        let rgb = b"abcdef".iter().flat_map(|&letter| [letter; 3]).collect();
        let letters = orientation.apply(rgb, (3, 2));
        let letters = letters.chunks_exact(3).map(|pixel| char::from(pixel[0])).collect();
        (orientation.size((3, 2)).0, letters)
    }

    #[test]
    fn every_turn_and_flip_moves_the_pixels_where_the_matrix_says() {
        let turns = [
            ([ONE, 0, 0, ONE], 3, "abcdef"),
            ([MINUS, 0, 0, MINUS], 3, "fedcba"),
            ([MINUS, 0, 0, ONE], 3, "cbafed"),
            ([ONE, 0, 0, MINUS], 3, "defabc"),
            // Clockwise by 90 degrees, and by 270.
            ([0, ONE, MINUS, 0], 2, "daebfc"),
            ([0, MINUS, ONE, 0], 2, "cfbead"),
            // Mirrored along the diagonals.
            ([0, ONE, ONE, 0], 2, "adbecf"),
            ([0, MINUS, MINUS, 0], 2, "fcebda"),
        ];
        for (matrix, width, letters) in turns {
            assert_eq!(shown(turn(matrix)), (width, letters.to_owned()), "{matrix:x?}");
        }
    }

    #[test]
    fn turns_add_up() {
        let right = turn([0, ONE, MINUS, 0]);
        let left = turn([0, MINUS, ONE, 0]);
        let mirror = turn([MINUS, 0, 0, ONE]);
        assert_eq!(right.then(left), Orientation::UPRIGHT);
        assert_eq!(right.then(right), turn([MINUS, 0, 0, MINUS]));
        // Turned and then mirrored: columns `da eb fc` become `ad be cf`.
        assert_eq!(shown(right.then(mirror)).1, "adbecf");
    }

    #[test]
    fn other_angles_are_refused() {
        for [a, b, c, d] in [[0, 0, 0, 0], [ONE, 1, 0, ONE], [ONE, ONE, MINUS, ONE], [0, ONE, 0, ONE]] {
            assert!(matches!(
                Orientation::of_matrix([a, b, 0, c, d]),
                Err(Fault::Unsupported(..))
            ));
        }
    }
}
