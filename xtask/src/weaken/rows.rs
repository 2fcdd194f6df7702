//! The rows of `mutants/*.toml`: what each weakens, and where.
//!
//! Always true: names are unique; every row is in its file exactly once, as whole statements or a whole expression;
//! every file and test that a row names looks like one.
//! Not here: whether a named test exists and notices (`crate::controls`).

use std::fmt;
use std::path::Path;

use serde::Deserialize;

use crate::{
    task::{self, Stop, Workspace},
    tidy::Finding,
};

/// Where the rows are, from the repository's top.
pub(crate) const ROWS: &str = "mutants";

/// One way to break one claim, or one place to die at.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mutant {
    /// What it is called in `DVM_WEAK`.
    pub(crate) name: String,
    /// The claim that is broken, for people.
    pub(crate) breaks: String,
    /// The file, from the repository's top.
    file: String,
    /// The text that is weakened.
    find: String,
    /// What runs instead. Nothing, for statements that are skipped.
    #[serde(default)]
    replace: Option<String>,
    /// For a crash point: on which side of the text the process dies.
    #[serde(default)]
    crash: Option<Side>,
    /// Further places that are weakened under the same name, where one defence stands behind another.
    #[serde(default)]
    also: Vec<Also>,
    /// Whether the simulator must find it.
    #[serde(default)]
    pub(crate) sim: bool,
    /// Whether its tests start the weakened binaries.
    #[serde(default)]
    pub(crate) bins: bool,
    /// Whether it is too slow for every run of the tests: only `cargo xtask controls --all` shows it.
    #[serde(default)]
    pub(crate) slow: bool,
    /// The tests that must notice: `package/target/name`, where target is `lib` or an integration test.
    #[serde(default)]
    pub(crate) tests: Vec<String>,
    /// The file of rows that it is from.
    #[serde(skip)]
    pub(crate) table: String,
}

/// A further place of a mutant.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Also {
    file: String,
    find: String,
    replace: String,
}

/// One place that a row weakens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    /// The row.
    pub(crate) row: &'a Mutant,
    /// The file, from the repository's top.
    pub(crate) file: &'a str,
    /// The text, without space around it.
    pub(crate) find: &'a str,
    /// What becomes of it.
    pub(crate) effect: Effect<'a>,
}

impl Part<'_> {
    /// Where the text is, if it is there once.
    pub(crate) fn place(&self, source: &str) -> Option<(usize, usize)> {
        let mut found = source.match_indices(self.find);
        match (found.next(), found.next()) {
            (Some((start, _)), None) if !self.find.is_empty() => {
                Some((start, start + self.find.len()))
            }
            _ => None,
        }
    }

    /// The keyword, if the text is an item or a `let` that would be lost in a branch.
    fn declares(&self) -> Option<&str> {
        const DECLARE: [&str; 13] = [
            "let",
            "fn",
            "pub",
            "pub(crate)",
            "const",
            "static",
            "use",
            "struct",
            "enum",
            "impl",
            "mod",
            "trait",
            "type",
        ];
        let first = self.find.split_whitespace().next().unwrap_or_default();
        let branches = matches!(self.effect, Effect::Replace(_));
        (branches && DECLARE.contains(&first)).then_some(first)
    }
}

/// A side of a text.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Side {
    Before,
    After,
}

/// What a row puts into the weakened tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect<'a> {
    /// Other text runs while the mutant is on.
    Replace(&'a str),
    /// The process may die before the text.
    CrashBefore,
    /// The process may die after the text.
    CrashAfter,
}

/// A test that must notice a mutant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TestRef {
    /// The package it is in.
    pub(crate) package: String,
    /// `lib`, or the name of an integration test.
    pub(crate) target: String,
    /// The name as the test runner knows it.
    pub(crate) name: String,
}

impl fmt::Display for TestRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.package, self.target, self.name)
    }
}

impl TestRef {
    /// Takes `package/target/name` apart.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '/').map(str::to_owned);
        let (package, target, name) = (parts.next()?, parts.next()?, parts.next()?);
        let plain = |word: &str| !word.is_empty() && !word.contains([' ', '/']);
        let all_plain = [&package, &target, &name].into_iter().all(|word| plain(word));
        all_plain.then_some(Self { package, target, name })
    }
}

impl Mutant {
    /// Every place that it weakens.
    pub(crate) fn parts(&self) -> Vec<Part<'_>> {
        let effect = match self.crash {
            Some(Side::Before) => Effect::CrashBefore,
            Some(Side::After) => Effect::CrashAfter,
            None => Effect::Replace(self.replace.as_deref().unwrap_or_default().trim()),
        };
        let first = Part { row: self, file: &self.file, find: self.find.trim(), effect };
        let also = self.also.iter().map(|also| Part {
            row: self,
            file: &also.file,
            find: also.find.trim(),
            effect: Effect::Replace(also.replace.trim()),
        });
        std::iter::once(first).chain(also).collect()
    }

    /// The tests that must notice it.
    pub(crate) fn tests(&self) -> impl Iterator<Item = TestRef> {
        self.tests.iter().filter_map(|text| TestRef::parse(text))
    }

    /// What is wrong with the row itself.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.name.is_empty() || !self.name.chars().all(kebab) {
            faults.push("its name is not in lower case with hyphens".to_owned());
        }
        if self.breaks.trim().is_empty() {
            faults.push("it does not say what it breaks".to_owned());
        }
        if self.replace.is_some() == self.crash.is_some() {
            faults.push("it has not exactly one of `replace` and `crash`".to_owned());
        }
        for word in self.parts().iter().filter_map(Part::declares) {
            faults.push(format!("it replaces a declaration (`{word}`), which would be lost"));
        }
        let bad = self.tests.iter().filter(|text| TestRef::parse(text).is_none());
        faults.extend(bad.map(|text| format!("`{text}` is not `package/target/name`")));
        if self.crash.is_none() && !self.sim && self.tests.is_empty() {
            faults.push("nothing has to notice it".to_owned());
        }
        faults
    }
}

