//! pytop's development tasks: `cargo xtask --help` lists them.
fn main() {}
