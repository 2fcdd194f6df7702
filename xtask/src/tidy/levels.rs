//! Which crate may depend on which.
//!
//! Always true when this passes: a crate builds only on crates of lower levels, so the graph has
//! one direction; nothing on the daemon's side can name a type of the kernel or of the
//! microcode, so it cannot hold a secret; nothing builds on the tools.
//!
//! Dev-dependencies may break the levels (a test may look from above) but not use the tools.

use std::collections::BTreeSet;

use super::{Finding, repo::Crate};

/// Every crate that ships, with its level.
const LEVELS: [(&str, u8); 12] = [
    ("dvm-core", 0),
    ("dvm-act", 1),
    ("dvm-score", 1),
    ("dvm-governance", 1),
    ("dvm-blame", 1),
    ("dvm-vm", 2),
    ("dvm-microcode", 2),
    ("dvm-policy", 2),
    ("dvm-kernel", 3),
    ("dvm-evidence", 3),
    ("dvm-node", 4),
    ("dvm", 5),
];

/// Crates that may use anything, and that nothing may use.
const TOOLS: [&str; 4] = ["dvm-bench", "dvm-fuzz", "dvm-sim", "xtask"];

/// Crates that never hold a secret.
const DAEMON_SIDE: [&str; 5] = ["dvm-vm", "dvm-policy", "dvm-evidence", "dvm-node", "dvm"];

/// Crates that do.
const SECRET_SIDE: [&str; 2] = ["dvm-kernel", "dvm-microcode"];

/// Checks the workspace's graph.
pub(crate) fn check(crates: &[Crate]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for krate in crates {
        findings.extend(known(krate));
        findings.extend(krate.builds_on.iter().filter_map(|dep| direction(&krate.name, dep)));
        findings.extend(krate.tests_with.iter().filter_map(|dep| not_a_tool(&krate.name, dep)));
    }
    for name in DAEMON_SIDE {
        let reached = reachable(crates, name);
        findings.extend(SECRET_SIDE.iter().filter(|secret| reached.contains(**secret)).map(
            |secret| Finding {
                place: name.into(),
                what: format!("reaches `{secret}`"),
                remedy: "the daemon's side meets the kernel only through the calls of dvm-core",
            },
        ));
    }
    findings
}

fn level(name: &str) -> Option<u8> {
    LEVELS.iter().find(|(known, _)| *known == name).map(|(_, level)| *level)
}

fn known(krate: &Crate) -> Option<Finding> {
    let known = level(&krate.name).is_some() || TOOLS.contains(&krate.name.as_str());
    (!known).then(|| Finding {
        place: krate.name.clone(),
        what: "has no level".into(),
        remedy: "give it one in xtask/src/tidy/levels.rs, and a row in ARCHITECTURE.md",
    })
}

fn direction(from: &str, to: &str) -> Option<Finding> {
    if let Some(finding) = not_a_tool(from, to) {
        return Some(finding);
    }
    let (Some(above), Some(below)) = (level(from), level(to)) else { return None };
    (above <= below).then(|| Finding {
        place: from.into(),
        what: format!("level {above} builds on `{to}` of level {below}"),
        remedy: "move what both need to a lower crate",
    })
}

fn not_a_tool(from: &str, to: &str) -> Option<Finding> {
    TOOLS.contains(&to).then(|| Finding {
        place: from.into(),
        what: format!("depends on the tool `{to}`"),
        remedy: "tools depend on crates, never the reverse",
    })
}

/// Everything a crate builds on, through any number of steps.
fn reachable<'a>(crates: &'a [Crate], start: &'a str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![start];
    while let Some(name) = open.pop() {
        let deps =
            crates.iter().filter(|krate| krate.name == name).flat_map(|krate| &krate.builds_on);
        open.extend(deps.map(String::as_str).filter(|dep| reached.insert(*dep)));
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    fn krate(name: &str, builds_on: &[&str], tests_with: &[&str]) -> Crate {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
        Crate { name: name.into(), builds_on: owned(builds_on), tests_with: owned(tests_with) }
    }

    fn whats(crates: &[Crate]) -> Vec<String> {
        check(crates).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_crate_may_build_on_a_lower_level_and_not_on_its_own_or_a_higher_one() {
        assert!(whats(&[krate("dvm-score", &["dvm-core"], &[])]).is_empty());
        assert_eq!(
            whats(&[krate("dvm-score", &["dvm-act"], &[])]),
            ["level 1 builds on `dvm-act` of level 1"]
        );
        assert_eq!(
            whats(&[krate("dvm-core", &["dvm-vm"], &[])]),
            ["level 0 builds on `dvm-vm` of level 2"]
        );
    }

    #[test]
    fn a_test_may_look_from_above() {
        assert!(whats(&[krate("dvm-core", &[], &["dvm-vm"])]).is_empty());
    }

    #[test]
    fn the_daemon_may_not_reach_the_kernel_even_through_a_crate_of_its_own() {
        let through = [
            krate("dvm-node", &["dvm-evidence"], &[]),
            krate("dvm-evidence", &["dvm-microcode"], &[]),
        ];
        assert_eq!(whats(&through), ["reaches `dvm-microcode`", "reaches `dvm-microcode`"]);
        assert_eq!(whats(&[krate("dvm", &["dvm-kernel"], &[])]), ["reaches `dvm-kernel`"]);
        assert!(whats(&[krate("dvm-kernel", &["dvm-microcode"], &[])]).is_empty());
    }

    #[test]
    fn nothing_depends_on_a_tool_and_a_tool_may_use_anything() {
        assert!(whats(&[krate("dvm-bench", &["dvm", "dvm-kernel"], &[])]).is_empty());
        assert_eq!(whats(&[krate("dvm", &["xtask"], &[])]), ["depends on the tool `xtask`"]);
        assert_eq!(whats(&[krate("dvm", &[], &["dvm-sim"])]), ["depends on the tool `dvm-sim`"]);
    }

    #[test]
    fn a_crate_without_a_level_is_found() {
        assert_eq!(whats(&[krate("dvm-extra", &[], &[])]), ["has no level"]);
    }
}
