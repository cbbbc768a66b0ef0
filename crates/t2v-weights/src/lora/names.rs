//! From a layer's name in a LoRA to the path of a module's parameter.

use std::collections::BTreeSet;

use burn_store::KeyRemapper;

use super::key::LayerName;
use crate::KeyMap;

/// Readings of a name with underscores that are tried before it counts as unknown.
const MOST_READINGS: usize = 4096;
/// Parts between underscores that the longest names have.
const MOST_PARTS: usize = 64;

/// The names of a module's weights.
pub(super) struct Names<'a> {
    rename: Box<dyn Fn(&str) -> String>,
    exists: &'a dyn Fn(&str) -> bool,
    /// Words with underscores, as lists of their parts, those of more parts first.
    words: Vec<Vec<String>>,
}

impl<'a> Names<'a> {
    /// `paths` are those of the module's parameters, `exists` says of a path whether it is that of a weight. The error says which
    /// pattern of `keys` does not compile.
    pub(super) fn new<'p>(
        keys: &KeyMap,
        paths: impl Iterator<Item = &'p str>,
        exists: &'a dyn Fn(&str) -> bool,
    ) -> Result<Self, String> {
        let mut words: BTreeSet<Vec<String>> = paths.flat_map(compounds).collect();
        words.extend(keys.renames.iter().flat_map(|(pattern, _)| compounds(pattern)));
        let mut words: Vec<Vec<String>> = words.into_iter().collect();
        words.sort_by_key(|parts| std::cmp::Reverse(parts.len()));
        Ok(Self {
            rename: renaming(keys)?,
            exists,
            words,
        })
    }

    /// The path of the parameter that a layer is for, if the module has it.
    pub(super) fn path(&self, name: &LayerName) -> Option<String> {
        match name {
            LayerName::Dotted(name) => self.weight(name),
            LayerName::Underscored(name) => {
                let parts: Vec<&str> = name.split('_').take(MOST_PARTS + 1).collect();
                let short = parts.len() <= MOST_PARTS;
                short.then(|| self.read(&parts, String::new(), &mut 0)).flatten()
            }
        }
    }

    fn weight(&self, module: &str) -> Option<String> {
        let path = (self.rename)(&format!("{module}.weight"));
        (self.exists)(&path).then_some(path)
    }

    /// The first reading of `parts` after `module` that is the name of a weight.
    fn read(&self, parts: &[&str], module: String, tried: &mut usize) -> Option<String> {
        if parts.is_empty() {
            *tried += 1;
            return self.weight(&module);
        }
        let longer = self
            .words
            .iter()
            .filter(|word| parts.len() >= word.len() && word.iter().eq(&parts[..word.len()]));
        let lengths = longer.map(Vec::len).chain([1]);
        for length in lengths {
            if *tried >= MOST_READINGS {
                return None;
            }
            let word = parts[..length].join("_");
            let longer = if module.is_empty() {
                word
            } else {
                format!("{module}.{word}")
            };
            if let Some(path) = self.read(&parts[length..], longer, tried) {
                return Some(path);
            }
        }
        None
    }
}

/// From a module's name to a parameter's path.
type Renaming = Box<dyn Fn(&str) -> String>;

/// A key map as a function.
fn renaming(keys: &KeyMap) -> Result<Renaming, String> {
    // `KeyRemapper` compiles the patterns: this crate needs no regex dependency of its own.
    let remapper = KeyRemapper::from_patterns(keys.renames.clone()).map_err(|e| {
        let reason = e.to_string();
        let reason = reason.lines().last().unwrap_or_default();
        format!("a pattern of the model's key map does not compile: {reason}")
    })?;
    let patterns = remapper.to_regex_pairs();
    Ok(Box::new(move |key| {
        let mut key = key.to_string();
        for (pattern, replacement) in &patterns {
            key = pattern.replace_all(&key, replacement.as_str()).into_owned();
        }
        key
    }))
}

/// The words with underscores inside that a path or a pattern has, as lists of their parts.
fn compounds(text: &str) -> impl Iterator<Item = Vec<String>> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let compounds = words.filter(|word| word.trim_matches('_').contains('_'));
    compounds.map(|word| word.split('_').map(String::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATHS: [&str; 5] = [
        "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight",
        "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0.weight",
        "down_blocks.0.attentions.0.transformer_blocks.0.ff.proj.weight",
        "down_blocks.0.attentions.0.proj_in.weight",
        "down_blocks.0.resnets.0.to.q.weight",
    ];

    fn path(name: &LayerName) -> Option<String> {
        let keys = KeyMap::new()
            .rename(r"^old_model\.", "")
            .rename(r"((?:^|\.)ff)\.net\.0\.proj\.", "$1.proj.");
        let exists = |path: &str| PATHS.contains(&path);
        Names::new(&keys, PATHS.into_iter(), &exists).unwrap().path(name)
    }

    #[test]
    fn underscores_are_read_as_the_model_has_them() {
        let block = "down_blocks_0_attentions_0_transformer_blocks_0";
        for (name, index) in [
            (format!("{block}_attn1_to_q"), 0),
            (format!("{block}_attn1_to_out_0"), 1),
            (format!("{block}_ff_net_0_proj"), 2),
            (format!("old_model_{block}_ff_net_0_proj"), 2),
            ("down_blocks_0_attentions_0_proj_in".into(), 3),
            ("down_blocks_0_resnets_0_to_q".into(), 4),
        ] {
            assert_eq!(
                path(&LayerName::Underscored(name.clone())).as_deref(),
                Some(PATHS[index]),
                "{name}"
            );
        }
        for name in [
            "down_blocks_0_attentions_0_proj_out",
            "",
            "_",
            &"to_q_".repeat(30),
            &"to_q_".repeat(100_000),
        ] {
            assert_eq!(path(&LayerName::Underscored(name.into())), None, "{name}");
        }
    }

    #[test]
    fn dots_go_through_the_key_map_alone() {
        let dotted = |name: &str| path(&LayerName::Dotted(name.into()));
        assert_eq!(dotted("down_blocks.0.attentions.0.proj_in").as_deref(), Some(PATHS[3]));
        assert_eq!(
            dotted("down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj").as_deref(),
            Some(PATHS[2])
        );
        assert_eq!(dotted("down_blocks_0_attentions_0_proj_in"), None);
    }
}
