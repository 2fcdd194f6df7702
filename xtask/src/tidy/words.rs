//! No marker of unfinished work, and no path of somebody's own machine.
//!
//! A marker is looked for in the comments of Rust files and in documents, settings and scripts;
//! what is missing is said where readers look: in an issue, or in a document's list of limits.
//! A local path is looked for in every text file: it works for its author only.

use super::{
    Finding,
    lex::Kind,
    repo::{Files, Rust, Text},
};

const MARKERS: [&str; 2] = ["TODO", "FIXME"];

/// First directories of absolute paths that exist on one machine only.
const LOCAL_ROOTS: [&str; 4] = ["home", "root", "Users", "work"];

/// Files besides Rust that people write, by ending.
const WRITTEN: [&str; 7] = [".md", ".toml", ".txt", ".sh", ".yml", ".yaml", "/run"];

/// Checks all files.
pub(crate) fn check(files: &Files) -> Vec<Finding> {
    let comments = files.rust.iter().flat_map(marked_comments);
    let written =
        files.texts.iter().filter(|file| WRITTEN.iter().any(|ending| file.path.ends_with(ending)));
    let mut findings: Vec<Finding> = comments.chain(written.flat_map(marked_lines)).collect();
    findings.extend(files.texts.iter().flat_map(local_paths));
    findings
}

fn marked_comments(file: &Rust) -> Vec<Finding> {
    let comments = file.tokens.iter().filter(|token| token.kind == Kind::Comment);
    comments.filter_map(|token| marker(&token.text, &file.path, token.line)).collect()
}

fn marked_lines(file: &Text) -> Vec<Finding> {
    let lines = file.text.lines().enumerate();
    lines.filter_map(|(index, line)| marker(line, &file.path, index + 1)).collect()
}

fn marker(text: &str, path: &str, line: usize) -> Option<Finding> {
    let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    let word = words.find(|word| MARKERS.contains(word))?;
    Some(Finding {
        place: format!("{path}:{line}"),
        what: format!("`{word}`"),
        remedy: "do it, or open an issue and say what is missing where readers look",
    })
}

fn local_paths(file: &Text) -> Vec<Finding> {
    let lines = file.text.lines().enumerate();
    let named = lines.filter_map(|(index, line)| {
        let root = LOCAL_ROOTS.iter().find(|root| names_root(line, root))?;
        Some(Finding {
            place: format!("{}:{}", file.path, index + 1),
            what: format!("a path under `/{root}`"),
            remedy: "name a path every reader has",
        })
    });
    named.collect()
}

/// Whether a path under this root begins in the line; a longer path or an address is none.
fn names_root(line: &str, root: &str) -> bool {
    let wanted = format!("/{root}/");
    line.match_indices(&wanted).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        before.is_none_or(|c| !c.is_alphanumeric() && !"._-~/>}*$".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn whats(path: &str, text: &str) -> Vec<String> {
        let rust = path.ends_with(".rs").then(|| Rust::new(path, text)).into_iter().collect();
        let texts = vec![Text { path: path.into(), text: text.into() }];
        let files = Files { paths: BTreeSet::new(), texts, rust };
        check(&files).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_marker_is_found_in_comments_and_documents_as_a_whole_word() {
        for marker in MARKERS {
            assert_eq!(whats("a.rs", &format!("// {marker}: later")), [format!("`{marker}`")]);
            assert_eq!(whats("a.md", &format!("{marker}(me)")), [format!("`{marker}`")]);
            assert!(whats("a.rs", &format!("let s = \"{marker}\"; // {marker}S_MAX")).is_empty());
        }
    }

    #[test]
    fn a_path_of_one_machine_is_found_where_a_path_begins() {
        for root in LOCAL_ROOTS {
            assert_eq!(
                whats("a.md", &format!("see `/{root}/me/x`")),
                [format!("a path under `/{root}`")]
            );
            for other in [
                format!("https://example.org/{root}/x"),
                format!("<dir>/{root}/x"),
                format!("/{root}s/x"),
            ] {
                assert!(whats("a.md", &other).is_empty(), "{other}");
            }
        }
    }
}
