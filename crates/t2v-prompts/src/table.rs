//! The enhancer that is built in: a table of what a prompt may lack, and words for it.

use std::path::Path;

use serde::Deserialize;
use t2v_weights::ModelFolder;

use crate::{Prompt, PromptContext, PromptEnhancer, PromptError, phrases::Words};

/// The file of a model folder that completes prompts in that model's words, an extension of the diffusers layout.
const FILE: &str = "t2v_prompts.json";
/// For models that were trained on captions of all kinds.
const BUILT_IN: &str = include_str!("prompts.json");

/// Completes prompts from a table in JSON.
///
/// A table lists *slots*: things that a prompt should say, such as the light. A slot is filled if the prompt has one of
/// its `terms` or `cues`, which are phrases of whole words; where phrases of several slots overlap the longest counts.
/// Slots that are not filled get one of their terms, one slot after the other, as long as the prompt fits the text
/// encoder. Which term depends on the prompt alone, and a term that the prompt has already is never taken.
///
/// ```
/// let table = t2v_prompts::PromptTable::from_json(
///     r#"{
///         "negative_prompt": "blurry",
///         "slots": [
///             {"name": "colour", "terms": ["red", "blue"], "cues": ["black"], "place": "before", "anchor": "thing"},
///             {"name": "thing", "cues": ["ball", "star"]},
///             {"name": "light", "terms": ["at night"], "place": "end", "separator": ", "}
///         ]
///     }"#,
/// )?;
/// # Ok::<(), t2v_prompts::PromptError>(())
/// ```
///
/// | key of a slot | meaning | if absent |
/// | --- | --- | --- |
/// | `name` | what other slots call it | required |
/// | `terms` | what to complete with | none: the slot is never completed |
/// | `cues` | more phrases that show it is filled | none |
/// | `anchor` | a slot that must be filled, or this one is not completed | none |
/// | `place` | `before` or `after` the anchor's phrase, or at the `end` of the prompt | `end` |
/// | `separator` | what comes between | a space |
///
/// `negative_prompt` is used where a request has none.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptTable {
    #[serde(default)]
    negative_prompt: Option<String>,
    slots: Vec<Slot>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Slot {
    name: String,
    #[serde(default)]
    terms: Vec<String>,
    #[serde(default)]
    cues: Vec<String>,
    #[serde(default)]
    anchor: Option<String>,
    #[serde(default)]
    place: Place,
    #[serde(default = "space")]
    separator: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Place {
    Before,
    After,
    #[default]
    End,
}

fn space() -> String {
    " ".into()
}

impl PromptTable {
    /// The table for models that know words of all kinds: style, camera, light and quality, and a negative prompt.
    ///
    /// # Errors
    /// None: the table is a part of this crate.
    pub fn built_in() -> Result<Self, PromptError> {
        Self::from_json(BUILT_IN)
    }

    /// A table from its JSON text.
    ///
    /// # Errors
    /// Text that is no table, or a slot whose anchor or terms can't be used.
    pub fn from_json(json: &str) -> Result<Self, PromptError> {
        Self::parse("the table", json)
    }

    /// A table from a JSON file.
    ///
    /// # Errors
    /// The file can't be read, or as for [`from_json`](Self::from_json).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, PromptError> {
        let file = path.as_ref().display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&file, &text),
            Err(error) => Err(fault(&file, error)),
        }
    }

    fn parse(file: &str, json: &str) -> Result<Self, PromptError> {
        let table: Self = serde_json::from_str(json).map_err(|e| fault(file, e))?;
        table.checked().map_err(|e| fault(file, e))
    }

    /// The table that a checkpoint brings, where it brings one.
    pub fn read(folder: &ModelFolder) -> Result<Option<Self>, PromptError> {
        let Some(table) = folder.optional_config::<Self>(FILE)? else {
            return Ok(None);
        };
        table.checked().map(Some).map_err(|e| fault(FILE, e))
    }

    fn checked(self) -> Result<Self, String> {
        for slot in &self.slots {
            let name = &slot.name;
            let known = |anchor: &String| self.slots.iter().any(|slot| slot.name == *anchor);
            match &slot.anchor {
                Some(anchor) if !known(anchor) => {
                    return Err(format!(
                        "the `anchor` of slot `{name}` is `{anchor}`, which is no slot's `name`"
                    ));
                }
                None if slot.place != Place::End => {
                    return Err(format!(
                        "slot `{name}` has a `place` but no `anchor`; name the slot it goes beside"
                    ));
                }
                _ => {}
            }
            let mut phrases = slot.terms.iter().chain(&slot.cues);
            if let Some(empty) = phrases.find(|phrase| Words::new(phrase).len() == 0) {
                return Err(format!("slot `{name}` has the phrase `{empty}`, which holds no word"));
            }
        }
        Ok(self)
    }
}

