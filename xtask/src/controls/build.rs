//! Builds the tests that rows name, and the binaries that some of them start, from the weakened tree.
//!
//! Always true: what is run is what cargo said that it built just now.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{Message, TargetKind};

use crate::{
    task::Stop,
    weaken::{Mutant, PREFIX, TestRef, Weakened},
};

/// What a built tree offers.
pub(crate) struct Built {
    /// The executable of each test target, by package and target.
    executables: BTreeMap<(String, String), PathBuf>,
    /// The top of the weakened tree.
    root: PathBuf,
    /// Where its binaries lie under their own names.
    pub(crate) bins: PathBuf,
}

impl Built {
    /// The executable that has this test, if there is one.
    pub(crate) fn executable(&self, test: &TestRef) -> Option<&PathBuf> {
        self.executables.get(&(test.package.clone(), test.target.clone()))
    }

    /// Where cargo would run the tests of a package.
    pub(crate) fn directory(&self, package: &str) -> PathBuf {
        let inside = self.root.join("crates").join(package);
        if inside.is_dir() { inside } else { self.root.join(package.trim_start_matches("dvm-")) }
    }
}

/// Builds all that the rows name.
pub(crate) fn tests(weakened: &Weakened, rows: &[&Mutant]) -> Result<Built, Stop> {
    let tests: Vec<TestRef> = rows.iter().flat_map(|row| row.tests()).collect();
    let mut targets: BTreeSet<&str> = tests.iter().map(|test| test.target.as_str()).collect();
    if rows.iter().any(|row| row.bins) {
        // A package's integration tests bring its binaries; these two are of the packages that have one.
        targets.extend(["process", "e2e"]);
    }
    // The whole workspace, so that the crates from the registry are those that its tests were built with.
    let mut args =
        vec!["test", "--workspace", "--no-run", "--message-format=json-render-diagnostics"];
    let named = |package: &str| tests.iter().any(|test| test.package == package);
    for unused in ["dvm-bench", "dvm-sim"].into_iter().filter(|package| !named(package)) {
        args.extend(["--exclude", unused]);
    }
    for target in targets {
        if target == "lib" {
            args.push("--lib");
        } else {
            args.extend(["--test", target]);
        }
    }
    let mut built = Built {
        executables: BTreeMap::new(),
        root: weakened.workspace.root.clone(),
        bins: weakened.workspace.target.join("weakened/bin"),
    };
    for artifact in artifacts(weakened, &args)? {
        let Some(executable) = artifact.executable.map(PathBuf::from) else { continue };
        let kinds = &artifact.target.kind;
        if artifact.profile.test {
            let library = !kinds.contains(&TargetKind::Test);
            let target = if library { "lib".to_owned() } else { artifact.target.name };
            let package = package(artifact.manifest_path.as_std_path());
            built.executables.insert((package, target), executable);
        } else if kinds.contains(&TargetKind::Bin) {
            place(&executable, artifact.target.name.trim_start_matches(PREFIX), &built.bins)?;
        }
    }
    Ok(built)
}

/// The package of a manifest: all but the tools are called like their directory.
fn package(manifest: &Path) -> String {
    let directory = manifest.parent().and_then(Path::file_name).unwrap_or_default();
    let name = directory.to_string_lossy().into_owned();
    if name == "sim" || name == "bench" { format!("dvm-{name}") } else { name }
}

/// Runs cargo in the weakened tree; gives what it built.
fn artifacts(weakened: &Weakened, args: &[&str]) -> Result<Vec<cargo_metadata::Artifact>, Stop> {
    let command = "cargo test --no-run (weakened tree)".to_owned();
    eprintln!("-- {command}");
    let (status, said) = weakened.messages(args)?;
    if !status.success() {
        return Err(Stop::Failed { command, status });
    }
    let built = said.into_iter().filter_map(|message| match message {
        Message::CompilerArtifact(artifact) => Some(artifact),
        _ => None,
    });
    Ok(built.collect())
}

/// Lays a binary down under its own name.
fn place(executable: &Path, name: &str, bins: &Path) -> Result<(), Stop> {
    let path = bins.join(name);
    let unusable = |cause| Stop::Unusable { what: path.display().to_string(), cause };
    std::fs::create_dir_all(bins).map_err(unusable)?;
    let fresh = bins.join(format!(".{name}"));
    std::fs::copy(executable, &fresh).map_err(unusable)?;
    // In one step: a process may be running the old one.
    std::fs::rename(&fresh, &path).map_err(unusable)
}
