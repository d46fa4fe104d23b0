//! The `syncra` program.
fn main() {}
