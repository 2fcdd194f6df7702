//! What the rules look at: the repository's text files and cargo's view of the workspace.
//!
//! Always true: files are read whole, in the order of their paths; build output, version
//! control and links are not followed.

use std::{collections::BTreeSet, fs, path::Path};

use cargo_metadata::{DependencyKind, Metadata};

use super::lex::{self, Token};
use crate::task::{Stop, Workspace};

/// The one platform we ship for; fixing it makes the kernel's tree the same on every machine.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// Directories that are not ours to check.
const SKIPPED: [&str; 4] = ["target", ".git", ".dvm", "node_modules"];

/// A text file.
pub(crate) struct Text {
    /// Its path from the repository's top, with `/`.
    pub(crate) path: String,
    /// Its content.
    pub(crate) text: String,
}

/// A Rust file, cut into tokens.
pub(crate) struct Rust {
    /// Its path from the repository's top, with `/`.
    pub(crate) path: String,
    /// Its length.
    pub(crate) lines: usize,
    /// Everything but spaces.
    pub(crate) tokens: Vec<Token>,
}

impl Rust {
    /// Cuts a file.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let mut tokens = lex::tokens(text);
        if is_test_path(path) {
            tokens.iter_mut().for_each(|token| token.in_test = true);
        }
        Self { path: path.into(), lines: text.lines().count(), tokens }
    }
}

/// The repository's files.
pub(crate) struct Files {
    /// Every path, directories included.
    pub(crate) paths: BTreeSet<String>,
    /// Every file that is text, Rust included.
    pub(crate) texts: Vec<Text>,
    /// Every Rust file.
    pub(crate) rust: Vec<Rust>,
}

impl Files {
    /// Reads the work tree.
    pub(crate) fn load(root: &Path) -> Result<Self, Stop> {
        let mut files = Self { paths: BTreeSet::new(), texts: Vec::new(), rust: Vec::new() };
        files
            .walk(root, root)
            .map_err(|cause| Stop::Unusable { what: "the work tree".into(), cause })?;
        Ok(files)
    }

    fn walk(&mut self, root: &Path, directory: &Path) -> std::io::Result<()> {
        let mut entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            if SKIPPED.iter().any(|skipped| entry.file_name() == *skipped) {
                continue;
            }
            let path = entry.path();
            let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.walk(root, &path)?;
            } else if kind.is_file() {
                self.add(&relative, fs::read(&path)?);
            }
            self.paths.insert(relative);
        }
        Ok(())
    }

    fn add(&mut self, path: &str, bytes: Vec<u8>) {
        // What is not UTF-8 is a vector or an image: no rule reads it.
        let Ok(text) = String::from_utf8(bytes) else { return };
        if path.ends_with(".rs") {
            self.rust.push(Rust::new(path, &text));
        }
        self.texts.push(Text { path: path.into(), text });
    }
}

/// Files that hold nothing but tests.
fn is_test_path(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// A crate of the workspace and the workspace crates it names.
pub(crate) struct Crate {
    /// The package's name.
    pub(crate) name: String,
    /// What it needs to be built, in shipped form.
    pub(crate) builds_on: Vec<String>,
    /// What only its tests need.
    pub(crate) tests_with: Vec<String>,
}

/// Asks cargo for the resolved workspace.
pub(crate) fn metadata(workspace: &Workspace) -> Result<Metadata, Stop> {
    let options = ["--locked", "--filter-platform", PLATFORM].map(String::from);
    cargo_metadata::MetadataCommand::new()
        .current_dir(&workspace.root)
        .other_options(options.to_vec())
        .exec()
        .map_err(Stop::Metadata)
}

/// The workspace's own crates.
pub(crate) fn crates(metadata: &Metadata) -> Vec<Crate> {
    let members = metadata.workspace_packages();
    let ours: BTreeSet<&str> = members.iter().map(|package| package.name.as_str()).collect();
    let named = |package: &cargo_metadata::Package, in_tests: bool| {
        let wanted = package
            .dependencies
            .iter()
            .filter(|dep| (dep.kind == DependencyKind::Development) == in_tests)
            .map(|dep| dep.name.clone());
        wanted.filter(|name| ours.contains(name.as_str())).collect()
    };
    members
        .iter()
        .map(|package| Crate {
            name: package.name.to_string(),
            builds_on: named(package, false),
            tests_with: named(package, true),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_tests_count_as_tests_from_end_to_end() {
        for (path, expected) in [
            ("crates/dvm-vm/tests/step.rs", true),
            ("crates/dvm-vm/src/step/tests.rs", true),
            ("crates/dvm-vm/src/attests.rs", false),
            ("crates/dvm-vm/src/step.rs", false),
        ] {
            assert_eq!(is_test_path(path), expected, "{path}");
            assert!(
                Rust::new(path, "fn f() {}").tokens.iter().all(|token| token.in_test == expected)
            );
        }
    }
}
