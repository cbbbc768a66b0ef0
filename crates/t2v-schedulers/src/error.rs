//! The crate's error type.

use crate::SchedulerKind;
use crate::kind::nearest;

/// What can go wrong with a scheduler. Each message names the name, option or value at fault.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SchedulerError {
    /// No scheduler has this name. The message asks for the nearest one, by habitual names and by spelling.
    #[error("unknown scheduler `{name}`{nearest} Known: {known}", nearest = nearest::sentence(name), known = SchedulerKind::list())]
    UnknownScheduler {
        /// The name as it was given.
        name: String,
    },
    /// A configuration is not a JSON object, or has no `_class_name` where one is needed.
    #[error("scheduler configuration: {0}")]
    Config(String),
    /// A configuration's value has the wrong JSON type or is not one of the known ones.
    #[error("{kind}: option `{option}` is {found}, expected {expected}")]
    BadOption {
        /// The scheduler whose option it is.
        kind: SchedulerKind,
        /// The option's name, as in `scheduler_config.json`.
        option: String,
        /// The value found, as JSON.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// An option, or a combination of options, that the scheduler cannot honour.
    #[error("{kind}: `{option}` {reason}")]
    Unsupported {
        /// The scheduler.
        kind: SchedulerKind,
        /// The option's name.
        option: String,
        /// Why not, and what would be right.
        reason: String,
    },
    /// A number of steps, or a list of timesteps or sigmas, from which no schedule can be made.
    #[error("{kind}: {reason}")]
    Schedule {
        /// The scheduler.
        kind: SchedulerKind,
        /// What is wrong with the request.
        reason: String,
    },
    /// A step was asked for before `set_timesteps`.
    #[error("{kind}: `set_timesteps` must be called before `step` and `add_noise`")]
    NoTimesteps {
        /// The scheduler.
        kind: SchedulerKind,
    },
    /// An index beyond the timesteps: a step too many, or a wrong argument.
    #[error("{kind}: timestep index {index} is out of range, there are {len} timesteps")]
    IndexOutOfRange {
        /// The scheduler.
        kind: SchedulerKind,
        /// The index.
        index: usize,
        /// The number of timesteps.
        len: usize,
    },
}
