//! The weights that a prompt gives to its words, in the notation of A1111's web UI.
//!
//! `(word)` weighs 1.1 times as much, `((word))` 1.1 times that, `[word]` 1/1.1 times, `(word:1.3)` 1.3 times; brackets
//! nest and multiply. `\(`, `\)`, `\[`, `\]` and `\\` are the characters themselves. A closing bracket without an opening
//! one is text; an opening one without a closing one counts up to the end. Every string is a prompt.
//!
//! Notation: <https://github.com/AUTOMATIC1111/stable-diffusion-webui/wiki/Features#attentionemphasis>.

/// What a pair of round brackets multiplies by; square brackets divide by it.
const EMPHASIS: f32 = 1.1;
/// Weights beyond, either way, are taken as this.
const MAX_WEIGHT: f32 = 10.0;

/// A part of a prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightedText {
    /// Its text, brackets and weights left out.
    pub text: String,
    /// What its tokens' embeddings are multiplied by, -10 to 10.
    pub weight: f32,
}

impl WeightedText {
    /// A text that weighs 1.
    #[must_use]
    pub fn plain(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            weight: 1.0,
        }
    }
}

/// The parts of a prompt in order; neighbours differ in weight. Takes time linear in the prompt's length.
///
/// ```
/// use t2v_text_encoder::parse_weights;
///
/// let parts = parse_weights(r"a (red:1.3) ball \(round\)");
/// let parts: Vec<_> = parts.iter().map(|part| (part.text.as_str(), part.weight)).collect();
/// assert_eq!(parts, [("a ", 1.0), ("red", 1.3), (" ball (round)", 1.0)]);
/// ```
#[must_use]
pub fn parse_weights(prompt: &str) -> Vec<WeightedText> {
    let pieces = pieces(prompt);
    let brackets = match_brackets(&pieces);
    let (mut rounds, mut squares) = (vec![1.0], vec![1.0]);
    let mut parts: Vec<WeightedText> = Vec::new();
    for (piece, bracket) in pieces.iter().zip(brackets) {
        let depths = match piece.kind {
            Kind::OpenSquare | Kind::CloseSquare => &mut squares,
            _ => &mut rounds,
        };
        match bracket {
            Bracket::Opens(factor) => {
                depths.push(clamp(top(depths) * factor));
                continue;
            }
            Bracket::Closes => {
                depths.pop();
                continue;
            }
            Bracket::None => {}
        }
        let weight = clamp(top(&rounds) * top(&squares));
        match parts.last_mut() {
            Some(last) if last.weight == weight => last.text.push_str(piece.text),
            _ => parts.push(WeightedText {
                text: piece.text.into(),
                weight,
            }),
        }
    }
    if parts.is_empty() {
        parts.push(WeightedText::plain(""));
    }
    parts
}

/// A stretch of the prompt; the text is what it stands for where it is no bracket.
struct Piece<'a> {
    kind: Kind,
    text: &'a str,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    OpenRound,
    OpenSquare,
    /// With the weight of `:1.3)`.
    CloseRound(Option<f32>),
    CloseSquare,
}

/// What a piece does to the weight of those after it.
#[derive(Clone, Copy)]
enum Bracket {
    None,
    Opens(f32),
    Closes,
}

fn pieces(prompt: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = prompt;
    while let Some(first) = rest.chars().next() {
        let (kind, text, len) = match first {
            '(' => (Kind::OpenRound, &rest[..1], 1),
            '[' => (Kind::OpenSquare, &rest[..1], 1),
            ')' => (Kind::CloseRound(None), &rest[..1], 1),
            ']' => (Kind::CloseSquare, &rest[..1], 1),
            '\\' if rest[1..].starts_with(['(', ')', '[', ']', '\\']) => (Kind::Text, &rest[1..2], 2),
            ':' => match closing_weight(rest) {
                Some((weight, len)) => (Kind::CloseRound(Some(weight)), &rest[..len], len),
                None => (Kind::Text, &rest[..1], 1),
            },
            _ => {
                let skip = first.len_utf8();
                let len = rest[skip..].find(['(', ')', '[', ']', '\\', ':']);
                let len = len.map_or(rest.len(), |at| at + skip);
                (Kind::Text, &rest[..len], len)
            }
        };
        pieces.push(Piece { kind, text });
        rest = &rest[len..];
    }
    pieces
}

/// The weight at the start of `: 1.3)` and so on, and how many bytes it takes.
fn closing_weight(text: &str) -> Option<(f32, usize)> {
    let number = text.strip_prefix(':')?.trim_start();
    let sign = number.strip_prefix(['+', '-']).unwrap_or(number);
    let after = sign.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let weight = number[..number.len() - after.len()].parse().ok()?;
    let rest = after.trim_start().strip_prefix(')')?;
    Some((weight, text.len() - rest.len()))
}

