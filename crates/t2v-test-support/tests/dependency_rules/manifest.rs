//! What a manifest says about dependencies, backends and unsafe code.

use toml::{Table, Value};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Dev,
    Build,
}

const TABLES: [(&str, Kind); 3] = [
    ("dependencies", Kind::Normal),
    ("dev-dependencies", Kind::Dev),
    ("build-dependencies", Kind::Build),
];

pub(crate) struct Dependency {
    /// The package, whatever name it is used by.
    pub(crate) package: String,
    pub(crate) kind: Kind,
    pub(crate) features: Vec<String>,
}

pub(crate) struct Manifest {
    pub(crate) name: String,
    pub(crate) dependencies: Vec<Dependency>,
    /// Each feature, and what it turns on.
    pub(crate) features: Vec<(String, Vec<String>)>,
    /// Whether the compiler refuses unsafe code.
    pub(crate) forbids_unsafe: bool,
}

pub(crate) fn strings(value: Option<&Value>) -> Vec<String> {
    let values = value.and_then(Value::as_array).into_iter().flatten();
    values.map(|value| value.as_str().unwrap().to_owned()).collect()
}

fn forbids_unsafe(lints: Option<&Value>) -> bool {
    let level = lints.and_then(|lints| lints.get("rust")?.get("unsafe_code"));
    level.and_then(Value::as_str) == Some("forbid")
}

impl Dependency {
    /// Of an entry of a table, with what it inherits from the workspace's.
    fn new(key: &str, entry: &Value, kind: Kind, workspace: &Table) -> Self {
        let is_inherited = entry.get("workspace").and_then(Value::as_bool) == Some(true);
        let inherited = is_inherited.then(|| &workspace["workspace"]["dependencies"][key]);
        let entries = [Some(entry), inherited].into_iter().flatten();
        let package = entries.clone().find_map(|entry| entry.get("package")?.as_str());
        Self {
            package: package.unwrap_or(key).to_owned(),
            kind,
            features: entries.flat_map(|entry| strings(entry.get("features"))).collect(),
        }
    }
}

impl Manifest {
    pub(crate) fn parse(text: &str, workspace: &Table) -> Self {
        let table: Table = text.parse().unwrap();
        // The tables for some targets lie in `target.<which>`.
        let targets = table.get("target").and_then(Value::as_table).into_iter().flatten();
        let targets = targets.map(|(_, target)| target.as_table().unwrap());
        let mut dependencies = Vec::new();
        for place in targets.chain([&table]) {
            for (name, kind) in TABLES {
                let entries = place.get(name).and_then(Value::as_table).into_iter().flatten();
                dependencies.extend(entries.map(|(key, entry)| Dependency::new(key, entry, kind, workspace)));
            }
        }
        let features = table.get("features").and_then(Value::as_table).into_iter().flatten();
        let lints = table.get("lints");
        let inherits_lints = lints.and_then(|lints| lints.get("workspace")?.as_bool()) == Some(true);
        Self {
            name: table["package"]["name"].as_str().unwrap().to_owned(),
            dependencies,
            features: features.map(|(name, on)| (name.clone(), strings(Some(on)))).collect(),
            forbids_unsafe: match inherits_lints {
                true => forbids_unsafe(workspace["workspace"].get("lints")),
                false => forbids_unsafe(lints),
            },
        }
    }

    pub(crate) fn is(&self, names: &[&str]) -> bool {
        names.contains(&self.name.as_str())
    }

    /// A fault for each dependency that is one.
    pub(crate) fn faults(&self, is_fault: impl Fn(&Dependency) -> bool) -> Vec<String> {
        let faulty = self.dependencies.iter().filter(|dependency| is_fault(dependency));
        faulty
            .map(|dependency| {
                let Dependency {
                    package,
                    kind,
                    features,
                } = dependency;
                format!("{} depends on {package} {features:?} ({kind:?})", self.name)
            })
            .collect()
    }
}
