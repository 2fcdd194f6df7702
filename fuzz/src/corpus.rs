//! Seeds: small inputs made from genuine artifacts, in `fuzz/corpus/TARGET`.

use std::path::PathBuf;

/// The fuzz directory.
pub fn home() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The seeds of a target, in the order of their names. At least one: an empty input.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let directory = home().join("corpus").join(target);
    let mut files: Vec<PathBuf> = match std::fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
        Err(_) => Vec::new(),
    };
    files.sort();
    let mut seeds: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    if seeds.is_empty() {
        seeds.push(Vec::new());
    }
    seeds
}

/// A file of `fuzz/fixtures`.
pub fn fixture(name: &str) -> Vec<u8> {
    let path = home().join("fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
