//! The `pytop` command.
fn main() {}
