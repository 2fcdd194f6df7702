//! The secret kernel's process.
fn main() {}
