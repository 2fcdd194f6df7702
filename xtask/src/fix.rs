//! `cargo xtask fix`: applies what rustfmt and clippy can repair without a decision.
//!
//! The only task that writes to the sources. It works on a dirty tree, since that is when it is
//! wanted; look at the diff.

use crate::{
    task::{self, Stop, Workspace},
    tools,
};

/// Repairs lints, then the format, because clippy's repairs are not formatted.
pub(crate) fn run(workspace: &Workspace) -> Result<(), Stop> {
    tools::rust_components(workspace)?;
    let clippy =
        ["clippy", "--fix", "--workspace", "--all-targets", "--allow-dirty", "--allow-staged"];
    task::run(&mut workspace.cargo(&clippy))?;
    task::run(&mut workspace.cargo(&["fmt", "--all"]))
}