fn match_brackets(pieces: &[Piece<'_>]) -> Vec<Bracket> {
    let mut brackets = vec![Bracket::None; pieces.len()];
    let (mut rounds, mut squares) = (Vec::new(), Vec::new());
    for (i, piece) in pieces.iter().enumerate() {
        let (opening, factor) = match piece.kind {
            Kind::Text => continue,
            Kind::OpenRound => {
                rounds.push(i);
                continue;
            }
            Kind::OpenSquare => {
                squares.push(i);
                continue;
            }
            Kind::CloseRound(weight) => (rounds.pop(), weight.unwrap_or(EMPHASIS)),
            Kind::CloseSquare => (squares.pop(), 1.0 / EMPHASIS),
        };
        if let Some(opening) = opening {
            brackets[opening] = Bracket::Opens(factor);
            brackets[i] = Bracket::Closes;
        }
    }
    for opening in rounds {
        brackets[opening] = Bracket::Opens(EMPHASIS);
    }
    for opening in squares {
        brackets[opening] = Bracket::Opens(1.0 / EMPHASIS);
    }
    brackets
}

fn top(depths: &[f32]) -> f32 {
    depths.last().copied().unwrap_or(1.0)
}

fn clamp(weight: f32) -> f32 {
    weight.clamp(-MAX_WEIGHT, MAX_WEIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(prompt: &str) -> Vec<(String, f32)> {
        let parts = parse_weights(prompt);
        parts.into_iter().map(|part| (part.text, part.weight)).collect()
    }

    #[track_caller]
    fn check(prompt: &str, expected: &[(&str, f32)]) {
        let parts = parse(prompt);
        let texts: Vec<&str> = parts.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(
            texts,
            expected.iter().map(|(text, _)| *text).collect::<Vec<_>>(),
            "{prompt}"
        );
        for ((_, weight), (_, expected)) in parts.iter().zip(expected) {
            assert!((weight - expected).abs() < 1e-5, "{prompt}: {parts:?}");
        }
    }

    #[test]
    fn brackets_weigh() {
        check("a red ball", &[("a red ball", 1.0)]);
        check("a (red) ball", &[("a ", 1.0), ("red", 1.1), (" ball", 1.0)]);
        check("((red)) [ball]", &[("red", 1.21), (" ", 1.0), ("ball", 1.0 / 1.1)]);
        check("(red:1.3)", &[("red", 1.3)]);
        check("(red : 0.5 ) x", &[("red ", 0.5), (" x", 1.0)]);
        check("(a (b:2):1.5)", &[("a ", 1.5), ("b", 3.0)]);
        check("(a:-1)(b:+2)(c:.5)", &[("a", -1.0), ("b", 2.0), ("c", 0.5)]);
        check("(a[b)c]", &[("a", 1.1), ("b", 1.0), ("c", 1.0 / 1.1)]);
    }

    #[test]
    fn what_is_no_bracket_is_text() {
        check("", &[("", 1.0)]);
        check("()[]", &[("", 1.0)]);
        check(r"\(a\) \[b\] c\\d e\f", &[(r"(a) [b] c\d e\f", 1.0)]);
        check("a) b] (c", &[("a) b] ", 1.0), ("c", 1.1)]);
        check("a: 16:9 x:1.5)", &[("a: 16:9 x:1.5)", 1.0)]);
        check("(a:1.2.3)", &[("a:1.2.3", 1.1)]);
        check("(16:9 film)", &[("16:9 film", 1.1)]);
        check("[a:0.5]", &[("a:0.5", 1.0 / 1.1)]);
    }

    /// Strings over the alphabet of the notation, by a linear congruential generator.
    fn random_prompt(seed: u64) -> String {
        let alphabet = [
            "(", ")", "[", "]", ":", "\\", "1.3", "-", ".", " ", "a", "é", "😀", "\n", ":1.2)", "e9",
        ];
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        (0..next() % 40).map(|_| alphabet[next() % alphabet.len()]).collect()
    }

    #[test]
    fn every_string_is_a_prompt() {
        for seed in 0..20_000 {
            let prompt = random_prompt(seed);
            let parts = parse_weights(&prompt);
            assert!(!parts.is_empty(), "{prompt:?}");
            assert!(
                parts.iter().all(|part| part.weight.abs() <= MAX_WEIGHT),
                "{prompt:?}: {parts:?}"
            );
            assert!(
                parts.windows(2).all(|pair| pair[0].weight != pair[1].weight),
                "{prompt:?}"
            );
            // What is no bracket, colon, weight or backslash survives, in order.
            let letters = |text: &str| text.chars().filter(|c| "aé😀".contains(*c)).collect::<String>();
            let kept: String = parts.iter().map(|part| part.text.as_str()).collect();
            assert_eq!(letters(&kept), letters(&prompt), "{prompt:?}");
        }
    }

    #[test]
    fn escaping_keeps_any_text() {
        for seed in 0..5_000 {
            let text = random_prompt(seed);
            let escape = |c: char| match c {
                '(' | ')' | '[' | ']' | '\\' => format!("\\{c}"),
                c => c.to_string(),
            };
            let escaped: String = text.chars().map(escape).collect();
            assert_eq!(parse(&escaped), [(text, 1.0)], "{escaped:?}");
        }
    }

    #[test]
    fn deep_and_long_prompts_are_quick() {
        for prompt in [
            "(".repeat(200_000),
            "(a".repeat(200_000),
            "[".repeat(200_000) + "a",
            ":".repeat(200_000),
        ] {
            assert!(parse_weights(&prompt).iter().all(|part| part.weight.is_finite()));
        }
        check(&format!("{}a{}", "(".repeat(99), ")".repeat(99)), &[("a", MAX_WEIGHT)]);
    }
}
