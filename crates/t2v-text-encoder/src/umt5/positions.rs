//! Relative positions, of which near ones are told apart exactly and far ones by their logarithm
//! ([Raffel et al., 2019](https://arxiv.org/abs/1910.10683)).

use super::Umt5Config;

/// Which row of a table of biases a distance between tokens has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Buckets {
    /// Rows for each direction.
    each: usize,
    /// The distance from which on all have the last row.
    most: usize,
}

impl Buckets {
    pub(super) fn new(config: &Umt5Config) -> Self {
        Self {
            each: config.relative_attention_num_buckets / 2,
            most: config.relative_attention_max_distance,
        }
    }

    /// The rows of all pairs of so many tokens: of each query in turn, those of its keys.
    pub(super) fn of_pairs(self, tokens: usize) -> Vec<i64> {
        let pairs = (0..tokens).flat_map(|query| (0..tokens).map(move |key| (query, key)));
        pairs.map(|(query, key)| self.row(query, key) as i64).collect()
    }

    fn row(self, query: usize, key: usize) -> usize {
        let row = self.of_distance(query.abs_diff(key));
        if key > query { self.each + row } else { row }
    }

    /// In f32, as torch does, where a distance lies between two rows.
    fn of_distance(self, distance: usize) -> usize {
        let exact = self.each / 2;
        if distance < exact {
            return distance;
        }
        let ratio = (distance as f32 / exact as f32).ln() / (self.most as f64 / exact as f64).ln() as f32;
        let row = exact + (ratio * (self.each - exact) as f32) as usize;
        row.min(self.each - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_distances_have_rows_of_their_own_and_far_ones_share() {
        let buckets = Buckets { each: 16, most: 128 };
        let rows: Vec<usize> = [0, 1, 7, 8, 11, 12, 16, 64, 90, 91, 127, 128, 500]
            .map(|distance| buckets.of_distance(distance))
            .into();
        assert_eq!(rows, [0, 1, 7, 8, 8, 9, 10, 14, 14, 15, 15, 15, 15]);
    }

    #[test]
    fn later_tokens_have_the_second_half() {
        let buckets = Buckets { each: 16, most: 128 };
        assert_eq!(buckets.of_pairs(3), [0, 17, 18, 1, 0, 17, 2, 1, 0]);
    }
}
