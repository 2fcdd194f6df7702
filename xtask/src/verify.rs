//! `cargo xtask verify`: every check that only reads.
//!
//! Always true: all checks run, also after one failed, so that one run shows all there is to
//! mend; the task succeeds only if each did. The quick ones come first.
//!
//! Not here: tests ([`crate::test`]) and repairs ([`crate::fix`]).

use crate::{
    deny,
    task::{self, Stop, Workspace},
    tidy, tools,
};

type Check = fn(&Workspace) -> Result<(), Stop>;

const CHECKS: [(&str, Check); 5] = [
    ("rustfmt", rustfmt),
    ("tidy", tidy::run),
    ("clippy", clippy),
    ("docs", docs),
    ("deny", deny::run),
];

/// Runs every check and says which failed.
pub(crate) fn run(workspace: &Workspace) -> Result<(), Stop> {
    tools::rust_components(workspace)?;
    all(workspace, &CHECKS)
}

fn all(workspace: &Workspace, checks: &[(&'static str, Check)]) -> Result<(), Stop> {
    let mut failed = Vec::new();
    for (name, check) in checks {
        match check(workspace) {
            Ok(()) => eprintln!("-- {name}: ok"),
            Err(stop) => {
                eprintln!("-- {name}: FAILED");
                failed.push((*name, stop));
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Stop::Checks(failed)) }
}

fn rustfmt(workspace: &Workspace) -> Result<(), Stop> {
    task::run(&mut workspace.cargo(&["fmt", "--all", "--", "--check"]))
}

fn clippy(workspace: &Workspace) -> Result<(), Stop> {
    let args = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    task::run(&mut workspace.cargo(&args))
}

fn docs(workspace: &Workspace) -> Result<(), Stop> {
    let mut doc = workspace.cargo(&["doc", "--workspace", "--no-deps", "--locked"]);
    task::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(_: &Workspace) -> Result<(), Stop> {
        Ok(())
    }

    fn fails(_: &Workspace) -> Result<(), Stop> {
        Err(Stop::Missing { tool: "luck", how: "try again" })
    }

    #[test]
    fn verify_succeeds_only_if_every_check_does_and_names_all_that_failed() {
        let here = Workspace { root: ".".into(), target: "target".into() };
        assert!(all(&here, &[("a", passes), ("b", passes)]).is_ok());
        let Err(Stop::Checks(failed)) = all(&here, &[("a", fails), ("b", passes), ("c", fails)])
        else {
            panic!("two checks failed");
        };
        assert_eq!(failed.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["a", "c"]);
    }
}
