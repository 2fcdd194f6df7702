//! Puts all rows of one file into its text, so that one build holds every mutant.
//!
//! Always true: with no mutant on, the composed text does what the original does; a row inside another's text is
//! composed inside the branch that keeps it; rows whose texts overlap in part are refused.

use std::cmp::Reverse;

use super::rows::{Effect, Part, ROWS};
use crate::tidy::Finding;

/// One row, and where its text is.
struct Span<'a> {
    start: usize,
    end: usize,
    part: Part<'a>,
}

/// The weakened text of a file. `weak` is the path of the module that knows what is on.
pub(crate) fn compose(source: &str, parts: &[Part], weak: &str) -> Result<String, Finding> {
    let mut spans = Vec::new();
    for part in parts {
        let (start, end) =
            part.place(source).ok_or_else(|| refused(part, "its text is not there once"))?;
        // A place to die at has no extent: it stands outside whatever begins or ends there.
        let (start, end) = match part.effect {
            Effect::Replace(_) => (start, end),
            Effect::CrashBefore => (start, start),
            Effect::CrashAfter => (end, end),
        };
        spans.push(Span { start, end, part: *part });
    }
    spans.sort_by_key(|s| (s.start, s.start != s.end, Reverse(s.end), s.part.row.name.clone()));
    render(source, (0, source.len()), &spans, weak)
}

/// The text of a range with everything composed into it that lies there.
fn render(
    source: &str,
    (from, to): (usize, usize),
    spans: &[Span],
    weak: &str,
) -> Result<String, Finding> {
    let mut text = String::new();
    let mut at = from;
    let mut rest = spans;
    while let Some((span, after)) = rest.split_first() {
        if span.end > to {
            return Err(refused(&span.part, "its text overlaps that of another row in part"));
        }
        let inside = after.iter().take_while(|other| other.start < span.end).count();
        let (inner, outer) = after.split_at_checked(inside).unwrap_or((after, &[]));
        let kept = render(source, (span.start, span.end), inner, weak)?;
        text.push_str(source.get(at..span.start).unwrap_or_default());
        text.push_str(&weakened(&span.part, &kept, weak));
        at = span.end;
        rest = outer;
    }
    text.push_str(source.get(at..to).unwrap_or_default());
    Ok(text)
}

/// One row's text: as statements if it ends like one, else as an expression that may stand anywhere.
fn weakened(part: &Part, kept: &str, weak: &str) -> String {
    let name = &part.row.name;
    match part.effect {
        Effect::CrashBefore => format!("{weak}::crash(\"{name}\"); "),
        Effect::CrashAfter => format!(" {weak}::crash(\"{name}\");"),
        Effect::Replace(other) => {
            let branches = format!("if {weak}::on(\"{name}\") {{ {other} }} else {{ {kept} }}");
            let statements = part.find.ends_with([';', '}']);
            if statements { branches } else { format!("({branches})") }
        }
    }
}

fn refused(part: &Part, what: &str) -> Finding {
    Finding {
        place: format!("{ROWS}/{}: {}", part.row.table, part.row.name),
        what: what.to_owned(),
        remedy: "choose a text that lies wholly inside or outside the other's",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows `name: find => replace`; a replacement of `!before` or `!after` is a crash point.
    fn composed(source: &str, rows: &[(&str, &str, &str)]) -> Result<String, Finding> {
        let table: String = rows
            .iter()
            .map(|(name, find, replace)| {
                let effect = match *replace {
                    "!before" => "crash = 'before'".to_owned(),
                    "!after" => "crash = 'after'".to_owned(),
                    other => format!("replace = '{other}'"),
                };
                format!("[[mutant]]\nname = '{name}'\nbreaks = 'x'\nfile = 'f'\nfind = '{find}'\n{effect}\nsim = true\n")
            })
            .collect();
        let rows = super::super::rows::parse("t.toml", &table)?;
        let parts: Vec<Part> = rows.iter().flat_map(|row| row.parts()).collect();
        compose(source, &parts, "w")
    }

    #[test]
    fn statements_become_a_statement_and_an_expression_stays_one() {
        assert_eq!(
            composed("a(); b();", &[("m", "b();", "")]).unwrap(),
            "a(); if w::on(\"m\") {  } else { b(); }"
        );
        assert_eq!(
            composed("f(a && b);", &[("m", "b", "true")]).unwrap(),
            "f(a && (if w::on(\"m\") { true } else { b }));"
        );
    }

    #[test]
    fn a_row_inside_another_is_composed_where_the_text_is_kept() {
        let nested = composed("f(a, b);", &[("in", "b", "c"), ("out", "f(a, b);", "")]).unwrap();
        let inner = "(if w::on(\"in\") { c } else { b })";
        assert_eq!(nested, format!("if w::on(\"out\") {{  }} else {{ f(a, {inner}); }}"));
        let same = composed("g(b);", &[("m", "b", "1"), ("n", "b", "2")]).unwrap();
        let inner = "(if w::on(\"n\") { 2 } else { b })";
        assert_eq!(same, format!("g((if w::on(\"m\") {{ 1 }} else {{ {inner} }}));"));
    }

    #[test]
    fn rows_side_by_side_are_composed_and_overlapping_ones_refused() {
        assert!(composed("a(); b();", &[("m", "a();", ""), ("n", "b();", "")]).is_ok());
        let overlapping = [("m", "a(); b();", ""), ("n", "b(); c();", "")];
        let finding = composed("a(); b(); c();", &overlapping).unwrap_err();
        assert!(finding.place.ends_with(": n"), "{finding}");
    }

    #[test]
    fn a_place_to_die_at_is_passed_also_while_its_text_is_weakened() {
        let rows = [("m", "b();", ""), ("x", "b();", "!before"), ("y", "b();", "!after")];
        assert_eq!(
            composed("b();", &rows).unwrap(),
            "w::crash(\"x\"); if w::on(\"m\") {  } else { b(); } w::crash(\"y\");"
        );
    }
}
