//! GGUF files: what is read of them, what stays in blocks, and what is said of files that lie.

mod file;
mod loading;
mod loras;
mod refused;
