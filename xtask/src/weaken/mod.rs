//! `cargo xtask weaken`: a copy of the sources in which every mutant is built in, each behind its name.
//!
//! What ships has no switch that weakens it; the copy under the target directory has one per row of `mutants/*.toml`,
//! so that a test can show that it notices. Source: docs/decisions/0007-weakened-tree.md.
//! Always true:
//! - only files whose text changed are written, so cargo builds anew only what is new;
//! - packages of the copy have another version, hence other names in the target directory: they share everything that
//!   comes from a registry with the real build and nothing else; its binaries are called `weak-…`.

mod compose;
mod rows;

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use cargo_metadata::Message;
use toml::{Table, Value};

use rows::Part;
pub(crate) use rows::{Mutant, TestRef};

use crate::task::{Stop, Workspace};

/// What the version of every package of the copy ends with; the kernel's attestation shows it.
const MARK: &str = "+weakened";
/// What the name of every binary of the copy begins with.
pub(crate) const PREFIX: &str = "weak-";

/// Where the kernel process gets its environment, and what passes the choice of mutants on to it.
const SPAWN: (&str, &str, &str) = (
    "crates/dvm-node/src/kernel_link.rs",
    ".env_clear()",
    ".env_clear().envs(std::env::var_os(\"DVM_WEAK\").map(|names| (\"DVM_WEAK\", names)))",
);

/// The copy.
pub(crate) struct Weakened {
    /// Its top directory, building where the real one builds.
    pub(crate) workspace: Workspace,
    /// What is built into it.
    pub(crate) mutants: Vec<Mutant>,
}

/// Makes the copy and says what is in it.
pub(crate) fn run(workspace: &Workspace) -> Result<(), Stop> {
    let weakened = prepare(workspace)?;
    for mutant in &weakened.mutants {
        println!("{:<36} {}", mutant.name, mutant.breaks);
    }
    println!("{} rows in {}", weakened.mutants.len(), weakened.workspace.root.display());
    Ok(())
}

/// Makes the copy, or brings it up to date.
///
/// # Errors
/// [`Stop::Findings`] for rows that do not fit the sources.
pub(crate) fn prepare(workspace: &Workspace) -> Result<Weakened, Stop> {
    let mutants = rows::load(workspace)?;
    let tree = workspace.target.join("weakened/tree");
    let mut files = sources(workspace)?;
    weaken_sources(&mut files, &mutants)?;
    weaken_manifests(&mut files)?;
    write(&tree, &files)?;
    let workspace = Workspace { root: tree, target: workspace.target.clone() };
    Ok(Weakened { workspace, mutants })
}

/// A copy that builds in a directory of its own, with these texts for these files and no row.
pub(crate) fn with_texts(
    workspace: &Workspace,
    (tree, target): (PathBuf, PathBuf),
    texts: &BTreeMap<String, String>,
) -> Result<Weakened, Stop> {
    let mut files = sources(workspace)?;
    files.extend(texts.iter().map(|(name, text)| (name.clone(), text.clone().into_bytes())));
    weaken_sources(&mut files, &[])?;
    weaken_manifests(&mut files)?;
    write(&tree, &files)?;
    Ok(Weakened { workspace: Workspace { root: tree, target }, mutants: Vec::new() })
}

impl Weakened {
    /// A cargo that builds the copy beside the real one.
    pub(crate) fn cargo(&self, args: &[&str]) -> std::process::Command {
        let mut cargo = self.workspace.cargo(args);
        cargo.env("CARGO_TARGET_DIR", &self.workspace.target).env_remove("DVM_WEAK");
        cargo
    }

    /// Runs it to its end; gives how it ended and what it said in JSON.
    pub(crate) fn messages(&self, args: &[&str]) -> Result<(ExitStatus, Vec<Message>), Stop> {
        let unusable = |cause| Stop::Unusable { what: "cargo".to_owned(), cause };
        let mut child = self.cargo(args).stdout(Stdio::piped()).spawn().map_err(unusable)?;
        let mut said = Vec::new();
        if let Some(output) = child.stdout.take() {
            for message in Message::parse_stream(BufReader::new(output)) {
                said.push(message.map_err(unusable)?);
            }
        }
        Ok((child.wait().map_err(unusable)?, said))
    }
}

/// Every file that is tracked, or would be if it were added now, with its content.
fn sources(workspace: &Workspace) -> Result<BTreeMap<String, Vec<u8>>, Stop> {
    let args = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let mut command = workspace.command("git", &args);
    let listed =
        command.output().map_err(|cause| Stop::Unusable { what: "git ls-files".into(), cause })?;
    if !listed.status.success() {
        return Err(Stop::Failed { command: "git ls-files".into(), status: listed.status });
    }
    let names = String::from_utf8_lossy(&listed.stdout).into_owned();
    let mut files = BTreeMap::new();
    for name in names.split('\0').filter(|name| !name.is_empty()) {
        // A tracked file that was removed is no source any more.
        if let Ok(content) = std::fs::read(workspace.root.join(name)) {
            files.insert(name.to_owned(), content);
        }
    }
    Ok(files)
}

