//! What a value was at the latest points, and what it will be at the next: a polynomial through the latest values.

use burn::tensor::Tensor;

/// The latest values of something that changes smoothly from point to point.
#[derive(Debug, Clone)]
pub struct History<const D: usize> {
    order: usize,
    /// Oldest first, at most `order + 1`, no two at the same point.
    values: Vec<(f64, Tensor<D>)>,
}

impl<const D: usize> History<D> {
    /// For polynomials of a degree: 0 repeats the latest value, 1 goes on in a straight line, as far as there are values enough.
    #[must_use]
    pub fn new(order: usize) -> Self {
        Self {
            order,
            values: Vec::new(),
        }
    }

    /// Whether there is nothing to go by.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Adds the value at a point, instead of one that was there, and forgets the oldest.
    pub fn push(&mut self, point: f64, value: Tensor<D>) {
        self.values.retain(|(at, _)| *at != point);
        if self.values.len() > self.order {
            self.values.remove(0);
        }
        self.values.push((point, value));
    }

    /// The value at a point, as the polynomial has it; at one that was pushed it is that value to the bit.
    ///
    /// `rows` are the last entries of the first dimension that are wanted, at most as many as there are.
    #[must_use]
    pub fn at(&self, point: f64, rows: usize) -> Option<Tensor<D>> {
        let last = |value: &Tensor<D>| match value.dims()[0] {
            all if rows < all => value.clone().slice_dim(0, all - rows..all),
            _ => value.clone(),
        };
        let known = self.values.iter().find(|(at, _)| *at == point);
        if let Some((_, value)) = known {
            return Some(last(value));
        }
        let terms = self
            .values
            .iter()
            .enumerate()
            .map(|(i, (_, value))| match self.weight(i, point) {
                1.0 => last(value),
                weight => last(value) * weight,
            });
        terms.reduce(|sum, term| sum + term)
    }

    /// Lagrange's polynomial of value `i`.
    fn weight(&self, i: usize, point: f64) -> f64 {
        let (own, _) = self.values[i];
        let others = self.values.iter().enumerate().filter(|(j, _)| *j != i);
        others.map(|(_, (other, _))| (point - other) / (own - other)).product()
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn rows(values: [f32; 2]) -> Tensor<2> {
        Tensor::<1>::from_floats(values, &Device::flex()).reshape([2, 1])
    }

    fn at(history: &History<2>, point: f64, rows: usize) -> Vec<f32> {
        let value = history.at(point, rows).unwrap();
        value.into_data().try_to_vec::<f32>().unwrap()
    }

    #[test]
    fn goes_on_as_polynomials_do() {
        let cubes = |t: f64| rows([t as f32, (t * t) as f32]);
        for (order, expected) in [(0, [4.0, 16.0]), (1, [7.0, 37.0]), (2, [7.0, 49.0])] {
            let mut history = History::new(order);
            assert!(history.is_empty() && history.at(7.0, 2).is_none());
            for t in [0.0, 1.0, 3.0, 4.0] {
                history.push(t, cubes(t));
                assert_eq!(at(&history, t, 2), [t as f32, (t * t) as f32]);
            }
            assert_eq!(at(&history, 7.0, 2), expected, "{order}");
            assert_eq!(at(&history, 7.0, 1), expected[1..], "{order}");
        }
    }

    #[test]
    fn a_point_has_one_value() {
        let mut history = History::new(1);
        history.push(9.0, rows([1.0, 2.0]));
        history.push(9.0, rows([3.0, 5.0]));
        assert_eq!(at(&history, 9.0, 2), [3.0, 5.0]);
        // One value is no line.
        assert_eq!(at(&history, 7.0, 2), [3.0, 5.0]);
        history.push(8.0, rows([4.0, 5.0]));
        assert_eq!(at(&history, 7.0, 2), [5.0, 5.0]);
    }
}
