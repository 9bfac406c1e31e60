//! Complete programs, one per file, each with real processes; run one with `cargo run --example NAME`.
#![forbid(unsafe_code)]
