//! What the environment says about how the CPU's operators run: switches for diagnosis and for tests, read once, here.
//!
//! | variable | value | effect |
//! | --- | --- | --- |
//! | `T2V_CPU_OPERATORS` | `on` (default), `off` | `off`: Burn's operators compute everything, as on any other device |

use std::sync::OnceLock;

/// The switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Whether the operators in `flex/` are used.
    pub(crate) cpu_operators: bool,
}

impl Settings {
    /// From the values of variables; what is not set or empty has its default.
    ///
    /// # Errors
    /// A value that its variable doesn't have, as a sentence.
    fn parse(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let choose = |name: &str, choices: &[&str]| {
            let value = variable(name).filter(|value| !value.is_empty());
            let Some(value) = value else { return Ok(0) };
            let chosen = choices.iter().position(|choice| *choice == value);
            chosen.ok_or_else(|| format!("{name}={value}: the value must be one of {}", choices.join(", ")))
        };
        Ok(Self {
            cpu_operators: choose("T2V_CPU_OPERATORS", &["on", "off"])? == 0,
        })
    }
}

/// The switches as the environment had them when they were first asked for.
///
/// # Panics
/// On a value that is none: a measurement with a misspelt switch would be of something else.
pub(crate) fn settings() -> Settings {
    static SETTINGS: OnceLock<Settings> = OnceLock::new();
    let read = || {
        let variable = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        Settings::parse(variable).unwrap_or_else(|fault| panic!("{fault}"))
    };
    *SETTINGS.get_or_init(read)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use burn::tensor::{DType, Device, Tensor};

    use super::*;
    use crate::{Activation, takes_half_weights};

    fn parse(value: Option<&str>) -> Result<bool, String> {
        let settings = Settings::parse(|name| value.filter(|_| name == "T2V_CPU_OPERATORS").map(str::to_owned));
        settings.map(|settings| settings.cpu_operators)
    }

    #[test]
    fn the_operators_are_on_unless_turned_off() {
        assert_eq!(parse(None), Ok(true));
        assert_eq!(parse(Some("")), Ok(true));
        assert_eq!(parse(Some("on")), Ok(true));
        assert_eq!(parse(Some("off")), Ok(false));
        let fault = parse(Some("false")).unwrap_err();
        assert!(
            fault.contains("T2V_CPU_OPERATORS=false") && fault.contains("on, off"),
            "{fault}"
        );
    }

    /// Runs itself in another process, since the environment is read once.
    #[test]
    fn the_environment_turns_the_operators_off() {
        let device = Device::flex();
        let is_taken = crate::flex::activate(Activation::Relu, Tensor::<1>::ones([4], &device)).is_ok();
        assert_eq!(is_taken, takes_half_weights(DType::F32, &device));
        if std::env::var("T2V_CPU_OPERATORS").is_ok_and(|value| value == "off") {
            assert!(!is_taken);
            return;
        }
        assert!(is_taken);
        let this_test = concat!("settings::tests::", "the_environment_turns_the_operators_off");
        let child = Command::new(std::env::current_exe().unwrap())
            .args([this_test, "--exact"])
            .env("T2V_CPU_OPERATORS", "off")
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && output.contains("1 passed"), "{output}");
    }
}
