//! Phrases in prompts: whole words, whatever their case and what stands between them.

use std::ops::Range;

/// A prompt and where its words are.
pub(crate) struct Words {
    words: Vec<(String, Range<usize>)>,
}

impl Words {
    /// Letters, digits and apostrophes make words; all else separates them.
    pub(crate) fn new(text: &str) -> Self {
        let mut words: Vec<(String, Range<usize>)> = Vec::new();
        for (at, c) in text.char_indices() {
            if !(c.is_alphanumeric() || c == '\'') {
                continue;
            }
            match words.last_mut() {
                Some((word, range)) if range.end == at => {
                    word.extend(c.to_lowercase());
                    range.end = at + c.len_utf8();
                }
                _ => words.push((c.to_lowercase().collect(), at..at + c.len_utf8())),
            }
        }
        Self { words }
    }

    pub(crate) fn len(&self) -> usize {
        self.words.len()
    }

    /// The word's place in the text.
    pub(crate) fn range(&self, index: usize) -> Range<usize> {
        self.words[index].1.clone()
    }

    /// The word before the one at `index`, and its place.
    pub(crate) fn before(&self, index: usize) -> Option<(&str, Range<usize>)> {
        let (word, range) = self.words.get(index.checked_sub(1)?)?;
        Some((word, range.clone()))
    }

    /// Whether the words of `phrase` begin at `index`.
    pub(crate) fn has_at(&self, phrase: &Words, index: usize) -> bool {
        let Some(rest) = self.words.get(index..index + phrase.len()) else {
            return false;
        };
        phrase.len() > 0 && rest.iter().zip(&phrase.words).all(|(a, b)| a.0 == b.0)
    }

    /// Whether the words of `phrase` are anywhere in the text, one after the other.
    pub(crate) fn contains(&self, phrase: &Words) -> bool {
        (0..self.len()).any(|index| self.has_at(phrase, index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_whole_words() {
        let text = Words::new("A Red-ball, in  the Blue\nsky; it's ÉTÉ");
        for phrase in ["red", "red ball", "in the blue sky", "It's été", "a"] {
            assert!(text.contains(&Words::new(phrase)), "{phrase}");
        }
        for phrase in ["re", "ball red", "sky blue", "it", "", "été encore"] {
            assert!(!text.contains(&Words::new(phrase)), "{phrase}");
        }
        assert_eq!(text.range(1), 2..5);
    }
}
