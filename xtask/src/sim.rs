//! `cargo xtask sim ARGS`: builds the simulator in release and runs it.
//!
//! Always true: its exit code is the simulator's (0 no complaint, 1 a complaint, 2 the command line
//! or the simulation itself), because this process is replaced by it.

use std::os::unix::process::CommandExt as _;

use crate::task::{self, Stop, Workspace};

/// Seeds that `cargo xtask test` runs.
const SEEDS_TESTED: &str = "1000";

/// Builds, then does not return unless the simulator could not be started.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<(), Stop> {
    build(workspace)?;
    let simulator = workspace.target.join("release/dvm-sim");
    let cause = std::process::Command::new(&simulator).args(args).exec();
    Err(Stop::Unusable { what: simulator.display().to_string(), cause })
}

/// What the tests run of the simulator that is built: so many seeds, and the crash matrix.
pub(crate) fn test(workspace: &Workspace) -> Result<(), Stop> {
    let simulator = workspace.target.join("release/dvm-sim");
    task::run(&mut workspace.command(&simulator, &["--seeds", SEEDS_TESTED]))?;
    task::run(&mut workspace.command(&simulator, &["--matrix"]))
}

/// Builds it with the product's binaries, so that what they share is built once: alone it would get other features.
pub(crate) fn build(workspace: &Workspace) -> Result<(), Stop> {
    let packages = ["-p", "dvm", "-p", "dvm-kernel", "-p", "dvm-sim"];
    let build = ["build", "--release", "--locked", "--bins"];
    task::run(&mut workspace.cargo(&[&build[..], &packages[..]].concat()))
}