/// Reads every row.
///
/// # Errors
/// [`Stop::Findings`] with everything that is wrong with them.
pub(crate) fn load(workspace: &Workspace) -> Result<Vec<Mutant>, Stop> {
    let directory = workspace.root.join(ROWS);
    let unusable = |cause| Stop::Unusable { what: ROWS.to_owned(), cause };
    let entries = std::fs::read_dir(&directory).map_err(unusable)?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(unusable)?.path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut rows = Vec::new();
    let mut findings = Vec::new();
    for path in paths {
        let table = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match parse(&table, &task::read(&path)?) {
            Ok(found) => rows.extend(found),
            Err(finding) => findings.push(finding),
        }
    }
    findings.extend(check(&rows, |file| {
        std::fs::read_to_string(workspace.root.join(Path::new(file))).ok()
    }));
    if findings.is_empty() { Ok(rows) } else { Err(Stop::Findings(findings)) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default)]
    mutant: Vec<Mutant>,
}

pub(crate) fn parse(table: &str, text: &str) -> Result<Vec<Mutant>, Finding> {
    let rows: Result<Table, _> = toml::from_str(text);
    match rows {
        Ok(rows) => {
            let named = |row| Mutant { table: table.to_owned(), ..row };
            Ok(rows.mutant.into_iter().map(named).collect())
        }
        Err(cause) => Err(Finding {
            place: format!("{ROWS}/{table}"),
            what: cause.to_string().trim_end().to_owned(),
            remedy: "docs/decisions/0007-weakened-tree.md says what a row is",
        }),
    }
}

/// Everything that is wrong with the rows, given the sources.
fn check(rows: &[Mutant], source: impl Fn(&str) -> Option<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let mut faults = row.faults();
        if rows.iter().take(index).any(|other| other.name == row.name) {
            faults.push("another row has its name".to_owned());
        }
        for part in row.parts() {
            match source(part.file) {
                None => faults.push(format!("`{}` is not there", part.file)),
                Some(source) if part.place(&source).is_none() => {
                    let times = source.matches(part.find).count();
                    faults.push(format!("its text is in `{}` {times} times, not once", part.file));
                }
                Some(_) => {}
            }
        }
        findings.extend(faults.into_iter().map(|what| Finding {
            place: format!("{ROWS}/{}: {}", row.table, row.name),
            what,
            remedy: "mend the row; docs/decisions/0007-weakened-tree.md says what it must be",
        }));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = "[[mutant]]\nname = 'a-b'\nbreaks = 'x'\nfile = 'f.rs'\nfind = 'go();'\n";

    fn whats(text: &str, source: &str) -> Vec<String> {
        match parse("t.toml", text) {
            Ok(rows) => {
                let found = check(&rows, |file| (file == "f.rs").then(|| source.to_owned()));
                found.into_iter().map(|finding| finding.what).collect()
            }
            Err(finding) => vec![finding.what],
        }
    }

    #[test]
    fn every_row_of_this_repository_is_in_its_file_once_and_has_a_name_of_its_own() {
        let rows = load(&Workspace::find().unwrap()).unwrap_or_else(|stop| panic!("{stop}"));
        assert!(!rows.is_empty());
    }

    #[test]
    fn a_row_is_refused_unless_its_text_is_in_its_file_exactly_once() {
        let row = format!("{ROW}replace = ''\nsim = true\n");
        assert_eq!(whats(&row, "fn a() { go(); }"), Vec::<String>::new());
        assert_eq!(whats(&row, "fn a() {}"), ["its text is in `f.rs` 0 times, not once"]);
        assert_eq!(whats(&row, "go(); go();"), ["its text is in `f.rs` 2 times, not once"]);
        let elsewhere = row.replace("f.rs", "g.rs");
        assert_eq!(whats(&elsewhere, "go();"), ["`g.rs` is not there"]);
    }

    #[test]
    fn two_rows_may_not_share_a_name() {
        let row = format!("{ROW}replace = ''\nsim = true\n");
        let other = row.replace("a-b", "a-c");
        assert!(whats(&format!("{row}{other}"), "go();").is_empty());
        assert_eq!(whats(&format!("{row}{row}"), "go();"), ["another row has its name"]);
    }

    #[test]
    fn a_declaration_cannot_be_replaced_but_one_can_die_after_it() {
        let row = ROW.replace("go();", "let a = go();");
        let replaced = format!("{row}replace = ''\nsim = true\n");
        let what = "it replaces a declaration (`let`), which would be lost";
        assert_eq!(whats(&replaced, "let a = go();"), [what]);
        assert!(whats(&format!("{row}crash = 'after'\n"), "let a = go();").is_empty());
    }

    #[test]
    fn something_has_to_notice_a_mutant_and_is_named_in_three_parts() {
        let row = format!("{ROW}replace = ''\n");
        assert_eq!(whats(&row, "go();"), ["nothing has to notice it"]);
        assert!(whats(&format!("{row}tests = ['p/lib/a::b']\n"), "go();").is_empty());
        let what = "`p/lib` is not `package/target/name`";
        assert_eq!(whats(&format!("{row}tests = ['p/lib']\n"), "go();"), [what]);
        assert_eq!(
            whats(ROW, "go();").first().map(String::as_str),
            Some("it has not exactly one of `replace` and `crash`")
        );
    }

    #[test]
    fn a_word_that_a_row_does_not_have_is_refused() {
        assert_eq!(whats(&format!("{ROW}replaces = ''\n"), "go();").len(), 1);
    }
}
