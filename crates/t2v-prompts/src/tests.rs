//! What tables make of prompts.

use crate::PromptTable;

const TABLE: &str = r#"{
    "slots": [
        {"name": "thing", "cues": ["ball", "star"]},
        {"name": "colour", "terms": ["orange", "blue"], "cues": ["black"], "place": "before", "anchor": "thing"},
        {"name": "motion", "terms": ["rising"], "place": "after", "anchor": "thing"},
        {"name": "scene", "terms": ["in a blue sky", "on a black floor"], "anchor": "thing"},
        {"name": "quality", "terms": ["sharp"], "cues": ["hd"], "separator": ", "}
    ]
}"#;

fn complete(table: &PromptTable, prompt: &str) -> String {
    table.completed(prompt, |_| Ok(true)).unwrap()
}

#[test]
fn what_is_missing_is_added_where_it_belongs() {
    let table = PromptTable::from_json(TABLE).unwrap();
    for (prompt, expected) in [
        // A phrase of several words is no single word: there is no colour here yet, but blue is said already.
        ("a ball in a blue sky", "an orange ball rising in a blue sky, sharp"),
        ("An Orange STAR, hd", "An Orange STAR rising, hd in a blue sky"),
        (
            "an  orange  ball rising on a black floor.",
            "an  orange  ball rising on a black floor, sharp",
        ),
        (
            "a blue ball rising on a black floor; HD",
            "a blue ball rising on a black floor; HD",
        ),
        ("a bald man", "a bald man, sharp"),
        ("", ""),
        (" ?! ", " ?! "),
    ] {
        let completed = complete(&table, prompt);
        let scenes = ["in a blue sky", "on a black floor"];
        let swapped = expected.replace(scenes[0], scenes[1]);
        assert!(
            completed == expected || completed == swapped,
            "{prompt:?}: {completed:?}"
        );
        // Completing again changes nothing.
        assert_eq!(complete(&table, &completed), completed);
    }
}

#[test]
fn articles_agree() {
    let table = PromptTable::from_json(TABLE).unwrap();
    assert_eq!(
        complete(&table, "a ball rising in a blue sky, hd"),
        "an orange ball rising in a blue sky, hd"
    );
    assert_eq!(
        complete(&table, "an orange, an ball rising on a black floor hd"),
        "an orange, an ball rising on a black floor hd"
    );
    let blue = TABLE.replace("\"orange\", ", "");
    let table = PromptTable::from_json(&blue).unwrap();
    assert_eq!(
        complete(&table, "an ball rising on a black floor, hd"),
        "a blue ball rising on a black floor, hd"
    );
}

#[test]
fn nothing_is_added_beyond_the_limit() {
    let table = PromptTable::from_json(TABLE).unwrap();
    for limit in 0..60 {
        let completed = table.completed("a ball", |text| Ok(text.len() <= limit)).unwrap();
        assert!(
            completed == "a ball" || completed.len() <= limit,
            "{limit}: {completed}"
        );
    }
}

#[test]
fn the_built_in_table_adds_each_thing_once() {
    let table = PromptTable::built_in().unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for prompt in [
        "a dog running",
        "a cat on the roof",
        "two people dance",
        "a red car",
        "waves",
        "a robot",
        "the sea",
    ] {
        let completed = complete(&table, prompt);
        assert_eq!(completed.matches(", ").count(), 5, "{completed}");
        assert_eq!(complete(&table, &completed), completed);
        seen.insert(completed[prompt.len()..].to_string());
    }
    assert!(seen.len() > 3, "all prompts are completed alike: {seen:?}");
    let full = "an oil painting, aerial shot of a castle at night, highly detailed";
    assert_eq!(complete(&table, full), full);
}

#[test]
fn tables_with_faults_are_refused_by_name() {
    for (table, part) in [
        ("[1", "line 1"),
        (r#"{"slots": [{"terms": ["a"]}]}"#, "`name`"),
        (r#"{"slots": [{"name": "x", "terms": ["?"]}]}"#, "`?`"),
        (
            r#"{"slots": [{"name": "x", "terms": ["a"], "place": "before"}]}"#,
            "`anchor`",
        ),
        (
            r#"{"slots": [{"name": "x", "terms": ["a"], "place": "inside"}]}"#,
            "inside",
        ),
        (r#"{"slots": [{"name": "x", "anchor": "y"}]}"#, "`y`"),
    ] {
        let message = PromptTable::from_json(table).unwrap_err().to_string();
        assert!(message.contains(part) && message.contains("prompt table"), "{message}");
    }
}

mod tiny_world {
    use t2v_text_encoder::ClipTokenizer;
    use t2v_weights::ModelFolder;

    use super::*;
    use crate::phrases::Words;

    fn folder() -> ModelFolder {
        ModelFolder::embedded("tiny-world", t2v_tiny_world::FILES).unwrap()
    }

    fn table() -> PromptTable {
        PromptTable::read(&folder()).unwrap().unwrap()
    }

    #[test]
    fn prompts_are_completed_in_its_own_words() {
        let table = &table();
        let tokenizer = ClipTokenizer::from_component(&folder().component("tokenizer").unwrap(), 24).unwrap();
        for prompt in [
            "a ball",
            "star at night",
            "over the sea, a ring is spinning",
            "a video of a white heart",
            "an diamond",
            "a crimson sphere",
            "a hoop rotating above the ocean",
        ] {
            let completed = complete(table, prompt);
            assert_ne!(completed, prompt);
            assert_eq!(complete(table, &completed), completed);
            // One token a word: no word is spelt out.
            let words = Words::new(&completed).len() + completed.matches(',').count();
            assert_eq!(tokenizer.count(&completed).unwrap(), words, "{completed}");
            assert!(words <= tokenizer.room(), "{completed}");
        }
    }

    #[test]
    fn whole_prompts_and_prompts_without_a_shape_are_left_alone() {
        let table = &table();
        for prompt in [
            "a red ball bouncing in a blue sky",
            "over the sea, a pink heart is growing",
            "a video of a white ring spinning at night",
            "in the snow",
            "a cat on a roof",
            "a violet gem descends at night",
            "an orange triangle moving left on a black background",
        ] {
            assert_eq!(complete(table, prompt), prompt);
        }
    }
}
