//! Benchmarks of t2v: see `benches/`.
