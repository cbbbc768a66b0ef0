//! Ancestral steps: down a little further than the target, and up to it again with fresh noise.
//!
//! Song et al., <https://arxiv.org/abs/2011.13456>, section 3.3, in the form of k-diffusion's `get_ancestral_step`.

/// The noise level that a step from `from` to `to` goes down to, and the standard deviation of the noise that it adds:
/// `down² + up² = to²`. Far down, rounding leaves 0 for `down`.
pub(crate) fn down_and_up(from: f32, to: f32) -> (f32, f32) {
    let (from_square, to_square) = (from * from, to * to);
    let up = (to_square * (from_square - to_square) / from_square).sqrt();
    let down = (to_square - up * up).max(0.0).sqrt();
    (down, up)
}

/// The same level without cancellation, `to² / from`.
pub(crate) fn exact_down(from: f32, to: f32) -> f32 {
    to * (to / from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_add_up() {
        for (from, to) in [(14.6, 9.1), (9.1, 1.3), (1.3, 0.3), (0.03, 0.02)] {
            let (down, up) = down_and_up(from, to);
            assert!((down * down + up * up - to * to).abs() <= 1e-6 * to * to);
            assert!((down - exact_down(from, to)).abs() < 1e-4 * down, "{from} {to}: {down}");
        }
        assert_eq!(down_and_up(0.03, 0.0), (0.0, 0.0));
    }

    #[test]
    fn far_down_nothing_is_left_but_of_the_exact_form() {
        let (from, to) = (4096.0, 0.1);
        assert_eq!(down_and_up(from, to), (0.0, to));
        assert!(exact_down(from, to) > 2e-6);
    }
}