/// The text of a file; nothing if it is not there or is no text.
fn text<'a>(files: &'a BTreeMap<String, Vec<u8>>, name: &str) -> Option<&'a str> {
    files.get(name).and_then(|content| std::str::from_utf8(content).ok())
}

/// Builds the rows in, and the module that knows which are on.
fn weaken_sources(files: &mut BTreeMap<String, Vec<u8>>, mutants: &[Mutant]) -> Result<(), Stop> {
    let core = "crates/dvm-core/src/";
    let mut parts: BTreeMap<&str, Vec<Part>> = BTreeMap::new();
    for part in mutants.iter().flat_map(Mutant::parts) {
        parts.entry(part.file).or_default().push(part);
    }
    for (name, parts) in parts {
        let weak = if name.starts_with(core) { "crate::weak" } else { "dvm_core::weak" };
        let source = text(files, name).unwrap_or_default();
        let composed = compose::compose(source, &parts, weak);
        let composed = composed.map_err(|finding| Stop::Findings(vec![finding]))?;
        files.insert(name.to_owned(), composed.into_bytes());
    }
    let module = files.remove("mutants/weak.rs").ok_or_else(|| gone("mutants/weak.rs"))?;
    files.insert(format!("{core}weak.rs"), module);
    let (file, before, after) = SPAWN;
    replace(files, file, before, after)?;
    replace(files, &format!("{core}lib.rs"), "pub mod trace;", "pub mod trace;\npub mod weak;")?;
    // Tests name the binaries of their package as cargo does.
    let rust: Vec<String> = files.keys().filter(|name| name.ends_with(".rs")).cloned().collect();
    for name in rust {
        if text(files, &name).is_some_and(|source| source.contains("CARGO_BIN_EXE_")) {
            let renamed = format!("CARGO_BIN_EXE_{PREFIX}");
            let source = text(files, &name).unwrap_or_default();
            let source = source.replace("CARGO_BIN_EXE_", &renamed);
            files.insert(name, source.into_bytes());
        }
    }
    Ok(())
}

/// Replaces a text that must be there.
fn replace(
    files: &mut BTreeMap<String, Vec<u8>>,
    name: &str,
    before: &str,
    after: &str,
) -> Result<(), Stop> {
    let source = text(files, name).filter(|source| source.matches(before).count() == 1);
    let replaced = source.ok_or_else(|| gone(name))?.replace(before, after);
    files.insert(name.to_owned(), replaced.into_bytes());
    Ok(())
}

/// The copy is made from texts that this file names; one of them changed.
fn gone(name: &str) -> Stop {
    let cause = std::io::Error::other("the text that xtask/src/weaken looks for is not there once");
    Stop::Unusable { what: name.to_owned(), cause }
}

/// Another version and other names for binaries; no lint; every crate may ask which mutants are on.
fn weaken_manifests(files: &mut BTreeMap<String, Vec<u8>>) -> Result<(), Stop> {
    let root = text(files, "Cargo.toml").ok_or_else(|| gone("Cargo.toml"))?;
    let mut root: Table = root.parse().map_err(|_| gone("Cargo.toml"))?;
    let version = weaken_workspace(&mut root).ok_or_else(|| gone("Cargo.toml"))?;
    files.insert("Cargo.toml".to_owned(), root.to_string().into_bytes());
    let lock = text(files, "Cargo.lock").ok_or_else(|| gone("Cargo.lock"))?;
    let lock = weaken_lock(lock, &version);
    files.insert("Cargo.lock".to_owned(), lock.into_bytes());

    let manifests: Vec<String> =
        files.keys().filter(|name| name.ends_with("/Cargo.toml")).cloned().collect();
    for name in manifests {
        let manifest = text(files, &name).unwrap_or_default();
        let mut manifest: Table = manifest.parse().map_err(|_| gone(&name))?;
        let directory = name.trim_end_matches("Cargo.toml");
        let main = files.contains_key(&format!("{directory}src/main.rs"));
        weaken_package(&mut manifest, main);
        files.insert(name, manifest.to_string().into_bytes());
    }
    Ok(())
}

/// The workspace's manifest; gives the version that it had.
fn weaken_workspace(root: &mut Table) -> Option<String> {
    let workspace = root.get_mut("workspace")?.as_table_mut()?;
    let version = workspace.get_mut("package")?.as_table_mut()?.get_mut("version")?;
    let before = version.as_str()?.to_owned();
    *version = Value::String(format!("{before}{MARK}"));
    for (_, lints) in workspace.get_mut("lints")?.as_table_mut()? {
        for (_, level) in lints.as_table_mut()? {
            *level = Value::String("allow".to_owned());
        }
    }
    let rust = workspace.get_mut("lints")?.as_table_mut()?.get_mut("rust")?.as_table_mut()?;
    // Text that cannot be reached or is in too many parentheses is what this tree is made of.
    rust.insert("unused".to_owned(), Value::String("allow".to_owned()));
    Some(before)
}

