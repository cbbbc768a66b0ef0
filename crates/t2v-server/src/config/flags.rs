//! The flags of the program.

use std::path::PathBuf;

use clap::Parser;
use serde::Serialize;

/// Text to video over HTTP.
///
/// Every flag can be given in the environment, too, as `T2V_` and its name in capitals, and in a TOML file.
#[derive(Clone, Default, Parser, Serialize)]
#[command(version)]
pub struct Flags {
    /// A TOML file with further settings.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Says what is wrong with the configuration, all of it, and ends.
    #[arg(long)]
    #[serde(skip)]
    pub check_config: bool,
    /// Where to listen; port 0 takes a free one and prints it [default: 127.0.0.1:8000].
    #[arg(long, value_name = "ADDR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// Where jobs and videos are kept [default: t2v-data].
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<String>,
    /// Where jobs are kept: sqlite://FILE or postgres://… [default: a file in the data folder].
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// Where videos are kept: file://DIR or s3://BUCKET [default: a folder in the data folder].
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<String>,
    /// Where clients find this server; needed where it listens at every address (0.0.0.0, or that of IPv6) [default: http://
    /// and where it listens].
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// A key that may do everything; repeatable [default: one that is drawn and printed once].
    #[arg(long, value_name = "KEY")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<String>,
    /// A model besides the embedded one: a folder, a checkpoint in one file, or an id of the hub; repeatable.
    #[arg(long, value_name = "NAME=DIR_OR_FILE_OR_HUB_ID")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub model: Vec<String>,
    /// For a checkpoint in one file (--model NAME=FILE): the folder with its tokenizer and configurations; repeatable.
    #[arg(long, value_name = "NAME=DIR")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub model_config: Vec<String>,
    /// Motion modules that make a model of pictures one of videos; repeatable.
    #[arg(long, value_name = "NAME=DIR_OR_FILE")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub motion_adapter: Vec<String>,
    /// A LoRA that requests may ask for by name (lora_model); repeatable.
    #[arg(long, value_name = "NAME=FILE")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lora: Vec<String>,
    /// A learnt word that requests may ask for by name (embeddings_model); repeatable.
    #[arg(long, value_name = "NAME=FILE")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub embedding: Vec<String>,
    /// What models run on: auto (the best there is), flex (the CPU), wgpu, vulkan, metal, cuda, or one of several as in
    /// cuda:1 [default: auto].
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// What their networks compute in: f32, f16, bf16, or auto, which is half precision where the device has matrix units
    /// for it [default: auto].
    #[arg(long, value_name = "TYPE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dtype: Option<String>,
    /// Generations at once; 0 only serves [default: 1].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<u64>,
    /// How long text2video waits for its video before it answers "processing" [default: 8].
    #[arg(long, value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<u64>,
    /// How long jobs are known after their end, if their videos are gone [default: 30].
    #[arg(long, value_name = "DAYS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_jobs: Option<u64>,
    /// Lets webhooks and pictures to start from be http:// and at private addresses: for tests and intranets.
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_private_webhooks: bool,
}
