//! The tests of the crate from outside.

#![allow(clippy::unwrap_used)]

mod bases;
mod command_line;
mod common;
mod families;
mod gradients;
mod lora_file;
mod tiny_world;
mod training;
