//! `cargo xtask test`: everything that must hold before a change is shared.
//!
//! `verify` first; then the tools that tests check us with; then the release binaries, because
//! the end-to-end tests start real nodes and kernels; then 1,000 seeds and the crash matrix of the
//! simulator; then every test of the workspace, to the end even if some fail. The last lines are
//! the test runner's own.
//!
//! Not here: the campaigns, which take longer (more seeds by `sim`, `mutants`, `controls`,
//! `campaign`, `fuzz`, `mutation`).
//!
//! Tests find what they need in three variables: `DVM_BIN_DIR`, the directory of `dvm` and
//! `dvm-kernel`; `DVM_PYTHON`, a Python that can import `libipld`; `DVM_ANVIL`, a local Ethereum chain.

use crate::{
    sim,
    task::{self, Stop, Workspace},
    tools, verify,
};

/// Verifies, builds and tests.
pub(crate) fn run(workspace: &Workspace) -> Result<(), Stop> {
    // The tools come first: better to hear of a missing one now than after ten minutes.
    tools::openssl(workspace)?;
    let python = tools::python(workspace)?;
    let anvil = tools::anvil(workspace)?;
    tools::cargo_deny(workspace)?;
    verify::run(workspace)?;
    sim::build(workspace)?;
    let simulated = sim::test(workspace);
    let mut tests = workspace.cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
    tests.env("DVM_BIN_DIR", workspace.target.join("release"));
    tests.env("DVM_PYTHON", python).env("DVM_ANVIL", anvil);
    task::run(&mut tests).and(simulated)
}
