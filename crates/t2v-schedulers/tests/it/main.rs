//! The tests of the crate from outside.

#![allow(clippy::unwrap_used)]

mod adapters;
mod bounds;
mod common;
mod conformance;
mod gaussian;
mod generator;
mod golden;
mod karras_ve;
mod options;
mod score_sde_ve;
