//! One binary: the command line and the daemon.
fn main() {}
