//! Character references of HTML in a text, as Python's `html.unescape` reads them.
//!
//! The names are those of the HTML standard. Where it and Python differ, in characters that no text should have, this is
//! Python's reading.

use htmlize::ENTITIES;

/// Longest name that is looked for, without its semicolon.
const MOST_CHARACTERS: usize = 32;

/// What Windows-1252 has at 0x80 to 0x9F; zero where it has nothing.
const WINDOWS_1252: [u32; 32] = [
    0x20ac, 0, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0, 0x017d, 0, 0,
    0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0, 0x017e, 0x0178,
];

/// `text` with its references replaced, once.
pub(crate) fn unescape(text: &str) -> String {
    let mut unescaped = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(place) = rest.find('&') {
        unescaped.push_str(&rest[..place]);
        let after = &rest[place + 1..];
        let (replacement, length) = numbered(after)
            .or_else(|| named(after))
            .unwrap_or_else(|| ("&".into(), 0));
        unescaped.push_str(&replacement);
        rest = &after[length..];
    }
    unescaped.push_str(rest);
    unescaped
}

/// `#` and a number, decimal or after `x` hexadecimal: its character, and the bytes that it takes.
fn numbered(after: &str) -> Option<(String, usize)> {
    let number = after.strip_prefix('#')?;
    let (digits, radix, before) = match number.strip_prefix(['x', 'X']) {
        Some(digits) => (digits, 16, 2),
        None => (number, 10, 1),
    };
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    let semicolon = usize::from(digits[end..].starts_with(';'));
    if end == 0 {
        return None;
    }
    // What is too large for a number is too large for a character.
    let code = u32::from_str_radix(&digits[..end], radix).unwrap_or(u32::MAX);
    Some((character(code), before + end + semicolon))
}

fn character(code: u32) -> String {
    let code = match code {
        0 => 0xfffd,
        0x80..=0x9f if WINDOWS_1252[(code - 0x80) as usize] != 0 => WINDOWS_1252[(code - 0x80) as usize],
        _ => code,
    };
    let is_none = matches!(code, 1..=8 | 0xb | 0xe..=0x1f | 0x7f | 0xfdd0..=0xfdef) || code & 0xfffe == 0xfffe;
    match char::from_u32(code) {
        Some(_) if is_none => String::new(),
        Some(character) => character.into(),
        None => char::REPLACEMENT_CHARACTER.into(),
    }
}

/// The longest name that the text begins with: what it stands for, and the bytes that it takes.
fn named(after: &str) -> Option<(String, usize)> {
    let ends = |c: char| matches!(c, '\t' | '\n' | '\u{c}' | ' ' | '<' | '&' | '#' | ';');
    let mut candidate = after
        .char_indices()
        .enumerate()
        .find(|(count, (_, c))| *count == MOST_CHARACTERS || ends(*c))
        .map_or(after.len(), |(_, (place, _))| place);
    if candidate > 0 && after[candidate..].starts_with(';') {
        candidate += 1;
    }
    let mut lengths = (2..=candidate).rev().filter(|length| after.is_char_boundary(*length));
    let expansion = |length: usize| {
        let key = format!("&{}", &after[..length]);
        let found = ENTITIES.get(key.as_bytes())?;
        Some((String::from_utf8_lossy(found).into_owned(), length))
    };
    lengths.find_map(expansion)
}
