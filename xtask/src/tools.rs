//! The tools that checks and tests need beyond the Rust toolchain, and how each gets here.
//!
//! Always true: what can live inside the target directory is installed there, and a failed
//! installation is a failure; system packages are installed only with `CI=true`, and without it the
//! task stops and says what to type.

use std::path::{Path, PathBuf};

use crate::task::{Stop, Workspace, run, works};

const CARGO_DENY_VERSION: &str = "0.20.2";
const CARGO_MUTANTS_VERSION: &str = "27.0.0";
const LIBIPLD: &str = "libipld==3.5.0";
/// What npm installs, with the hash of every byte: `tests/anvil/package-lock.json`.
const ANVIL_FILES: [&str; 2] = ["package.json", "package-lock.json"];
/// The binary itself: the package's wrapper would leave it behind when it is killed.
const ANVIL: &str = "node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil";

/// The `cargo-deny` to use: the one in the target directory, else the one on the path.
pub(crate) fn cargo_deny(workspace: &Workspace) -> Result<PathBuf, Stop> {
    let root = workspace.target.join("tools");
    let ours = root.join("bin/cargo-deny");
    if works(&mut workspace.command(&ours, &["--version"])) {
        return Ok(ours);
    }
    let on_path = PathBuf::from("cargo-deny");
    if works(&mut workspace.command(&on_path, &["--version"])) {
        return Ok(on_path);
    }
    // Unoptimised: it builds in a third of the time, and what it judges takes it seconds.
    let mut install =
        workspace.cargo(&["install", "cargo-deny", "--locked", "--debug", "--version"]);
    run(install.arg(CARGO_DENY_VERSION).arg("--root").arg(&root))?;
    Ok(ours)
}

/// The `cargo-mutants` in the target directory; installed there if it is not.
pub(crate) fn cargo_mutants(workspace: &Workspace) -> Result<PathBuf, Stop> {
    let root = workspace.target.join("tools");
    let ours = root.join("bin/cargo-mutants");
    if !works(&mut workspace.command(&ours, &["mutants", "--version"])) {
        let args = ["install", "cargo-mutants", "--locked", "--debug", "--version"];
        let mut install = workspace.cargo(&args);
        run(install.arg(CARGO_MUTANTS_VERSION).arg("--root").arg(&root))?;
    }
    Ok(ours)
}

/// Makes sure that `cargo fmt` and `cargo clippy` exist; they come with the toolchain.
pub(crate) fn rust_components(workspace: &Workspace) -> Result<(), Stop> {
    let how = "run `rustup component add rustfmt clippy`";
    for (tool, word) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
        if !works(&mut workspace.cargo(&[word, "--version"])) {
            return Err(Stop::Missing { tool, how });
        }
    }
    Ok(())
}

/// Makes sure that `openssl` exists: tests check our signatures with it.
pub(crate) fn openssl(workspace: &Workspace) -> Result<(), Stop> {
    if works(&mut workspace.command("openssl", &["version"])) {
        return Ok(());
    }
    missing_outside_ci(
        "openssl",
        "install the system's `openssl` package (Debian: `apt-get install openssl`)",
    )?;
    apt_install(workspace, &["openssl"])
}

/// A Python that can import `libipld`: tests list our bundles' blocks with it.
pub(crate) fn python(workspace: &Workspace) -> Result<PathBuf, Stop> {
    let env = workspace.target.join("tools/python");
    let python = env.join("bin/python");
    let ready = ["-c", "import libipld"];
    if works(&mut workspace.command(&python, &ready)) {
        return Ok(python);
    }
    if works(&mut workspace.command("python3", &ready)) {
        return Ok(PathBuf::from("python3"));
    }
    if !works(&mut workspace.command("python3", &["-c", "import venv, ensurepip"])) {
        missing_outside_ci(
            "Python with venv",
            "install Python 3 with its venv module (Debian: `apt-get install python3-venv`)",
        )?;
        apt_install(workspace, &["python3", "python3-venv"])?;
    }
    run(workspace.command("python3", &["-m", "venv"]).arg(&env))?;
    run(&mut workspace.command(&python, &["-m", "pip", "install", "--quiet", LIBIPLD]))?;
    Ok(python)
}

/// The `anvil` of `tests/anvil`: tests broadcast our transactions on its chain. npm brings it, nothing of it is run
/// by Node.js.
pub(crate) fn anvil(workspace: &Workspace) -> Result<PathBuf, Stop> {
    let (home, pinned) = (workspace.target.join("tools/anvil"), workspace.root.join("tests/anvil"));
    let binary = home.join(ANVIL);
    let same = |name: &&str| {
        let read = |dir: &Path| std::fs::read(dir.join(name)).ok();
        read(&home).is_some() && read(&home) == read(&pinned)
    };
    if ANVIL_FILES.iter().all(same) && works(&mut workspace.command(&binary, &["--version"])) {
        return Ok(binary);
    }
    if !works(&mut workspace.command("npm", &["--version"])) {
        missing_outside_ci(
            "npm",
            "install Node.js with npm (Debian: `apt-get install npm`); it fetches the local \
             Ethereum chain that tests run",
        )?;
        apt_install(workspace, &["npm"])?;
    }
    for name in ANVIL_FILES {
        let copied = std::fs::create_dir_all(&home)
            .and_then(|()| std::fs::copy(pinned.join(name), home.join(name)));
        copied.map_err(|cause| Stop::Unusable { what: home.display().to_string(), cause })?;
    }
    // No package's script is run: the binary is all that is wanted.
    let args = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"];
    run(workspace.command("npm", &args).arg(&home))?;
    Ok(binary)
}

/// Lets a system package be installed in CI only: a developer's machine is theirs.
fn missing_outside_ci(tool: &'static str, how: &'static str) -> Result<(), Stop> {
    if may_install(std::env::var("CI").ok().as_deref()) {
        Ok(())
    } else {
        Err(Stop::Missing { tool, how })
    }
}

/// Whether the value of the variable `CI` allows an installation.
fn may_install(ci: Option<&str>) -> bool {
    ci == Some("true")
}

fn apt_install(workspace: &Workspace, packages: &[&str]) -> Result<(), Stop> {
    run(&mut workspace.command("apt-get", &["update", "--quiet"]))?;
    let mut install =
        workspace.command("apt-get", &["install", "--yes", "--no-install-recommends"]);
    run(install.args(packages).env("DEBIAN_FRONTEND", "noninteractive"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_installed_unless_ci_is_exactly_true() {
        assert!(may_install(Some("true")));
        for other in [None, Some(""), Some("1"), Some("false"), Some("TRUE")] {
            assert!(!may_install(other), "{other:?}");
        }
    }
}
