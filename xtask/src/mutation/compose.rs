//! Puts all changes to one file into its text, so that one build holds every one of them.
//!
//! A function with changes chooses its body when it runs: `if …::on("m3") BODY else if … else ORIGINAL`, where each
//! body has the text of one change. So a change of any kind can be switched, as long as a body may choose.
//! Always true: with no change on, a function does what the original does; every branch's place is known, so that what
//! the compiler says can be told to a change.
//! Not here: const functions, which cannot ask, and functions whose bodies' types have no name (`impl …`).

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;

use crate::tidy::lex::{self, Token};

/// A change as `cargo mutants --list --json` says it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Listed {
    /// Place and effect, for people.
    pub(crate) name: String,
    /// The file, from the repository's top.
    pub(crate) file: String,
    function: Option<Function>,
    span: Span,
    replacement: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Function {
    return_type: String,
    span: Span,
}

/// From a first character to the one after the last.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Span {
    start: Place,
    end: Place,
}

/// Both from 1; the column counts characters.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Place {
    line: usize,
    column: usize,
}

/// A change that can be switched.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// What it is called in `DVM_WEAK`.
    pub(crate) id: String,
    /// Place and effect, for people.
    pub(crate) name: String,
    /// The file, from the repository's top.
    pub(crate) file: String,
    /// The body, braces included.
    pub(crate) body: Range<usize>,
    /// What is replaced, inside the body.
    span: Range<usize>,
    replacement: String,
}

impl Change {
    /// The change in its file, or why it cannot be switched.
    pub(crate) fn of(listed: Listed, id: String, source: &str) -> Result<Self, &'static str> {
        let Listed { name, file, function, span, replacement } = listed;
        let function = function.ok_or("not in a function")?;
        if function.return_type.split(|c: char| !c.is_alphanumeric()).any(|word| word == "impl") {
            return Err("the type that its function returns has no name");
        }
        let body = body(source, function.span.bytes(source).ok_or("not in its file")?)?;
        let span = span.bytes(source).ok_or("not in its file")?;
        let inside = body.start < span.start && span.end < body.end;
        let change = Self { id, name, file, body, span, replacement };
        if inside { Ok(change) } else { Err("not in the body of its function") }
    }

    /// The body as it is with this change.
    fn changed<'a>(&'a self, source: &'a str) -> [&'a str; 3] {
        let before = source.get(self.body.start..self.span.start).unwrap_or_default();
        let after = source.get(self.span.end..self.body.end).unwrap_or_default();
        [before, &self.replacement, after]
    }
}

impl Span {
    fn bytes(self, source: &str) -> Option<Range<usize>> {
        Some(self.start.byte(source)?..self.end.byte(source)?)
    }
}

impl Place {
    fn byte(self, source: &str) -> Option<usize> {
        let before = self.line.checked_sub(1)?;
        let start: usize = source.split_inclusive('\n').take(before).map(str::len).sum();
        let line = source.get(start..)?.split_inclusive('\n').next().unwrap_or_default();
        let column = self.column.checked_sub(1)?;
        let ends = line.char_indices().map(|(at, _)| at).chain([line.len()]);
        Some(start + ends.into_iter().nth(column)?)
    }
}

/// The body of the function that is written there.
fn body(source: &str, function: Range<usize>) -> Result<Range<usize>, &'static str> {
    let text = source.get(function.clone()).unwrap_or_default();
    let mut depth = 0_usize;
    let (mut constant, mut named) = (false, false);
    for token in lex::tokens(text) {
        let is = |words: &[&str]| words.iter().any(|word| Token::is(&token, word));
        if is(&["(", "["]) {
            depth += 1;
        } else if is(&[")", "]"]) {
            depth = depth.saturating_sub(1);
        } else if depth == 0 && is(&["fn"]) {
            named = true;
        } else if depth == 0 && !named && is(&["const"]) {
            constant = true;
        } else if depth == 0 && is(&["{"]) {
            let reason = "a const function cannot ask what is on";
            return if constant {
                Err(reason)
            } else {
                Ok(function.start + token.at..function.end)
            };
        }
    }
    Err("its function has no body")
}

/// A text with changes built in, and where.
#[derive(Debug, Default)]
pub(crate) struct Composed {
    /// The text.
    pub(crate) text: String,
    /// Each change's branch.
    branches: Vec<(Range<usize>, String)>,
}

impl Composed {
    /// The change in whose branch this range lies.
    pub(crate) fn change_at(&self, range: &Range<usize>) -> Option<&str> {
        let within = |branch: &Range<usize>| branch.start <= range.start && range.end <= branch.end;
        self.branches.iter().find(|(branch, _)| within(branch)).map(|(_, id)| id.as_str())
    }

    fn function(&mut self, source: &str, changes: &[&Change], inner: &Bodies) {
        self.text.push_str("{\n");
        for change in changes {
            self.text.push_str(&format!("if dvm_core::weak::on(\"{}\")\n", change.id));
            let start = self.text.len();
            self.text.extend(change.changed(source));
            self.branches.push((start..self.text.len(), change.id.clone()));
            self.text.push_str("\nelse ");
        }
        if let Some(change) = changes.first() {
            self.stretch(source, change.body.clone(), inner);
        }
        self.text.push_str("\n}");
    }

