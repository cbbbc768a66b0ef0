//! The scheduler that an unknown name most likely means.
//!
//! The habitual names are those of AUTOMATIC1111's web UI, ComfyUI and k-diffusion; which class they stand for is
//! diffusers' own table, in the overview of its schedulers.

use super::{SchedulerKind, stem};

/// The least similarity, from 0 to 1, of a name that is worth a question.
const SIMILAR: f64 = 0.75;

const SDE: &str = "`algorithm_type` \"sde-dpmsolver++\"";
const THIRD_ORDER: &str = "`solver_order` 3";
const THIRD_ORDER_SDE: &str = "`solver_order` 3 and `algorithm_type` \"sde-dpmsolver++\"";

/// Habitual names, as [`compact`] makes them, with the class and the option that they imply.
const HABITUAL: &[(&str, SchedulerKind, &str)] = &[
    ("euler", SchedulerKind::EulerDiscrete, ""),
    ("eulera", SchedulerKind::EulerAncestralDiscrete, ""),
    ("eulerancestral", SchedulerKind::EulerAncestralDiscrete, ""),
    ("heun", SchedulerKind::HeunDiscrete, ""),
    ("lms", SchedulerKind::LmsDiscrete, ""),
    ("plms", SchedulerKind::Pndm, "`skip_prk_steps` true"),
    ("dpm2", SchedulerKind::Kdpm2Discrete, ""),
    ("kdpm2", SchedulerKind::Kdpm2Discrete, ""),
    ("dpm2a", SchedulerKind::Kdpm2AncestralDiscrete, ""),
    ("kdpm2a", SchedulerKind::Kdpm2AncestralDiscrete, ""),
    ("dpm2ancestral", SchedulerKind::Kdpm2AncestralDiscrete, ""),
    ("kdpm2ancestral", SchedulerKind::Kdpm2AncestralDiscrete, ""),
    ("dpmpp", SchedulerKind::DpmSolverMultistep, ""),
    ("dpmsolver", SchedulerKind::DpmSolverMultistep, ""),
    ("dpmsolverpp", SchedulerKind::DpmSolverMultistep, ""),
    ("dpmpp2m", SchedulerKind::DpmSolverMultistep, ""),
    ("dpmpp2msde", SchedulerKind::DpmSolverMultistep, SDE),
    ("dpmpp3m", SchedulerKind::DpmSolverMultistep, THIRD_ORDER),
    ("dpmpp3msde", SchedulerKind::DpmSolverMultistep, THIRD_ORDER_SDE),
    ("dpmpp2s", SchedulerKind::DpmSolverSinglestep, ""),
    ("dpmpp2sa", SchedulerKind::DpmSolverSinglestep, SDE),
    ("dpmpp2sancestral", SchedulerKind::DpmSolverSinglestep, SDE),
    ("dpmppsde", SchedulerKind::DpmSolverSinglestep, SDE),
    ("dpmfast", SchedulerKind::DpmSolverSinglestep, ""),
    ("dpmadaptive", SchedulerKind::DpmSolverSinglestep, ""),
    ("unipc", SchedulerKind::UniPcMultistep, ""),
    ("unipcbh1", SchedulerKind::UniPcMultistep, "`solver_type` \"bh1\""),
    ("unipcbh2", SchedulerKind::UniPcMultistep, ""),
    ("deis", SchedulerKind::DeisMultistep, ""),
    ("ipndmv", SchedulerKind::Ipndm, ""),
    ("flowmatch", SchedulerKind::FlowMatchEulerDiscrete, ""),
    ("flowmatcheuler", SchedulerKind::FlowMatchEulerDiscrete, ""),
    ("flowmatchheun", SchedulerKind::FlowMatchHeunDiscrete, ""),
];

/// The shapes of the noise levels that such names end in.
const SHAPES: &[(&str, &str)] = &[
    ("karras", "`use_karras_sigmas` true"),
    ("exponential", "`use_exponential_sigmas` true"),
    ("beta", "`use_beta_sigmas` true"),
];

/// The scheduler nearest to an unknown name, as the end of a sentence: a question, with the
/// options that the name implies, or a full stop if none is near.
pub(crate) fn sentence(name: &str) -> String {
    let Some((kind, options)) = nearest(name) else {
        return ".".to_owned();
    };
    match options.is_empty() {
        true => format!(": did you mean {kind}?"),
        false => format!(
            ": did you mean {kind} with {} in its configuration?",
            options.join(" and ")
        ),
    }
}

/// The class that a name most likely means, and the options that the name implies.
fn nearest(name: &str) -> Option<(SchedulerKind, Vec<&'static str>)> {
    let whole = compact(name);
    let shape = SHAPES
        .iter()
        .find(|(ending, _)| whole.ends_with(ending) && whole != *ending);
    let base = shape.map_or(whole.as_str(), |(ending, _)| &whole[..whole.len() - ending.len()]);
    let (kind, option) = known(base).or_else(|| similar(base))?;
    let shape = shape.map(|&(_, option)| option);
    Some((
        kind,
        shape
            .into_iter()
            .chain(Some(option).filter(|o| !o.is_empty()))
            .collect(),
    ))
}

