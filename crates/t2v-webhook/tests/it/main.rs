//! The tests of the crate from outside.

#![allow(clippy::unwrap_used)]

mod deliver;
mod urls;
