//! The tests of the crate from outside.

#![allow(clippy::unwrap_used)]

mod golden;
mod gpt2;
mod ldm;
mod prompts;
mod tokenizer_folders;
mod vision;
mod wan;
