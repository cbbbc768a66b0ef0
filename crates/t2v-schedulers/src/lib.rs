//! Diffusion schedulers behind one object-safe trait, equal to those of Hugging Face diffusers 0.42.1.
//!
//! [`from_config`] makes a [`Scheduler`] from a `scheduler_config.json`; a loop then calls the model once for each entry
//! of [`Scheduler::timesteps`]:
//!
//! ```text
//! x = noise * init_noise_sigma
//! for t in timesteps:
//!     out = model(scale_model_input(x), t)
//!     x = step(out, x).prev_sample
//! ```
//!
//! Key decision: all tables lie on the host and are rounded to `f32` at the points where diffusers rounds them, so that a
//! trajectory agrees with diffusers' to single precision. A step is tensor operations only, and its noise comes from
//! outside, through [`NoiseSource`]; [`TorchGenerator`] is a source equal to torch's CPU generator.
//!
//! Each solver's file names its algorithm and paper. Two families have the run in common, and each member of them only its
//! tables and steps: the solvers in lambda (`lambda_sampler`) and those with two model calls a step in sigma (`two_calls`).
//! What others share are functions and tables: `betas`, `spacing`, `sigmas`, `noise_levels`, `solver_sigmas`, `prediction`,
//! `thresholding`, `churn`, `ancestral`, `flow_matching`.
#![doc = ""]
#![doc = include_str!("../docs/schedulers.md")]
#![doc = ""]
#![doc = "<div>"]
#![doc = include_str!("../docs/schedules.svg")]
#![doc = "</div>"]

mod adams_bashforth;
mod ancestral;
mod beta_quantile;
mod betas;
mod churn;
mod config;
mod ddim;
mod ddim_inverse;
mod ddpm;
mod deis_multistep;
mod dpmsolver;
mod dpmsolver_multistep;
mod dpmsolver_singlestep;
mod error;
mod euler_ancestral_discrete;
mod euler_discrete;
mod float32;
mod flow_match_euler_discrete;
mod flow_match_heun_discrete;
mod flow_matching;
mod generator;
mod heun_discrete;
mod ipndm;
mod karras_ve;
mod kdpm2_ancestral_discrete;
mod kdpm2_discrete;
mod kind;
mod lambda_sampler;
mod lcm;
mod level;
mod lms_discrete;
mod noise_levels;
mod pndm;
mod prediction;
mod progress;
mod registry;
mod scheduler;
mod score_sde_ve;
mod sigmas;
mod solver_sigmas;
mod spacing;
mod thresholding;
mod training;
mod two_calls;
mod unipc_multistep;

pub use error::SchedulerError;
pub use generator::TorchGenerator;
pub use karras_ve::{KarrasVe, KarrasVeOutput};
pub use kind::SchedulerKind;
pub use registry::{for_model, from_config, kind_of_config};
pub use scheduler::{NoiseSource, Schedule, SchedulePoints, Scheduler, StepOptions, StepOutput};
pub use score_sde_ve::{ScoreSdeVe, SdeVeOutput};
pub use training::TrainingNoise;
