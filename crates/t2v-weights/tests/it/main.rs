//! The tests of the crate from outside.

#![allow(clippy::unwrap_used)]

mod folders;
mod gguf;
mod headers;
mod layouts;
mod lora;
mod meter;
mod parts;
mod pickles;
mod selection;
mod tensor_file;
mod variants;
