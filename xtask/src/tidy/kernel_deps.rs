//! The kernel's whole dependency tree equals its allow-list, `xtask/kernel-deps.txt`.
//!
//! The process that holds the secrets is as trustworthy as everything compiled into it, build
//! scripts and derive macros included; so each name is a decision that shows in a diff.
//!
//! Always true: the tree is the one cargo resolves for the whole workspace, which is never
//! smaller than the one that ships. Some names are refused even if the list has them.

use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, Metadata, NodeDep, PackageId};

use super::{Finding, KERNEL_DEPS};

const KERNEL: &str = "dvm-kernel";

const HEADER: &str = "\
# Everything that is compiled into dvm-kernel, or that compiles it: one package a line, sorted.
# `cargo xtask tidy` fails on a missing or a stale name. After a deliberate change, rewrite this
# file with `cargo xtask tidy --bless-kernel-deps` and review the diff as a change to the kernel.
";

/// What the kernel does without: an async runtime, HTTP, TLS, JSON, logging, a policy engine.
const NEVER: [&str; 14] = [
    "async-std",
    "axum",
    "cedar-policy",
    "hyper",
    "log",
    "native-tls",
    "openssl",
    "reqwest",
    "rustls",
    "serde_json",
    "smol",
    "tokio",
    "tracing",
    "ureq",
];

/// The names of all packages the kernel is built from, itself included.
pub(crate) fn tree(metadata: &Metadata) -> BTreeSet<String> {
    let kernel = metadata.packages.iter().find(|package| package.name.as_str() == KERNEL);
    let mut open: Vec<&PackageId> = kernel.map(|package| &package.id).into_iter().collect();
    let mut seen: BTreeSet<&PackageId> = open.iter().copied().collect();
    let nodes = metadata.resolve.as_ref().map_or([].as_slice(), |resolve| resolve.nodes.as_slice());
    while let Some(id) = open.pop() {
        let deps = nodes.iter().filter(|node| node.id == *id).flat_map(|node| &node.deps);
        open.extend(deps.filter(|dep| ships(dep)).map(|dep| &dep.pkg).filter(|id| seen.insert(id)));
    }
    let packages = metadata.packages.iter().filter(|package| seen.contains(&package.id));
    packages.map(|package| package.name.to_string()).collect()
}

/// Whether a dependency is more than a test's.
fn ships(dep: &NodeDep) -> bool {
    dep.dep_kinds.iter().any(|info| info.kind != DependencyKind::Development)
}

/// The allow-list's text for a tree.
pub(crate) fn list(tree: &BTreeSet<String>) -> String {
    let names: String = tree.iter().map(|name| format!("{name}\n")).collect();
    format!("{HEADER}{names}")
}

/// Compares the tree with the list.
pub(crate) fn check(tree: &BTreeSet<String>, listed: &str) -> Vec<Finding> {
    let lines: Vec<&str> = listed.lines().filter(|line| !line.starts_with('#')).collect();
    let names: BTreeSet<&str> = lines.iter().copied().collect();
    let mut findings = Vec::new();
    let mut add = |what: String, remedy| {
        findings.push(Finding { place: KERNEL_DEPS.into(), what, remedy });
    };
    if !tree.contains(KERNEL) {
        add(
            format!("there is no package `{KERNEL}`"),
            "name the kernel's crate in xtask/src/tidy/kernel_deps.rs",
        );
    }
    for name in tree.iter().filter(|name| !names.contains(name.as_str())) {
        add(
            format!("the kernel now depends on `{name}`"),
            "do without it, or run `cargo xtask tidy --bless-kernel-deps` and defend the diff",
        );
    }
    for name in names.iter().filter(|name| !tree.contains(**name)) {
        add(
            format!("the kernel no longer depends on `{name}`"),
            "run `cargo xtask tidy --bless-kernel-deps`",
        );
    }
    for name in NEVER.iter().filter(|name| tree.contains(**name)) {
        add(format!("`{name}` is in the kernel"), "take it out; no list can allow it");
    }
    if !lines.is_sorted_by(|a, b| a < b) {
        add(
            "the names are not sorted, or not unique".into(),
            "run `cargo xtask tidy --bless-kernel-deps`",
        );
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).into()).collect()
    }

    fn whats(tree: &[&str], listed: &str) -> Vec<String> {
        check(&names(tree), listed).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_blessed_list_passes() {
        let tree = names(&["dvm-kernel", "sha2"]);
        assert!(check(&tree, &list(&tree)).is_empty());
    }

    #[test]
    fn a_new_and_a_stale_name_both_fail() {
        assert_eq!(
            whats(&["dvm-kernel", "sha2"], "dvm-kernel\n"),
            ["the kernel now depends on `sha2`"]
        );
        assert_eq!(
            whats(&["dvm-kernel"], "dvm-kernel\nsha2\n"),
            ["the kernel no longer depends on `sha2`"]
        );
    }

    #[test]
    fn an_unsorted_or_repeated_name_fails() {
        let what = "the names are not sorted, or not unique";
        assert_eq!(whats(&["dvm-kernel", "sha2"], "sha2\ndvm-kernel\n"), [what]);
        assert_eq!(whats(&["dvm-kernel"], "dvm-kernel\ndvm-kernel\n"), [what]);
    }

    #[test]
    fn no_list_can_allow_an_async_runtime() {
        assert_eq!(
            whats(&["dvm-kernel", "tokio"], "dvm-kernel\ntokio\n"),
            ["`tokio` is in the kernel"]
        );
    }

    #[test]
    fn an_empty_tree_is_no_pass() {
        assert_eq!(whats(&[], ""), ["there is no package `dvm-kernel`"]);
    }

    #[test]
    fn the_tree_of_this_workspace_reaches_beyond_direct_dependencies_and_leaves_tests_out() {
        let metadata = cargo_metadata::MetadataCommand::new()
            .other_options(vec!["--locked".into()])
            .exec()
            .unwrap();
        let tree = tree(&metadata);
        assert!(tree.contains("dvm-core") && tree.contains("generic-array"));
        assert!(!tree.contains("tempfile"), "a dev-dependency");
    }
}
