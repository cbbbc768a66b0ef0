//! LoRA files (`scripts/make_lora_fixtures.py`).

#![allow(clippy::unwrap_used)]

mod errors;
mod files;
mod golden;
mod merging;
mod model;
