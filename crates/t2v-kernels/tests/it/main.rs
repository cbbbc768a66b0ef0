//! The tests of the crate from outside.

#![allow(clippy::unwrap_used)]

mod golden;
mod shapes;
