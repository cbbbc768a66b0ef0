//! UniP and UniC, Algorithms 5 to 8 of the paper: the prediction of the next sample, and the correction of a sample with
//! the model's output for it.

use burn::tensor::Tensor;

use crate::float32::exp_m1;
use crate::level::Level;

/// The function `B` of the paper, which equals `h` to first order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum BhVariant {
    /// `B(h) = h`.
    Bh1,
    /// `B(h) = e^h - 1`.
    Bh2,
}

/// An update from one noise level to a lower one. Its order is the number of levels.
#[derive(Debug)]
pub(super) struct BhUpdate {
    pub(super) variant: BhVariant,
    /// Model outputs are estimates of the clean sample, not of the noise.
    pub(super) predicts_original: bool,
    /// The level to reach.
    pub(super) target: Level,
    /// The level to start from, and those before.
    pub(super) levels: Vec<Level>,
}

impl BhUpdate {
    /// UniP: the sample of the target level, from converted model outputs, latest first.
    pub(super) fn predict(&self, start: Tensor<5>, outputs: &[Tensor<5>]) -> Tensor<5> {
        let Some(h) = self.finite_h() else {
            return self.limit(start, outputs[0].clone());
        };
        let ratios = self.ratios(h);
        let count = ratios.len() - 1;
        let weights = match count {
            1 => vec![0.5],
            _ => solve(powers(&ratios[..count]), self.moments(h, count)),
        };
        let next = self.first_order(start, outputs, h);
        match self.differences(outputs, &ratios, &weights) {
            Some(differences) => next - differences * self.scale(h),
            None => next,
        }
    }

    /// UniC: the sample of the target level, from the outputs before and the one for the sample as it was predicted.
    pub(super) fn correct(&self, start: Tensor<5>, outputs: &[Tensor<5>], output: Tensor<5>) -> Tensor<5> {
        let Some(h) = self.finite_h() else {
            return self.limit(start, outputs[0].clone());
        };
        let ratios = self.ratios(h);
        let weights = match ratios.len() {
            1 => vec![0.5],
            count => solve(powers(&ratios), self.moments(h, count)),
        };
        let change = (output - outputs[0].clone()) * weights[weights.len() - 1];
        let change = match self.differences(outputs, &ratios, &weights) {
            Some(differences) => differences + change,
            None => change,
        };
        self.first_order(start, outputs, h) - change * self.scale(h)
    }

    /// The growth of lambda; `None` if it is 0, or infinite as on the way to a sigma of 0.
    fn finite_h(&self) -> Option<f32> {
        let h = self.target.lambda() - self.levels[0].lambda();
        (h.is_finite() && h != 0.0).then_some(h)
    }

    /// What an update tends to where `h` is not finite (or 0).
    fn limit(&self, start: Tensor<5>, output: Tensor<5>) -> Tensor<5> {
        let Level { alpha, sigma } = self.levels[0];
        if self.target.sigma > 0.0 {
            return start;
        }
        let original = match self.predicts_original {
            true => output,
            false => (start - output * sigma) / alpha,
        };
        original * self.target.alpha
    }

    /// Lambda of the levels before, relative to the start and in units of `h`; then 1, that of the target.
    fn ratios(&self, h: f32) -> Vec<f32> {
        let start = self.levels[0].lambda();
        let before = self.levels[1..].iter().map(|level| (level.lambda() - start) / h);
        before.chain([1.0]).collect()
    }

    fn signed(&self, h: f32) -> f32 {
        if self.predicts_original { -h } else { h }
    }

    /// The function `B`.
    fn b(&self, h: f32) -> f32 {
        match self.variant {
            BhVariant::Bh1 => self.signed(h),
            BhVariant::Bh2 => exp_m1(self.signed(h)),
        }
    }

    /// The coefficient of the differences.
    fn scale(&self, h: f32) -> f32 {
        let level = self.target;
        self.b(h)
            * if self.predicts_original {
                level.alpha
            } else {
                level.sigma
            }
    }

    /// `h * phi_(k + 1)(h) * k! / B(h)` for `k` from 1 to `count`: what the weights have to sum up to.
    fn moments(&self, h: f32, count: usize) -> Vec<f32> {
        let (h, b) = (self.signed(h), self.b(h));
        let mut phi = exp_m1(h) / h - 1.0;
        let mut factorial = 1.0;
        let mut moments = Vec::with_capacity(count);
        for k in 1..=count {
            moments.push(phi * factorial / b);
            factorial *= (k + 1) as f32;
            phi = phi / h - (1.0 / f64::from(factorial)) as f32;
        }
        moments
    }

    /// The update by the latest output alone.
    fn first_order(&self, start: Tensor<5>, outputs: &[Tensor<5>], h: f32) -> Tensor<5> {
        let (target, from) = (self.target, self.levels[0]);
        let (keep, add) = match self.predicts_original {
            true => (target.sigma / from.sigma, target.alpha),
            false => (target.alpha / from.alpha, target.sigma),
        };
        start * keep - outputs[0].clone() * (add * exp_m1(self.signed(h)))
    }

    /// The weighted differences of the outputs before from the latest; `None` for order 1.
    fn differences(&self, outputs: &[Tensor<5>], ratios: &[f32], weights: &[f32]) -> Option<Tensor<5>> {
        let before = outputs[1..].iter().zip(&ratios[..ratios.len() - 1]).zip(weights);
        before
            .map(|((output, &ratio), &weight)| (output.clone() - outputs[0].clone()) / ratio * weight)
            .reduce(|sum, term| sum + term)
    }
}

/// The rows `ratios^0, ratios^1, ..` of a square matrix.
fn powers(ratios: &[f32]) -> Vec<Vec<f32>> {
    let row = |power: usize| ratios.iter().map(|ratio| ratio.powi(power as i32)).collect();
    (0..ratios.len()).map(row).collect()
}

/// Solves a square system of linear equations by elimination with row pivoting.
fn solve(mut rows: Vec<Vec<f32>>, mut right: Vec<f32>) -> Vec<f32> {
    let count = right.len();
    for column in 0..count {
        let size = |row: &usize| rows[*row][column].abs();
        let pivot = (column..count).max_by(|a, b| size(a).total_cmp(&size(b)));
        let pivot = pivot.unwrap_or(column);
        rows.swap(column, pivot);
        right.swap(column, pivot);
        let (head, value) = (rows[column].clone(), right[column]);
        for row in column + 1..count {
            let factor = rows[row][column] / head[column];
            rows[row].iter_mut().zip(&head).for_each(|(x, y)| *x -= factor * y);
            right[row] -= factor * value;
        }
    }
    for row in (0..count).rev() {
        let known: f32 = (row + 1..count).map(|k| rows[row][k] * right[k]).sum();
        right[row] = (right[row] - known) / rows[row][row];
    }
    right
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equations_are_solved() {
        let rows = vec![vec![0.0, 2.0, 1.0], vec![4.0, 1.0, -1.0], vec![1.0, 1.0, 3.0]];
        let solution = solve(rows, vec![7.0, 3.0, 12.0]);
        for (found, expected) in solution.iter().zip([1.0, 2.0, 3.0]) {
            assert!((found - expected).abs() < 1e-6, "{solution:?}");
        }
    }
}
