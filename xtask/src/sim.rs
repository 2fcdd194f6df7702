//! `cargo xtask sim ARGS`: builds the simulator in release and runs it.
//!
//! Always true: its exit code is the simulator's (0 no complaint, 1 a complaint, 2 the command line
//! or the simulation itself), because this process is replaced by it.

use std::os::unix::process::CommandExt as _;

use crate::task::{self, Stop, Workspace};

/// Builds, then does not return unless the simulator could not be started.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<(), Stop> {
    build(workspace)?;
    let simulator = workspace.target.join("release/dvm-sim");
    let cause = std::process::Command::new(&simulator).args(args).exec();
    Err(Stop::Unusable { what: simulator.display().to_string(), cause })
}

fn build(workspace: &Workspace) -> Result<(), Stop> {
    task::run(&mut workspace.cargo(&["build", "--release", "-p", "dvm-sim", "--locked"]))
}
