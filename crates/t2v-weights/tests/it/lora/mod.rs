//! LoRA files (`scripts/make_lora_fixtures.py`).

mod errors;
mod files;
mod golden;
mod merging;
mod model;