impl PromptEnhancer for PromptTable {
    /// Completes the prompt slot by slot; an empty prompt asks for nothing and is left alone.
    fn enhance(&self, prompt: &Prompt, context: &PromptContext<'_>) -> Result<Prompt, PromptError> {
        let mut enhanced = prompt.clone();
        if enhanced.negative_prompt.is_none() {
            enhanced.negative_prompt = self.fitting_negative_prompt(context)?;
        }
        enhanced.prompt = self.completed(&prompt.prompt, |text| context.fits(text))?;
        Ok(enhanced)
    }
}

impl PromptTable {
    /// As many of the negative prompt's parts, from comma to comma, as the text encoder takes.
    fn fitting_negative_prompt(&self, context: &PromptContext<'_>) -> Result<Option<String>, PromptError> {
        let Some(mut text) = self.negative_prompt.as_deref() else {
            return Ok(None);
        };
        while !context.fits(text)? {
            match text.rsplit_once(',') {
                Some((shorter, _)) => text = shorter,
                None => return Ok(None),
            }
        }
        Ok(Some(text.to_string()))
    }

    /// The prompt with a term for each slot that it does not fill, as long as it `fits`.
    pub(super) fn completed(
        &self,
        prompt: &str,
        fits: impl Fn(&str) -> Result<bool, PromptError>,
    ) -> Result<String, PromptError> {
        let mut text = prompt.to_string();
        if Words::new(prompt).len() == 0 {
            return Ok(text);
        }
        for slot in &self.slots {
            if let Some(longer) = self.complete(slot, prompt, &text)
                && fits(&longer)?
            {
                text = longer;
            }
        }
        Ok(text)
    }

    /// `text` with a term for `slot`, or `None` where it is filled or can't be.
    fn complete(&self, slot: &Slot, original: &str, text: &str) -> Option<String> {
        let words = Words::new(text);
        let found = self.find(&words);
        let filled = |name: &str| found.iter().find(|(slot, ..)| *slot == name);
        if filled(&slot.name).is_some() {
            return None;
        }
        let anchor = match &slot.anchor {
            Some(anchor) => Some(filled(anchor)?),
            None => None,
        };
        let term = choose(slot, original, &words)?;
        match (slot.place, anchor) {
            (Place::Before, Some((_, first, _))) => Some(insert_before(text, &words, *first, term, &slot.separator)),
            (Place::After, Some((_, first, len))) => {
                let (before, after) = text.split_at(words.range(first + len - 1).end);
                Some(format!("{before}{}{term}{after}", slot.separator))
            }
            _ => {
                let text = text.trim_end().trim_end_matches([',', '.', ';']);
                Some(format!("{text}{}{term}", slot.separator))
            }
        }
    }

    /// The phrases of slots in a prompt: slot, first word, number of words. The longest phrase at a word counts.
    fn find(&self, words: &Words) -> Vec<(&str, usize, usize)> {
        let mut found = Vec::new();
        let mut index = 0;
        while index < words.len() {
            let phrases = self.slots.iter().flat_map(|slot| {
                let phrases = slot.terms.iter().chain(&slot.cues).map(|phrase| Words::new(phrase));
                phrases.map(|phrase| (slot.name.as_str(), phrase))
            });
            let here = phrases.filter(|(_, phrase)| words.has_at(phrase, index));
            match here.max_by_key(|(_, phrase)| phrase.len()) {
                Some((slot, phrase)) => {
                    found.push((slot, index, phrase.len()));
                    index += phrase.len();
                }
                None => index += 1,
            }
        }
        found
    }
}

fn fault(file: &str, reason: impl ToString) -> PromptError {
    PromptError::Table {
        file: file.into(),
        reason: reason.to_string(),
    }
}

/// A term that the prompt does not have yet; the first to try follows from the prompt as it was given.
fn choose<'a>(slot: &'a Slot, prompt: &str, words: &Words) -> Option<&'a str> {
    let start = hash(&[&slot.name, prompt.trim()]) % slot.terms.len().max(1);
    let (after, before) = slot.terms.split_at(start.min(slot.terms.len()));
    let mut terms = before.iter().chain(after);
    terms
        .find(|term| !words.contains(&Words::new(term)))
        .map(String::as_str)
}

/// The term before the word at `index`, with the article that goes with it.
fn insert_before(text: &str, words: &Words, index: usize, term: &str, separator: &str) -> String {
    let at = words.range(index).start;
    let (mut before, after) = (text[..at].to_string(), &text[at..]);
    if let Some((article @ ("a" | "an"), range)) = words.before(index)
        && text[range.end..at].chars().all(char::is_whitespace)
    {
        let fitting = match term.starts_with(['a', 'e', 'i', 'o', 'u']) {
            true => "an",
            false => "a",
        };
        if article != fitting {
            before.replace_range(range.start + 1..range.end, &fitting[1..]);
        }
    }
    format!("{before}{term}{separator}{after}")
}

/// 32-bit FNV-1a of the texts, a zero byte between them.
fn hash(texts: &[&str]) -> usize {
    let mut hash: u32 = 0x811c_9dc5;
    for byte in texts.join("\0").bytes() {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    hash as usize
}
