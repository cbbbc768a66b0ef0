//! Settings one by one, so that one fault does not hide the next.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    str::FromStr,
};

use figment::{
    Figment,
    providers::{Env, Format, Serialized, Toml},
    value::Value,
};
use serde::de::DeserializeOwned;
use url::Url;

use super::Flags;

/// What the sources say together.
pub(super) struct Fields {
    figment: Figment,
    known: BTreeSet<String>,
    pub(super) faults: Vec<String>,
}

impl Fields {
    /// Reads the sources.
    ///
    /// # Errors
    /// A file that is missing or no TOML.
    pub(super) fn read(flags: &Flags) -> Result<Self, Vec<String>> {
        let mut figment = Figment::new();
        let file = flags
            .config
            .clone()
            .or_else(|| std::env::var_os("T2V_CONFIG").map(Into::into));
        if let Some(file) = file {
            let name = file.display();
            let text =
                std::fs::read_to_string(&file).map_err(|error| vec![format!("config: cannot read {name}: {error}")])?;
            let toml = Figment::from(Toml::string(&text));
            // What is no TOML is told once, with its place.
            toml.extract::<BTreeMap<String, Value>>()
                .map_err(|error| vec![format!("config: {name} is not TOML: {error}")])?;
            figment = figment.merge(toml);
        }
        // This reader's own, the CPU's operators', and those of tests.
        let environment = Env::prefixed("T2V_").filter(|name| {
            let name = name.as_str().to_ascii_lowercase();
            !["config", "cpu_operators"].contains(&name.as_str()) && !name.starts_with("test_")
        });
        Ok(Self {
            figment: figment.merge(environment).merge(Serialized::defaults(flags)),
            known: BTreeSet::new(),
            faults: Vec::new(),
        })
    }

    /// Notes what is wrong with a setting.
    pub(super) fn fault(&mut self, field: &str, fault: &str) {
        self.faults.push(format!("{field}: {fault}."));
    }

    fn has(&mut self, field: &str) -> bool {
        self.known.insert(field.to_owned());
        self.figment.contains(field)
    }

    /// A setting that may be missing; of the wrong type it is a fault.
    pub(super) fn optional<T: DeserializeOwned>(&mut self, field: &str) -> Option<T> {
        if !self.has(field) {
            return None;
        }
        match self.figment.extract_inner(field) {
            Ok(value) => Some(value),
            Err(error) => {
                let kind = error.kind.to_string();
                self.fault(field, &kind);
                None
            }
        }
    }

    /// A setting, or its default, which stands in for one of the wrong type, too, so that what follows is looked at.
    pub(super) fn or<T: DeserializeOwned>(&mut self, field: &str, default: T) -> T {
        self.optional(field).unwrap_or(default)
    }

    /// A number above 0.
    pub(super) fn positive(&mut self, field: &str, default: u64) -> u64 {
        let value = self.or(field, default);
        if value == 0 {
            self.fault(field, "it must be at least 1");
        }
        value
    }

    /// A setting that is read from its text.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&mut self, field: &str, expected: &str) -> Option<T> {
        let text: String = self.optional(field)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.fault(field, &format!("it must be {expected}: {error}"));
                None
            }
        }
    }

    /// An address of the web.
    pub(super) fn url(&mut self, field: &str) -> Option<String> {
        let text: String = self.optional(field)?;
        match Url::parse(&text) {
            Ok(url) if ["http", "https"].contains(&url.scheme()) && url.query().is_none() => {
                Some(text.trim_end_matches('/').to_owned())
            }
            _ => {
                self.fault(field, "it must be a URL such as https://videos.example.com");
                None
            }
        }
    }

    /// Texts; one alone may stand without a list, and in the environment several with commas between them.
    pub(super) fn list(&mut self, field: &str) -> Vec<String> {
        if !self.has(field) {
            return Vec::new();
        }
        if let Ok(one) = self.figment.extract_inner::<String>(field) {
            return one.split(',').map(|part| part.trim().to_owned()).collect();
        }
        self.optional(field).unwrap_or_default()
    }

    /// Sources by name: a table, or texts `NAME=SOURCE`, as `expected` has it.
    pub(super) fn named(&mut self, field: &str, expected: &str) -> BTreeMap<String, String> {
        if let Ok(table) = self.figment.extract_inner(field) {
            self.known.insert(field.to_owned());
            return table;
        }
        let mut sources = BTreeMap::new();
        for text in self.list(field) {
            match text.split_once('=') {
                Some((name, source)) if !name.is_empty() && !source.is_empty() => {
                    sources.insert(name.to_owned(), source.to_owned());
                }
                _ => self.fault(field, &format!("`{text}` must be {expected}")),
            }
        }
        sources
    }

    /// Notes settings that nothing has asked for.
    pub(super) fn refuse_unknown(&mut self) {
        let all: BTreeMap<String, Value> = self.figment.extract().unwrap_or_default();
        for name in all.keys().filter(|name| !self.known.contains(*name)) {
            let known = self.known.iter().cloned().collect::<Vec<_>>().join(", ");
            self.faults
                .push(format!("{name}: there is no such setting; known are {known}."));
        }
    }
}
