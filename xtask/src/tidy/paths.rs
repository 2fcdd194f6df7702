//! Every path of this repository that a map names exists.
//!
//! A path is what stands in backticks outside fenced blocks, has a slash, and either starts in
//! one of our top directories or ends like one of our files. Write paths from the top, and paths
//! of a running node with a placeholder (`<dir>/node.toml`), which is no path here. After `::` a
//! name may follow, as in `path/to/file.rs::a_test`; then the file must have that word.

use super::{Finding, repo::Files};

/// The documents whose named paths must exist.
const MAPS: [&str; 2] = ["ARCHITECTURE.md", "SECURITY.md"];

const TOPS: [&str; 12] = [
    "crates", "docs", "spec", "vectors", "xtask", "bench", "sim", "fuzz", "mutants", "examples",
    ".ci", ".cargo",
];

const ENDINGS: [&str; 5] = [".rs", ".md", ".toml", ".txt", ".sh"];

/// Checks all maps; a map that is gone is itself a finding.
pub(crate) fn check(files: &Files) -> Vec<Finding> {
    MAPS.iter().flat_map(|map| document(map, files)).collect()
}

fn document(map: &str, files: &Files) -> Vec<Finding> {
    let Some(text) = files.texts.iter().find(|text| text.path == map) else {
        let what = "does not exist".into();
        return vec![Finding { place: map.into(), what, remedy: "write it: readers start there" }];
    };
    named_paths(map, &text.text, files)
}

fn named_paths(document: &str, text: &str, files: &Files) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let spans = line.split('`').skip(1).step_by(2);
            let missing = spans.filter(|span| looks_like_path(span) && !exists(span, files));
            findings.extend(missing.map(|span| Finding {
                place: format!("{document}:{}", index + 1),
                what: format!("`{span}` does not exist"),
                remedy: "name what there is, from the repository's top",
            }));
        }
    }
    findings
}

fn looks_like_path(span: &str) -> bool {
    let (path, _) = parts(span);
    let plain = path.chars().all(|c| c.is_ascii_alphanumeric() || "._-/*".contains(c));
    let top = path.split('/').next().unwrap_or_default();
    plain
        && path.contains('/')
        && !path.starts_with('/')
        && (TOPS.contains(&top) || ENDINGS.iter().any(|ending| path.ends_with(ending)))
}

/// The path, and the name inside the file, if one follows.
fn parts(span: &str) -> (&str, Option<&str>) {
    span.split_once("::").map_or((span, None), |(path, name)| (path, Some(name)))
}

fn exists(span: &str, files: &Files) -> bool {
    let (path, name) = parts(span);
    if let Some((before, _)) = path.split_once('*') {
        return files.paths.iter().any(|known| known.starts_with(before));
    }
    let path = path.trim_end_matches('/');
    let has_name = |name: &str| {
        let file = files.rust.iter().find(|file| file.path == path);
        let last = name.rsplit("::").next().unwrap_or(name);
        file.is_some_and(|file| file.tokens.iter().any(|token| token.is(last)))
    };
    files.paths.contains(path) && name.is_none_or(has_name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::repo::{Rust, Text};

    fn missing(text: &str) -> Vec<String> {
        let paths = ["crates", "crates/a", "crates/a/gate.rs", ".ci/run", "docs/x.md"];
        let files = Files {
            paths: paths.map(String::from).into(),
            texts: Vec::new(),
            rust: vec![Rust::new("crates/a/gate.rs", "fn gate_refuses() {} // gate_allows")],
        };
        named_paths("MAP.md", text, &files)
            .into_iter()
            .map(|finding| finding.place + ": " + &finding.what)
            .collect()
    }

    #[test]
    fn a_named_path_must_exist() {
        assert!(
            missing("`crates/a/gate.rs`, `crates/a/`, `.ci/run`, `crates/*/gate.rs`").is_empty()
        );
        assert_eq!(
            missing("see\n`crates/b/gate.rs`"),
            ["MAP.md:2: `crates/b/gate.rs` does not exist"]
        );
        assert_eq!(missing("`src/gate.rs`"), ["MAP.md:1: `src/gate.rs` does not exist"]);
        assert_eq!(missing("`spec/*.md`"), ["MAP.md:1: `spec/*.md` does not exist"]);
    }

    #[test]
    fn a_named_test_must_be_in_its_file_as_code() {
        assert!(missing("`crates/a/gate.rs::gate_refuses`").is_empty());
        assert_eq!(missing("`crates/a/gate.rs::gate_allows`").len(), 1);
    }

    #[test]
    fn what_is_no_path_of_ours_is_left_alone() {
        for other in [
            "`/openapi.json`",
            "`application/json`",
            "`<dir>/node.toml`",
            "`gate.rs`",
            "crates/none",
            "`cargo xtask tidy`",
        ] {
            assert!(missing(other).is_empty(), "{other}");
        }
        assert!(missing("```\n`crates/none`\n```").is_empty());
        assert_eq!(missing("```\n```\n`crates/none`").len(), 1);
    }

    #[test]
    fn both_maps_must_be_there() {
        let map = |path: &str| Text { path: path.into(), text: String::new() };
        let with = |texts| check(&Files { paths: [].into(), texts, rust: Vec::new() });
        assert!(with(vec![map("ARCHITECTURE.md"), map("SECURITY.md")]).is_empty());
        assert_eq!(with(vec![map("ARCHITECTURE.md")])[0].place, "SECURITY.md");
    }
}
