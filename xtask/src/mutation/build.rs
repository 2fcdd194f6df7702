//! Builds one module's tests with all its changes in, and leaves out those that do not compile.
//!
//! Always true: what is judged compiled; a change is left out only because the compiler complained inside its branch,
//! and a complaint that is in no branch stops the task, unless leaving a change out ends it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;

use cargo_metadata::Message;
use cargo_metadata::diagnostic::{Diagnostic, DiagnosticLevel, DiagnosticSpan};

use super::compose::{self, Change, Composed};
use crate::{
    task::{Stop, Workspace},
    weaken,
};

/// Which tests, and where.
pub(crate) struct Plan<'a> {
    /// The package.
    pub(crate) package: &'a str,
    /// Its test targets: `lib`, or an integration test.
    pub(crate) targets: &'a [&'a str],
    /// Where the task may write.
    pub(crate) directory: PathBuf,
}

/// What was built.
pub(crate) struct Built {
    /// One test executable per target, in the plan's order.
    pub(crate) executables: Vec<PathBuf>,
    /// Where cargo would run them.
    pub(crate) directory: PathBuf,
    /// Where runs write what they asked about.
    pub(crate) seen: PathBuf,
    /// The ids of the changes that do not compile.
    pub(crate) unviable: BTreeSet<String>,
}

/// Builds, again and again with fewer changes, until it compiles.
pub(crate) fn build(
    workspace: &Workspace,
    plan: &Plan,
    (sources, changes): (&BTreeMap<String, String>, &[Change]),
) -> Result<Built, Stop> {
    let mut unviable = BTreeSet::new();
    loop {
        let composed = composed(sources, changes, &unviable);
        let texts = composed.iter().map(|(file, one)| (file.clone(), one.text.clone())).collect();
        let directories = (plan.directory.join("tree"), plan.directory.join("target"));
        let tree = weaken::with_texts(workspace, directories, &texts)?;
        let mut args = vec!["test", "--no-run", "--message-format=json", "--package", plan.package];
        // Nobody looks at a backtrace, and executables are linked faster.
        args.extend(["--config", "profile.dev.debug=\"none\""]);
        for target in plan.targets {
            args.extend(if *target == "lib" { vec!["--lib"] } else { vec!["--test", target] });
        }
        eprintln!("-- cargo test --no-run ({} changes)", changes.len() - unviable.len());
        let (status, said) = tree.messages(&args)?;
        if status.success() {
            let directory = tree.workspace.root.join("crates").join(plan.package);
            let (executables, seen) = (executables(plan, &said)?, plan.directory.join("seen"));
            return Ok(Built { executables, directory, seen, unviable });
        }
        let errors: Vec<&Diagnostic> = said.iter().filter_map(error).collect();
        let before = unviable.len();
        let faulty = errors.iter().filter_map(|error| changed(error, &composed));
        unviable.extend(faulty.map(str::to_owned));
        if unviable.len() == before {
            for error in errors {
                eprintln!("{}", error.rendered.as_deref().unwrap_or(&error.message));
            }
            return Err(Stop::Failed { command: "cargo test --no-run".to_owned(), status });
        }
    }
}

/// Every file with those changes that are not left out.
fn composed(
    sources: &BTreeMap<String, String>,
    changes: &[Change],
    without: &BTreeSet<String>,
) -> BTreeMap<String, Composed> {
    let of = |file: &String| -> Vec<&Change> {
        let there = |one: &&Change| one.file == *file && !without.contains(&one.id);
        changes.iter().filter(there).collect()
    };
    sources.iter().map(|(file, text)| (file.clone(), compose::compose(text, &of(file)))).collect()
}