/// The class of a name that is a habitual one or one of diffusers' but for its punctuation, with a prefix or without.
fn known(name: &str) -> Option<(SchedulerKind, &'static str)> {
    let forms = [Some(name), name.strip_prefix("sample"), name.strip_prefix('k')];
    let classes = || {
        SchedulerKind::ALL
            .iter()
            .map(|&kind| (compact(kind.class_name()), kind, ""))
    };
    let habits = || {
        HABITUAL
            .iter()
            .map(|&(habit, kind, option)| (habit.to_owned(), kind, option))
    };
    forms.into_iter().flatten().find_map(|form| {
        let mut names = classes().chain(habits());
        names
            .find(|(name, ..)| name == form)
            .map(|(_, kind, option)| (kind, option))
    })
}

/// The class whose name, or one of whose habitual names, looks most like a name.
fn similar(name: &str) -> Option<(SchedulerKind, &'static str)> {
    let classes = SchedulerKind::ALL
        .iter()
        .map(|&kind| (compact(kind.class_name()), kind, ""));
    let habits = HABITUAL
        .iter()
        .map(|&(habit, kind, option)| (habit.to_owned(), kind, option));
    let scored = classes
        .chain(habits)
        .map(|(known, kind, option)| (strsim::jaro_winkler(name, &known), kind, option));
    let (score, kind, option) = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (score >= SIMILAR).then_some((kind, option))
}

/// The letters and digits of a name's stem, with `++` as `pp`.
fn compact(name: &str) -> String {
    let stem = stem(name).replace('+', "p");
    stem.chars().filter(|letter| letter.is_ascii_alphanumeric()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn habitual_names_are_answered_with_diffusers_class() {
        for (name, class, options) in [
            ("EulerAncestral", "EulerAncestralDiscreteScheduler", ""),
            ("euler_a", "EulerAncestralDiscreteScheduler", ""),
            ("Euler a", "EulerAncestralDiscreteScheduler", ""),
            ("k_euler_ancestral", "EulerAncestralDiscreteScheduler", ""),
            ("euler", "EulerDiscreteScheduler", ""),
            ("Euler Discrete", "EulerDiscreteScheduler", ""),
            ("dpmpp_2m", "DPMSolverMultistepScheduler", ""),
            ("sample_dpmpp_2m", "DPMSolverMultistepScheduler", ""),
            ("DPM++ 2M", "DPMSolverMultistepScheduler", ""),
            (
                "DPM++ 2M Karras",
                "DPMSolverMultistepScheduler",
                "`use_karras_sigmas` true",
            ),
            (
                "DPM++ 3M SDE Exponential",
                "DPMSolverMultistepScheduler",
                "`use_exponential_sigmas` true and `solver_order` 3 and `algorithm_type` \"sde-dpmsolver++\"",
            ),
            (
                "DPM++ SDE",
                "DPMSolverSinglestepScheduler",
                "`algorithm_type` \"sde-dpmsolver++\"",
            ),
            ("dpm_2", "KDPM2DiscreteScheduler", ""),
            (
                "DPM2 a Karras",
                "KDPM2AncestralDiscreteScheduler",
                "`use_karras_sigmas` true",
            ),
            ("UniPC", "UniPCMultistepScheduler", ""),
            ("uni_pc_bh2", "UniPCMultistepScheduler", ""),
            ("LMS", "LMSDiscreteScheduler", ""),
            ("LMS Karras", "LMSDiscreteScheduler", "`use_karras_sigmas` true"),
            ("PLMS", "PNDMScheduler", "`skip_prk_steps` true"),
            ("DEIS", "DEISMultistepScheduler", ""),
        ] {
            let expected = match options {
                "" => format!(": did you mean {class}?"),
                _ => format!(": did you mean {class} with {options} in its configuration?"),
            };
            assert_eq!(sentence(name), expected, "{name}");
        }
    }

    #[test]
    fn misspelt_names_are_answered_with_the_most_similar() {
        for (name, class) in [
            ("Eulr", "EulerDiscreteScheduler"),
            ("DDMI", "DDIMScheduler"),
            ("DPMSolverMultistepInverseScheduler", "DPMSolverMultistepScheduler"),
            ("HuenDiscrete", "HeunDiscreteScheduler"),
            ("UniPCMultiStep ", "UniPCMultistepScheduler"),
        ] {
            assert_eq!(sentence(name), format!(": did you mean {class}?"), "{name}");
        }
    }

    #[test]
    fn names_like_no_scheduler_get_no_sentence() {
        for name in ["", "Scheduler", "xyz", "none", "日本"] {
            let found = sentence(name);
            assert_eq!(found, ".", "{name}");
        }
    }

    #[test]
    fn habitual_names_are_compact_and_unknown() {
        for (name, ..) in HABITUAL {
            assert_eq!(compact(name), *name);
            assert!(name.parse::<SchedulerKind>().is_err(), "{name}");
        }
    }
}
