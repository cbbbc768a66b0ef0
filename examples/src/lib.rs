//! Programs that use t2v: see `examples/`.
