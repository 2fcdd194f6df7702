//! The table of adversarial cases says which test covers a case and what shows that the test can fail. Both must exist.
//!
//! Always true: every row names a test that is in the sources, and a mutant whose own row names that test; or it says in
//! words why not.
//! Not here: whether the test passes, and fails with its mutant (`crate::controls`).

use std::collections::BTreeMap;

use super::{
    Finding,
    repo::{Files, Text},
};

const TABLE: &str = "docs/cases.md";
const LATER: &str = "later:";

/// Checks every row.
pub(crate) fn check(files: &Files) -> Vec<Finding> {
    let Some(table) = files.texts.iter().find(|text| text.path == TABLE) else {
        return vec![Finding {
            place: TABLE.into(),
            what: "the table of cases is not there".into(),
            remedy: "write it: case, test, positive control",
        }];
    };
    let mutants = mutants(&files.texts);
    let rows = table.text.lines().enumerate().filter(|(_, line)| line.starts_with("| "));
    let heads = |line: &str| line.starts_with("| case |") || line.starts_with("| ---");
    let rows = rows.filter(|(_, line)| !heads(line));
    rows.flat_map(|(at, line)| row(at + 1, line, &files.texts, &mutants)).collect()
}

fn row(at: usize, line: &str, texts: &[Text], mutants: &BTreeMap<&str, Vec<&str>>) -> Vec<Finding> {
    let finding = |what: String, remedy| Finding { place: format!("{TABLE}:{at}"), what, remedy };
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [_, tests, controls] = cells.as_slice() else {
        return vec![finding("not three cells".into(), "write: case, test, control")];
    };
    if tests.starts_with(LATER) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let named = quoted(tests);
    if named.is_empty() {
        findings.push(finding("no test".into(), "name one, or say `later: <what>`"));
    }
    for test in named.into_iter().filter(|test| !is_there(test, texts)) {
        let what = format!("the test `{test}` is not in the sources");
        findings.push(finding(what, "correct package/target/name"));
    }
    let named = quoted(controls);
    if named.is_empty() && !controls.starts_with("- ") {
        let remedy = "name a mutant, or say `- ` and why there is none";
        findings.push(finding("no positive control".into(), remedy));
    }
    for mutant in named {
        let Some(shown_by) = mutants.get(mutant) else {
            let what = format!("the mutant `{mutant}` is in no table of mutants/");
            findings.push(finding(what, "correct the name"));
            continue;
        };
        if !quoted(tests).iter().any(|test| shown_by.contains(test)) {
            let what = format!("the mutant `{mutant}` is shown by none of these tests");
            findings.push(finding(what, "name the test in the mutant's row"));
        }
    }
    findings
}

/// What stands in backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Every mutant, with the tests that its row names.
fn mutants(texts: &[Text]) -> BTreeMap<&str, Vec<&str>> {
    let tables = texts.iter().filter(|text| text.path.starts_with("mutants/"));
    let rows = tables.flat_map(|text| text.text.split("[[mutant]]").skip(1));
    rows.filter_map(named).collect()
}

fn named(row: &str) -> Option<(&str, Vec<&str>)> {
    let name = row.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))?;
    let (_, tests) = row.split_once("\ntests = [").unwrap_or_default();
    let (tests, _) = tests.split_once(']').unwrap_or_default();
    Some((name, tests.split('"').skip(1).step_by(2).collect()))
}

/// Whether `package/target/path::name` is a function in a file of that target.
fn is_there(test: &str, texts: &[Text]) -> bool {
    let mut parts = test.splitn(3, '/');
    let (Some(package), Some(target), Some(path)) = (parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let short = package.strip_prefix("dvm-").unwrap_or(package);
    let under = |directory: &str| match target {
        "lib" => vec![format!("{directory}/src/")],
        _ => vec![format!("{directory}/tests/{target}/"), format!("{directory}/tests/{target}.rs")],
    };
    let places = [format!("crates/{package}"), package.into(), short.into()];
    let places: Vec<String> = places.iter().flat_map(|place| under(place)).collect();
    let name = path.rsplit("::").next().unwrap_or(path);
    let declared = [format!("fn {name}("), format!("fn {name}<")];
    let here = |text: &&Text| places.iter().any(|place| text.path.starts_with(place));
    let mut files = texts.iter().filter(here);
    files.any(|text| declared.iter().any(|declared| text.text.contains(declared)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const MUTANTS: &str = r#"
[[mutant]]
name = "frame-unbound"
tests = ["dvm-kernel/peer/wire::bombs_are_no_call"]

[[mutant]]
name = "frame-by-anybody"
tests = [
  "dvm-kernel/peer/wire::other",
]
"#;

    fn findings(row: &str) -> Vec<Finding> {
        let text = |path: &str, text: &str| Text { path: path.into(), text: text.into() };
        let texts = vec![
            text("crates/dvm-kernel/tests/peer/wire.rs", "fn bombs_are_no_call() {}"),
            text("mutants/peer.toml", MUTANTS),
            text(TABLE, &format!("| case | test | positive control |\n| --- | --- | --- |\n{row}")),
        ];
        check(&Files { paths: BTreeSet::new(), texts, rust: Vec::new() })
    }

    #[test]
    fn a_row_names_a_test_and_a_mutant_that_exist_or_says_why_not() {
        let test = "`dvm-kernel/peer/wire::bombs_are_no_call`";
        for good in ["`frame-unbound`", "- nothing to switch off"] {
            assert_eq!(findings(&format!("| bombs | {test} | {good} |")), []);
        }
        assert_eq!(findings("| bombs | later: something | |"), []);
        for bad in [
            format!("| bombs | {test} | |"),
            format!("| bombs | {test} | `frame-bound` |"),
            format!("| bombs | {test} | `frame-by-anybody` |"),
            "| bombs | `dvm-kernel/peer/wire::bombs` | `frame-unbound` |".into(),
            "| bombs | `dvm-kernel/cluster/wire::bombs_are_no_call` | `frame-unbound` |".into(),
            "| bombs | | `frame-unbound` |".into(),
            format!("| bombs | {test} |"),
        ] {
            assert!(!findings(&bad).is_empty(), "{bad}");
        }
    }

    #[test]
    fn the_table_must_be_there() {
        let files = Files { paths: BTreeSet::new(), texts: Vec::new(), rust: Vec::new() };
        assert_eq!(check(&files)[0].place, TABLE);
    }
}
