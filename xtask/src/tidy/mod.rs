//! `cargo xtask tidy`: the house rules that a machine can check.
//!
//! Each rule is a pure function from the repository's text, or from cargo's metadata, to
//! findings, in the module of its name. Here they are put together.
//!
//! Always true: every rule runs; a single finding fails the task; a finding says where, what,
//! and what to do about it.

mod cases;
mod kernel_deps;
mod levels;
pub(crate) mod lex;
mod paths;
mod pure;
mod repo;
mod sizes;
mod words;

use std::fmt;

use crate::task::{self, Stop, Workspace};

const KERNEL_DEPS: &str = "xtask/kernel-deps.txt";
const SIZE_EXCEPTIONS: &str = "xtask/size-exceptions.txt";

/// One broken rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// A file, a file and line, or a crate.
    pub(crate) place: String,
    /// What is wrong there.
    pub(crate) what: String,
    /// What to do about it.
    pub(crate) remedy: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.place, self.what, self.remedy)
    }
}

/// Checks all rules.
pub(crate) fn run(workspace: &Workspace) -> Result<(), Stop> {
    let metadata = repo::metadata(workspace)?;
    let files = repo::Files::load(&workspace.root)?;
    let listed_deps = task::read(&workspace.root.join(KERNEL_DEPS))?;
    let exceptions = task::read(&workspace.root.join(SIZE_EXCEPTIONS))?;

    let mut findings = levels::check(&repo::crates(&metadata));
    findings.extend(kernel_deps::check(&kernel_deps::tree(&metadata), &listed_deps));
    findings.extend(sizes::check(&files.rust, &exceptions));
    findings.extend(paths::check(&files));
    findings.extend(pure::check(&files.rust));
    findings.extend(words::check(&files));
    findings.extend(cases::check(&files));
    if findings.is_empty() { Ok(()) } else { Err(Stop::Findings(findings)) }
}

/// Rewrites the kernel's allow-list from what cargo resolves today.
pub(crate) fn bless_kernel_deps(workspace: &Workspace) -> Result<(), Stop> {
    let text = kernel_deps::list(&kernel_deps::tree(&repo::metadata(workspace)?));
    let path = workspace.root.join(KERNEL_DEPS);
    std::fs::write(&path, text)
        .map_err(|cause| Stop::Unusable { what: path.display().to_string(), cause })
}