/// The test executables in the order of the plan.
fn executables(plan: &Plan, said: &[Message]) -> Result<Vec<PathBuf>, Stop> {
    let built = |wanted: &str| {
        said.iter().find_map(|message| {
            let Message::CompilerArtifact(artifact) = message else { return None };
            let integration = artifact.target.is_test();
            let named = integration && artifact.target.name == wanted;
            let chosen = artifact.profile.test && (named || !integration && wanted == "lib");
            artifact.executable.clone().filter(|_| chosen).map(PathBuf::from)
        })
    };
    let missing = |what: &str| {
        let cause = std::io::Error::other("cargo built no test executable of this name");
        Stop::Unusable { what: what.to_owned(), cause }
    };
    plan.targets.iter().map(|target| built(target).ok_or_else(|| missing(target))).collect()
}

fn error(message: &Message) -> Option<&Diagnostic> {
    match message {
        Message::CompilerMessage(said) => {
            let fatal = matches!(said.message.level, DiagnosticLevel::Error | DiagnosticLevel::Ice);
            fatal.then_some(&said.message)
        }
        _ => None,
    }
}

/// The change that an error is about: one of its own places lies in its branch, also as a macro's argument.
fn changed<'a>(error: &Diagnostic, composed: &'a BTreeMap<String, Composed>) -> Option<&'a str> {
    error.spans.iter().filter(|span| span.is_primary).find_map(|span| {
        let mut next = Some(span);
        while let Some(span) = next {
            if let Some(id) =
                composed.get(&span.file_name).and_then(|file| file.change_at(&bytes(span)))
            {
                return Some(id);
            }
            next = span.expansion.as_ref().map(|expansion| &expansion.span);
        }
        None
    })
}

fn bytes(span: &DiagnosticSpan) -> Range<usize> {
    let byte = |at| usize::try_from(at).unwrap_or(usize::MAX);
    byte(span.byte_start)..byte(span.byte_end)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const SOURCE: &str = "fn a() -> u8 { 1 + 2 }";

    fn span(file: &str, (from, to): (usize, usize), expansion: Value) -> Value {
        json!({
            "file_name": file, "byte_start": from, "byte_end": to, "is_primary": true, "text": [],
            "line_start": 1, "line_end": 1, "column_start": 1, "column_end": 1, "expansion": expansion,
        })
    }

    fn error(span: Value) -> Diagnostic {
        let said = json!({"message": "x", "level": "error", "spans": [span], "children": []});
        serde_json::from_value(said).unwrap()
    }

    #[test]
    fn an_error_is_a_changes_only_if_it_or_the_macro_that_it_is_in_stands_in_its_branch() {
        let place = |column: usize| json!({"line": 1, "column": column});
        let listed = json!({
            "name": "x", "file": "f.rs", "replacement": "-",
            "function": {"return_type": "-> u8", "span": {"start": place(1), "end": place(23)}},
            "span": {"start": place(18), "end": place(19)},
        });
        let change = Change::of(serde_json::from_value(listed).unwrap(), "m0".to_owned(), SOURCE);
        let sources = BTreeMap::from([("f.rs".to_owned(), SOURCE.to_owned())]);
        let composed = composed(&sources, &[change.unwrap()], &BTreeSet::new());
        let text = &composed["f.rs"].text;
        let of = |text: &str, part: &str| {
            let start = text.find(part).unwrap();
            (start, start + part.len())
        };
        let (inside, outside) = (of(text, "1 - 2"), of(text, "1 + 2"));
        let of = |span| changed(&error(span), &composed).map(str::to_owned);
        assert_eq!(of(span("f.rs", inside, Value::Null)), Some("m0".to_owned()));
        assert_eq!(of(span("f.rs", outside, Value::Null)), None);
        assert_eq!(of(span("g.rs", inside, Value::Null)), None);
        let within = |at| {
            let call = span("f.rs", at, Value::Null);
            let expansion = json!({"span": call, "macro_decl_name": "m!", "def_site_span": null});
            of(span("g.rs", (0, 1), expansion))
        };
        assert_eq!(within(inside), Some("m0".to_owned()));
        assert_eq!(within(outside), None);
    }
}
