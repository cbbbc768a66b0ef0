//! Prompts as Wan's pipeline cleans them (`prompt_clean` in `diffusers/pipelines/wan/pipeline_wan.py`).
//!
//! diffusers repairs texts with the Python package ftfy first where that is installed, and works without it; this follows what
//! it does without. Of what ftfy repairs, the tokenizer of UMT5 replaces ligatures and wide letters itself (NFKC); text that
//! was decoded in a wrong encoding stays as it is given, and so do curly quotes.

use crate::html::unescape;

/// A prompt with HTML's references replaced twice, and white space in it made single spaces.
#[must_use]
pub fn clean_prompt(prompt: &str) -> String {
    let text = unescape(&unescape(prompt));
    let text = text.trim_matches(is_space);
    let mut cleaned = String::with_capacity(text.len());
    let mut words = text.split(char::is_whitespace).filter(|word| !word.is_empty());
    if let Some(first) = words.next() {
        cleaned.push_str(first);
    }
    for word in words {
        cleaned.push(' ');
        cleaned.push_str(word);
    }
    cleaned.trim_matches(is_space).to_owned()
}

/// What Python's `str.strip` takes off: white space, and four control characters that separate files, groups, records and units.
fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}
