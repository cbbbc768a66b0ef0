//! Texts continued by drawing one token after the other: top-k sampling
//! ([Fan et al., 2018](https://arxiv.org/abs/1805.04833)).

use super::Gpt2;
use crate::TextEncoderError;

/// How a text is continued.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Logits are divided by it: small values make likely tokens likelier; at least 0.01.
    pub temperature: f32,
    /// Only as many of the likeliest tokens are drawn from, at least 1, which is always the likeliest.
    pub top_k: usize,
    /// Most tokens to add.
    pub max_new_tokens: usize,
    /// The same seed continues the same text in the same way.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.8,
            top_k: 40,
            max_new_tokens: 40,
            seed: 0,
        }
    }
}

impl Gpt2 {
    /// What comes after `text`, up to the end of a line, the model's end of a text, or its longest sequence. An empty text
    /// is not continued.
    ///
    /// # Errors
    /// As for [`encode`](Self::encode).
    pub fn complete(&self, text: &str, sampling: &Sampling) -> Result<String, TextEncoderError> {
        let mut tokens = self.encode(text)?;
        let given = tokens.len();
        let mut random = SplitMix64(sampling.seed);
        let most = given
            .saturating_add(sampling.max_new_tokens)
            .min(self.config.n_positions);
        while given > 0 && tokens.len() < most {
            let token = draw(&self.next_logits(&tokens), sampling, random.uniform());
            if Some(token) == self.tokenizer.end() {
                break;
            }
            tokens.push(token);
            if self.tokenizer.decode(&tokens[tokens.len() - 1..])?.contains('\n') {
                break;
            }
        }
        let added = self.tokenizer.decode(&tokens[given..])?;
        Ok(added.lines().next().unwrap_or_default().to_string())
    }
}

/// One of the `top_k` likeliest tokens; `uniform`, of `[0, 1)`, says which. Of equally likely ones the lesser counts first.
fn draw(logits: &[f32], sampling: &Sampling, uniform: f64) -> u32 {
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    let logit = |id: &u32| logits[*id as usize];
    order.sort_by(|a, b| logit(b).total_cmp(&logit(a)).then(a.cmp(b)));
    order.truncate(sampling.top_k.max(1));
    let temperature = f64::from(sampling.temperature.max(0.01));
    let best = order.first().map_or(0.0, |id| f64::from(logit(id)));
    let weights = order
        .iter()
        .map(|id| ((f64::from(logit(id)) - best) / temperature).exp());
    let weights: Vec<f64> = weights.collect();
    let mut rest = uniform * weights.iter().sum::<f64>();
    for (id, weight) in order.iter().zip(&weights) {
        if rest < *weight {
            return *id;
        }
        rest -= weight;
    }
    order.first().copied().unwrap_or(0)
}

/// The generator of Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
struct SplitMix64(u64);

impl SplitMix64 {
    /// The next value of `[0, 1)`.
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_distribution() {
        let sampling = Sampling {
            temperature: 0.5,
            top_k: 3,
            ..Sampling::default()
        };
        // Ratios of 1 to e^-1 to e^-2 at a temperature of 0.5; the last token is beyond the top three.
        let logits = [-0.5, 0.5, 0.0, -4.0];
        let mut counts = [0.0f64; 4];
        let mut random = SplitMix64(7);
        for _ in 0..20_000 {
            counts[draw(&logits, &sampling, random.uniform()) as usize] += 1.0;
        }
        assert_eq!(counts[3], 0.0);
        for (i, expected) in [(0, (-2.0f64).exp()), (2, (-1.0f64).exp())] {
            let ratio = counts[i] / counts[1];
            assert!((ratio - expected).abs() < 0.02, "{i}: {ratio} instead of {expected}");
        }
    }

    #[test]
    fn the_likeliest_is_drawn_from_one() {
        let greedy = Sampling {
            top_k: 0,
            temperature: 0.0,
            ..Sampling::default()
        };
        for uniform in [0.0, 0.5, 1.0 - f64::EPSILON] {
            assert_eq!(draw(&[0.5, 2.0, 2.0, -1.0], &greedy, uniform), 1);
        }
    }

    /// The first outputs of the reference implementation for the seed 1234567.
    #[test]
    fn random_numbers_are_those_of_splitmix64() {
        let mut random = SplitMix64(1_234_567);
        for expected in [6_457_827_717_110_365_317u64, 3_203_168_211_198_807_973] {
            let expected = (expected >> 11) as f64 / (1u64 << 53) as f64;
            assert_eq!(random.uniform(), expected);
        }
    }
}
