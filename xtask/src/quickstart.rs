//! `cargo xtask quickstart [ARGS]`: builds the binaries in release and becomes `dvm quickstart`.
//!
//! Always true: standard output carries only what `dvm` prints, so `--json` stays one object;
//! signals reach `dvm` itself, because this process is replaced by it.

use std::os::unix::process::CommandExt as _;

use crate::task::{self, Stop, Workspace};

/// Builds, then does not return unless `dvm` could not be started.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<(), Stop> {
    // Both binaries: `dvm` starts the `dvm-kernel` that lies beside it.
    task::run(&mut workspace.cargo(&["build", "--release", "--bins", "--locked"]))?;
    let dvm = workspace.target.join("release/dvm");
    // Not in the workspace's directory: a relative `--dir` or `--file` means the caller's.
    let cause = std::process::Command::new(&dvm).arg("quickstart").args(args).exec();
    Err(Stop::Unusable { what: dvm.display().to_string(), cause })
}
