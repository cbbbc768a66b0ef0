//! What the environment says about how the CPU's operators run: switches for diagnosis and for tests, read once, here.
//!
//! | variable | value | effect |
//! | --- | --- | --- |
//! | `T2V_CPU_OPERATORS` | `on` (default), `off` | `off`: Burn's operators compute everything, as on any other device |
//! | `T2V_SIMD` | `best` (default), `avx512`, `avx2`, `generic` | the widest vectors that the CPU's operators use; only `best` has AMX's tiles, too |
//!
//! With `T2V_SIMD` a machine runs what another one would: `generic` stands for processors with nothing but what their
//! architecture always has, which is SSE2 on x86-64. It does not reach Burn's own operators.

use std::sync::OnceLock;

/// The widest vectors that operators use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Vectors {
    /// Those that every processor of the architecture has.
    Generic,
    /// AVX2 with fused multiplications and additions.
    Avx2,
    /// AVX-512, without tiles.
    Avx512,
    /// The widest of the processor, and tiles where it has some.
    Best,
}

/// The switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Whether the operators in `flex/` are used.
    pub(crate) cpu_operators: bool,
    /// The widest vectors that these use.
    pub(crate) vectors: Vectors,
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
        let cpu_operators = choose("T2V_CPU_OPERATORS", &["on", "off"])? == 0;
        let vectors = choose("T2V_SIMD", &["best", "avx512", "avx2", "generic"])?;
        let vectors = [Vectors::Best, Vectors::Avx512, Vectors::Avx2, Vectors::Generic][vectors];
        if vectors == Vectors::Avx512 && !has_avx512() {
            return Err("T2V_SIMD=avx512: this processor has no AVX-512; best, avx2 and generic are possible".into());
        }
        if vectors == Vectors::Avx2 && !has_avx2() {
            return Err("T2V_SIMD=avx2: this processor has no AVX2 with FMA; best and generic are possible".into());
        }
        Ok(Self { cpu_operators, vectors })
    }
}

/// Whether the processor has AVX2 and what always comes with it.
pub(crate) fn has_avx2() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("fma")
        && std::arch::is_x86_feature_detected!("f16c");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// Whether the processor has AVX-512 and what comes with it since Skylake.
pub(crate) fn has_avx512() -> bool {
    #[cfg(target_arch = "x86_64")]
    return rten_simd::is_avx512_supported();
    #[cfg(not(target_arch = "x86_64"))]
    return false;
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

    fn settings_with(variable: &str, value: Option<&str>) -> Result<Settings, String> {
        Settings::parse(|name| value.filter(|_| name == variable).map(str::to_owned))
    }

    fn parse(value: Option<&str>) -> Result<bool, String> {
        settings_with("T2V_CPU_OPERATORS", value).map(|settings| settings.cpu_operators)
    }

    #[test]
    fn vectors_are_the_widest_unless_limited() {
        let parse = |value| settings_with("T2V_SIMD", value).map(|settings| settings.vectors);
        assert_eq!(parse(None), Ok(Vectors::Best));
        assert_eq!(parse(Some("best")), Ok(Vectors::Best));
        assert_eq!(parse(Some("generic")), Ok(Vectors::Generic));
        match has_avx512() {
            true => assert_eq!(parse(Some("avx512")), Ok(Vectors::Avx512)),
            false => assert!(parse(Some("avx512")).unwrap_err().contains("no AVX-512")),
        }
        match has_avx2() {
            true => assert_eq!(parse(Some("avx2")), Ok(Vectors::Avx2)),
            false => assert!(parse(Some("avx2")).unwrap_err().contains("no AVX2")),
        }
        let fault = parse(Some("sse9")).unwrap_err();
        assert!(
            fault.contains("T2V_SIMD=sse9") && fault.contains("best, avx512, avx2, generic"),
            "{fault}"
        );
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