    /// A part of the source with the bodies that lie in it.
    fn stretch(&mut self, source: &str, range: Range<usize>, bodies: &Bodies) {
        let mut at = range.start;
        for ((start, Reverse(end)), changes) in bodies {
            // One inside a body that was written already came with it.
            if *start >= at && *end <= range.end {
                self.text.push_str(source.get(at..*start).unwrap_or_default());
                let within = |other: &(usize, Reverse<usize>)| other.0 > *start && other.1.0 < *end;
                let inner = bodies.iter().filter(|(other, _)| within(other));
                let inner = inner.map(|(other, changes)| (*other, changes.clone())).collect();
                self.function(source, changes, &inner);
                at = *end;
            }
        }
        self.text.push_str(source.get(at..range.end).unwrap_or_default());
    }
}

/// Changes by the body that they are in; an outer one stands before those inside it.
type Bodies<'a> = BTreeMap<(usize, Reverse<usize>), Vec<&'a Change>>;

/// A file's text with all of these changes in it.
pub(crate) fn compose(source: &str, changes: &[&Change]) -> Composed {
    let mut bodies: Bodies = BTreeMap::new();
    for change in changes {
        bodies.entry((change.body.start, Reverse(change.body.end))).or_default().push(change);
    }
    let mut composed = Composed::default();
    composed.stretch(source, 0..source.len(), &bodies);
    composed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The place of a byte.
    fn place(source: &str, byte: usize) -> Place {
        let before = &source[..byte];
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Place { line: before.matches('\n').count() + 1, column }
    }

    fn span(source: &str, text: &str) -> Span {
        let start = source.find(text).unwrap();
        Span { start: place(source, start), end: place(source, start + text.len()) }
    }

    /// `find` inside `function` becomes `replacement`.
    fn change(
        source: &str,
        function: &str,
        (find, new): (&str, &str),
    ) -> Result<Change, &'static str> {
        let signature = function.split('{').next().unwrap_or_default();
        let return_type = signature.split("->").nth(1).unwrap_or_default().to_owned();
        let function = Some(Function { return_type, span: span(source, function) });
        let (name, file) = ("x".to_owned(), "f.rs".to_owned());
        let span = span(source, find);
        let listed = Listed { name, file, function, span, replacement: new.to_owned() };
        Change::of(listed, format!("m-{new}"), source)
    }

    #[test]
    fn a_body_chooses_among_the_original_and_its_changes() {
        let source = "fn a() -> u8 { 1 + 2 } fn b() {}";
        let function = "fn a() -> u8 { 1 + 2 }";
        let minus = change(source, function, ("+", "-")).unwrap();
        let zero = change(source, function, ("1 + 2", "0")).unwrap();
        let composed = compose(source, &[&minus, &zero]);
        assert_eq!(
            composed.text,
            "fn a() -> u8 {\nif dvm_core::weak::on(\"m--\")\n{ 1 - 2 }\nelse \
             if dvm_core::weak::on(\"m-0\")\n{ 0 }\nelse { 1 + 2 }\n} fn b() {}"
        );
        assert_eq!(compose(source, &[]).text, source);
    }

    #[test]
    fn what_the_compiler_says_of_a_branch_is_its_changes_and_of_the_rest_nobodys() {
        let source = "fn a() -> u8 { 1 + 2 } fn b() {}";
        let minus = change(source, "fn a() -> u8 { 1 + 2 }", ("+", "-")).unwrap();
        let composed = compose(source, &[&minus]);
        let at = |text: &str| {
            let start = composed.text.find(text).unwrap();
            composed.change_at(&(start..start + text.len()))
        };
        assert_eq!(at("{ 1 - 2 }"), Some("m--"));
        assert_eq!(at("1 - 2"), Some("m--"));
        for outside in ["\n{ 1 - 2 }", "{ 1 - 2 }\n", "1 + 2", "fn b"] {
            assert_eq!(at(outside), None, "{outside}");
        }
    }

    #[test]
    fn a_function_inside_another_is_changed_where_the_others_body_is_kept() {
        let source = "fn o() { fn i() { x(); } y(); }";
        let inner = change(source, "fn i() { x(); }", ("x();", "p")).unwrap();
        let outer = change(source, source, ("y();", "q")).unwrap();
        let text = compose(source, &[&inner, &outer]).text;
        let kept = "{ fn i() {\nif dvm_core::weak::on(\"m-p\")\n{ p }\nelse { x(); }\n} y(); }";
        let changed = "if dvm_core::weak::on(\"m-q\")\n{ fn i() { x(); } q }";
        assert_eq!(text, format!("fn o() {{\n{changed}\nelse {kept}\n}}"));
    }

    #[test]
    fn the_body_begins_at_the_first_brace_that_is_the_functions_own() {
        let source =
            "/// a { b\nfn ä(x: [u8; { 1 }], y: fn({ u8 }) -> u8) -> u8 /* { */ { \"}\"; 1 }";
        let found = change(source, source, ("1 }", "2 }"));
        // The `1 }` of the signature is not in the body.
        assert_eq!(found.unwrap_err(), "not in the body of its function");
        let found = change(source, source, ("\"}\"", "2")).unwrap();
        assert_eq!(source.get(found.body), Some("{ \"}\"; 1 }"));
    }

    #[test]
    fn what_cannot_be_switched_is_named() {
        let unswitched = |source: &str| change(source, source, ("1", "0")).err();
        assert_eq!(unswitched("fn a() -> u8 { 1 }"), None);
        assert_eq!(unswitched("fn a<const N: u8>(x: impl Fn()) -> u8 { 1 }"), None);
        let constant = Some("a const function cannot ask what is on");
        assert_eq!(unswitched("pub const fn a() -> u8 { 1 }"), constant);
        let unnamed = Some("the type that its function returns has no name");
        assert_eq!(unswitched("fn a() -> impl Iterator<Item = u8> { once(1) }"), unnamed);
        assert_eq!(unswitched("fn a() -> simple { 1 }"), None);
    }
}
