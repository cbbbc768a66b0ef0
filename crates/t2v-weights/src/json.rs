//! JSON files as Python writes them, and typed values out of them: an error names the key at fault.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::WeightsError;

/// What Rust's number types are called in messages.
const NUMBERS: [(&str, &str); 6] = [
    ("usize", "a whole number of at least 0"),
    ("u64", "a whole number of at least 0"),
    ("u32", "a whole number of at least 0"),
    ("i64", "a whole number"),
    ("f64", "a number"),
    ("f32", "a number"),
];

/// A JSON object as Python writes it: it may hold `-Infinity`, `Infinity` and `NaN`, which become strings.
///
/// `file` is its name for error messages.
///
/// # Errors
/// What was read is no JSON object.
pub fn parse_json(file: &str, bytes: &[u8]) -> Result<Map<String, Value>, WeightsError> {
    let fault = |e: &dyn std::fmt::Display| WeightsError::Config {
        file: file.into(),
        reason: format!("not a JSON object: {e}"),
    };
    let bytes = without_mark(bytes);
    if let [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] = bytes {
        return Err(fault(&"it is in UTF-16; save it as UTF-8"));
    }
    serde_json::from_slice(bytes).or_else(|error| {
        let text = std::str::from_utf8(bytes).map_err(|e| fault(&e))?;
        serde_json::from_str(&quote_python_numbers(text)).map_err(|_| fault(&error))
    })
}

/// Without the byte order mark that some editors put in front of UTF-8.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}

/// The object as a `T`.
pub(crate) fn from_map<T: DeserializeOwned>(file: &str, json: Map<String, Value>) -> Result<T, WeightsError> {
    serde_path_to_error::deserialize(Value::Object(json)).map_err(|e| config_error(file, &e))
}

/// A JSON text as Python writes it as a `T`; errors have its lines.
pub(crate) fn from_slice<T: DeserializeOwned>(file: &str, bytes: &[u8]) -> Result<T, WeightsError> {
    let bytes = without_mark(bytes);
    if bytes
        .iter()
        .find(|byte| !byte.is_ascii_whitespace())
        .is_some_and(|byte| *byte != b'{')
    {
        return Err(WeightsError::Config {
            file: file.into(),
            reason: "not a JSON object".into(),
        });
    }
    strictly_from_slice(file, bytes).or_else(|error| {
        let text = std::str::from_utf8(bytes).map(quote_python_numbers);
        let quoted = text
            .ok()
            .and_then(|text| strictly_from_slice(file, text.as_bytes()).ok());
        quoted.ok_or(error)
    })
}

fn strictly_from_slice<T: DeserializeOwned>(file: &str, bytes: &[u8]) -> Result<T, WeightsError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|e| config_error(file, &e))?;
    reader.end().map_err(|e| WeightsError::Config {
        file: file.into(),
        reason: e.to_string(),
    })?;
    Ok(value)
}

fn config_error(file: &str, error: &serde_path_to_error::Error<serde_json::Error>) -> WeightsError {
    let message = in_plain_words(&error.inner().to_string());
    let path = error.path().to_string();
    let reason = match path.as_str() {
        "." | "?" => message,
        path => format!("`{path}`: {message}"),
    };
    WeightsError::Config {
        file: file.into(),
        reason,
    }
}

fn in_plain_words(message: &str) -> String {
    NUMBERS.iter().fold(message.to_string(), |message, (number, words)| {
        message.replace(&format!("expected {number}"), &format!("expected {words}"))
    })
}

fn quote_python_numbers(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let number = ["-Infinity", "Infinity", "NaN"]
            .into_iter()
            .find(|n| rest.starts_with(n));
        match number {
            Some(number) if !in_string => {
                quoted.push_str(&format!("\"{number}\""));
                rest = &rest[number.len()..];
                continue;
            }
            _ => {}
        }
        in_string ^= c == '"' && !escaped;
        escaped = in_string && c == '\\' && !escaped;
        quoted.push(c);
        rest = &rest[c.len_utf8()..];
    }
    quoted
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[test]
    fn python_numbers_become_strings() {
        let text = br#"{"a": -Infinity, "b": [NaN, Infinity], "c": "NaN \" -Infinity", "d": 1}"#;
        let map = parse_json("x.json", text).unwrap();
        assert_eq!(map["a"], "-Infinity");
        assert_eq!(map["b"], serde_json::json!(["NaN", "Infinity"]));
        assert_eq!(map["c"], "NaN \" -Infinity");
        assert_eq!(map["d"], 1);
        assert_eq!(parse_json("x.json", b"\xEF\xBB\xBF{\"a\": 1}").unwrap()["a"], 1);
        let wide: Vec<u8> = "\u{feff}{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let message = parse_json("x.json", &wide).unwrap_err().to_string();
        assert!(message.contains("UTF-8"), "{message}");
        for list in [&b"[4, 30]"[..], b"5", b" []"] {
            let message = from_slice::<Sizes>("x.json", list).unwrap_err().to_string();
            assert!(message.contains("not a JSON object"), "{message}");
        }
        let message = parse_json("x.json", b"{,}").unwrap_err().to_string();
        assert!(message.contains("x.json"), "{message}");
    }

    #[test]
    fn python_numbers_may_be_beside_what_is_read() {
        #[derive(Deserialize)]
        struct Schedule {
            steps: usize,
        }
        let text = br#"{"lambda_min_clipped": -Infinity, "steps": 4}"#;
        assert_eq!(from_slice::<Schedule>("x.json", text).unwrap().steps, 4);
        let message = from_slice::<Sizes>("x.json", b"{\"eps\": NaN}").unwrap_err();
        assert!(message.to_string().contains("x.json"), "{message}");
    }

    #[derive(Debug, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    #[derive(Default)]
    #[allow(dead_code)]
    struct Sizes {
        heads: usize,
        channels: Vec<usize>,
        eps: f64,
    }

    #[test]
    fn errors_name_the_key_and_what_is_allowed() {
        for (value, parts) in [
            (
                json!({"heads": [4, 4]}),
                ["`heads`", "expected a whole number of at least 0"],
            ),
            (
                json!({"heads": -1}),
                ["`heads`", "expected a whole number of at least 0"],
            ),
            (
                json!({"channels": [8, "x"]}),
                ["`channels[1]`", "expected a whole number of at least 0"],
            ),
            (json!({"eps": null}), ["`eps`", "expected a number"]),
            (
                json!({"hads": 4}),
                ["`hads`", "expected one of `heads`, `channels`, `eps`"],
            ),
        ] {
            let text = value.to_string();
            let Value::Object(map) = value else { unreachable!() };
            let from_map = from_map::<Sizes>("config.json", map).unwrap_err().to_string();
            let from_slice = from_slice::<Sizes>("config.json", text.as_bytes())
                .unwrap_err()
                .to_string();
            for part in parts.iter().chain(&["`config.json`"]) {
                assert!(from_map.contains(part), "`{part}` is not in: {from_map}");
                assert!(from_slice.contains(part), "`{part}` is not in: {from_slice}");
            }
        }
        let message = from_slice::<Sizes>("config.json", b"{} {}").unwrap_err().to_string();
        assert!(message.contains("trailing"), "{message}");
    }
}
