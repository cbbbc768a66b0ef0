//! The golden fixtures of the crates, on any device and in any type: the values of diffusers and transformers in f32.
//!
//! A line for each value that is compared: its largest difference, and the largest value, or the reason that there is none.

mod networks;
mod pipelines;

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use t2v_benches::{Error, Target};
use t2v_test_support::Fixture;

use crate::{On, guard::guarded};

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    on: On,
    /// The repository
    #[arg(long, default_value = ".", value_name = "DIR")]
    root: PathBuf,
    /// Only the fixtures whose names begin so, as "unet" or "tiny_a run 0"; several after commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<(), Error> {
    let golden = Golden {
        target: options.on.target()?,
        root: options.root.clone(),
        only: options.only.clone(),
    };
    if !golden.root.join("crates").is_dir() {
        let root = golden.root.display();
        return Err(
            format!("`{root}` is not the repository, whose crates have the fixtures: name it with --root").into(),
        );
    }
    for (what, compare) in networks::ALL {
        golden.report(what, compare);
    }
    for name in pipelines::CHECKPOINTS {
        for run in 0..pipelines::count(&golden, name)? {
            golden.report(&format!("{name} run {run}"), |golden| {
                pipelines::compare(golden, name, run)
            });
        }
    }
    Ok(())
}

/// Where fixtures are, and what is compared with them.
struct Golden {
    target: Target,
    root: PathBuf,
    only: Vec<String>,
}

impl Golden {
    fn fixture(&self, krate: &str, name: &str) -> Result<Fixture, Error> {
        let path = self
            .root
            .join(format!("crates/{krate}/tests/fixtures/{name}.safetensors"));
        let path = path
            .to_str()
            .ok_or("the path of the repository is no UTF-8")?
            .to_owned();
        guarded(|| Ok(Fixture::open(&path)))
    }

    /// Prints how far a device's values are, if they were asked for.
    fn report(&self, what: &str, compare: impl FnOnce(&Self) -> Result<Vec<Compared>, Error>) {
        if !self.only.is_empty() && !self.only.iter().any(|start| what.starts_with(start.as_str())) {
            return;
        }
        match guarded(|| compare(self)) {
            Ok(all) => all.iter().for_each(|compared| println!("{}", compared.line(what))),
            Err(error) => println!("{}", json!({ "golden": what, "error": error.to_string() })),
        }
    }
}

/// Values of a device beside those that were expected.
struct Compared {
    /// Which values.
    name: String,
    /// The largest difference; none where a value is not finite.
    difference: Option<f32>,
    /// The largest of those that were expected.
    size: f32,
}

impl Compared {
    fn new(name: impl Into<String>, actual: &[f32], expected: &[f32]) -> Result<Self, Error> {
        let name = name.into();
        if actual.len() != expected.len() {
            let (found, wanted) = (actual.len(), expected.len());
            return Err(format!("{name}: {found} values instead of {wanted}").into());
        }
        let mut differences = actual.iter().zip(expected).map(|(a, b)| (a - b).abs());
        let largest = |values: &mut dyn Iterator<Item = f32>| values.fold(0.0, f32::max);
        let is_finite = actual.iter().all(|value| value.is_finite());
        Ok(Self {
            difference: is_finite.then(|| largest(&mut differences)),
            size: largest(&mut expected.iter().map(|value| value.abs())),
            name,
        })
    }

    fn line(&self, what: &str) -> Value {
        let golden = format!("{what} {}", self.name);
        match self.difference {
            Some(difference) => json!({
                "golden": golden,
                "largest_difference": difference,
                "largest_value": self.size,
            }),
            None => json!({ "golden": golden, "error": "values that are not finite" }),
        }
    }
}