/// Packages of the workspace are those without a source.
fn weaken_lock(lock: &str, version: &str) -> String {
    let (before, after) =
        (format!("version = \"{version}\"\n"), format!("version = \"{version}{MARK}\"\n"));
    let ours = |package: &str| !package.contains("\nsource = ");
    let packages = lock.split("[[package]]").map(|package| {
        if ours(package) { package.replacen(&before, &after, 1) } else { package.to_owned() }
    });
    packages.collect::<Vec<_>>().join("[[package]]")
}

/// One package's manifest.
fn weaken_package(manifest: &mut Table, has_main: bool) {
    let Some(package) = manifest.get_mut("package").and_then(Value::as_table_mut) else { return };
    let name = package.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    if has_main {
        package.insert("autobins".to_owned(), Value::Boolean(false));
    }
    if let Some(bins) = manifest.get_mut("bin").and_then(Value::as_array_mut) {
        for bin in bins.iter_mut().filter_map(Value::as_table_mut) {
            let own = bin.get("name").and_then(Value::as_str).unwrap_or_default();
            let renamed = format!("{PREFIX}{own}");
            bin.insert("name".to_owned(), Value::String(renamed));
        }
    } else if has_main {
        let mut bin = Table::new();
        bin.insert("name".to_owned(), Value::String(format!("{PREFIX}{name}")));
        bin.insert("path".to_owned(), Value::String("src/main.rs".to_owned()));
        manifest.insert("bin".to_owned(), Value::Array(vec![Value::Table(bin)]));
    }
    if name == "dvm-core" {
        return;
    }
    if let Some(deps) = manifest.get_mut("dependencies").and_then(Value::as_table_mut) {
        let from_workspace = [("workspace".to_owned(), Value::Boolean(true))];
        let core = Value::Table(from_workspace.into_iter().collect());
        deps.entry("dvm-core").or_insert(core);
    }
}

/// Writes what changed, and removes what is no longer there.
fn write(tree: &Path, files: &BTreeMap<String, Vec<u8>>) -> Result<(), Stop> {
    let unusable = |path: &Path| {
        let what = path.display().to_string();
        move |cause| Stop::Unusable { what, cause }
    };
    std::fs::create_dir_all(tree).map_err(unusable(tree))?;
    let mut open = vec![tree.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).map_err(unusable(&directory))? {
            let path = entry.map_err(unusable(&directory))?.path();
            let name = path.strip_prefix(tree).unwrap_or(&path).to_string_lossy().into_owned();
            if path.is_dir() {
                open.push(path);
            } else if !files.contains_key(&name) {
                std::fs::remove_file(&path).map_err(unusable(&path))?;
            }
        }
    }
    for (name, content) in files {
        let path: PathBuf = tree.join(name);
        if std::fs::read(&path).is_ok_and(|there| there == *content) {
            continue;
        }
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(unusable(directory))?;
        }
        std::fs::write(&path, content).map_err(unusable(&path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_packages_get_another_version() {
        let lock = "v\n[[package]]\nname = \"a\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"b\"\n\
                    version = \"0.1.0\"\nsource = \"registry\"\n";
        let weakened = weaken_lock(lock, "0.1.0");
        assert_eq!(weakened.matches("0.1.0+weakened").count(), 1);
        assert!(weakened.contains("name = \"a\"\nversion = \"0.1.0+weakened\"\n"));
        assert!(weakened.contains("name = \"b\"\nversion = \"0.1.0\"\n"));
    }

    #[test]
    fn a_package_with_a_main_builds_it_under_another_name_and_reaches_the_switches() {
        let mut manifest: Table = "[package]\nname = 'dvm'\n[dependencies]\n".parse().unwrap();
        weaken_package(&mut manifest, true);
        assert_eq!(manifest["bin"][0]["name"].as_str(), Some("weak-dvm"));
        assert_eq!(manifest["dependencies"]["dvm-core"]["workspace"].as_bool(), Some(true));
        let mut library: Table = "[package]\nname = 'dvm-core'\n[dependencies]\n".parse().unwrap();
        weaken_package(&mut library, false);
        assert!(library.get("bin").is_none());
        assert!(library["dependencies"].get("dvm-core").is_none(), "no crate builds on itself");
    }

    #[test]
    fn a_file_is_written_only_when_it_changed_and_goes_when_its_source_goes() {
        let tree = tempfile::tempdir().unwrap();
        let file = |text: &str| BTreeMap::from([("a/b.rs".to_owned(), text.as_bytes().to_vec())]);
        write(tree.path(), &file("x")).unwrap();
        let path = tree.path().join("a/b.rs");
        let written = || std::fs::metadata(&path).unwrap().modified().unwrap();
        let first = written();
        std::thread::sleep(std::time::Duration::from_millis(20));
        write(tree.path(), &file("x")).unwrap();
        assert_eq!(written(), first);
        write(tree.path(), &file("y")).unwrap();
        assert!(written() > first);
        write(tree.path(), &BTreeMap::new()).unwrap();
        assert!(!path.exists());
    }
}
