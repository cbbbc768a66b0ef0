//! What the GPU kit carries (`scripts/gpu_kit/`): one program that lists devices, compares a device with the golden fixtures,
//! and times tiny-world, the stages of a model and whole generations. It answers in lines of JSON.
//!
//! Run with
//!
//! ```text
//! cargo run --release -p t2v-benches --features cuda,vulkan --example gpu_kit -- devices
//! cargo run --release -p t2v-benches --features cuda,vulkan --example gpu_kit -- golden --device cuda --dtype f16
//! cargo run --release -p t2v-benches --features cuda,vulkan --example gpu_kit -- tiny-world --device vulkan
//! echo "step 16 256 256" | cargo run --release -p t2v-benches --features cuda --example gpu_kit -- stages --device cuda MODEL
//! cargo run --release -p t2v-benches --features cuda --example gpu_kit -- generate --device cuda --dtype bf16 MODEL
//! ```

mod devices;
mod generate;
mod golden;
mod guard;
mod memory;
mod stages;
mod tiny_world;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use t2v_benches::{Error, Target, exit_code};

#[derive(Parser)]
#[command(
    about = "Measures t2v on a GPU, and compares it with golden values; answers in lines of JSON",
    version
)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists the devices that this build reaches, one a line
    Devices,
    /// Compares networks and whole generations with upstream's values; must run in the repository
    Golden(golden::Options),
    /// Times tiny-world's first request, cold and warm, and compares its frames with those of the CPU
    TinyWorld(tiny_world::Options),
    /// Loads a model, then times the stages that are read, one a line
    Stages(stages::Options),
    /// Times whole generations of a model
    Generate(generate::Options),
}

/// Where to run.
#[derive(Args)]
struct On {
    /// flex (the CPU), wgpu, vulkan, metal or cuda, those of GPUs also with an index as in cuda:1; auto is the best there is
    #[arg(long, default_value = "auto")]
    device: String,
    /// What networks compute in: f32, f16, bf16, or auto
    #[arg(long, default_value = "f32")]
    dtype: String,
}

impl On {
    fn target(&self) -> Result<Target, Error> {
        Ok(Target::new(&self.device, &self.dtype)?)
    }
}

fn main() -> ExitCode {
    exit_code(match Program::parse().command {
        Command::Devices => devices::run(),
        Command::Golden(options) => golden::run(&options),
        Command::TinyWorld(options) => tiny_world::run(&options),
        Command::Stages(options) => stages::run(&options),
        Command::Generate(options) => generate::run(&options),
    })
}
