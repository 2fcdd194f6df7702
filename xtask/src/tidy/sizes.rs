//! Functions of at most 70 lines, files of at most 600, at most 5 parameters outside tests.
//!
//! A function's lines run from `fn` to its closing brace, everything counted; `self` is no
//! parameter. Exceptions stand in `xtask/size-exceptions.txt`, one a line:
//! `function|file|parameters PLACE SIZE REASON`.
//!
//! Always true: an exception allows exactly the size it names, so a thing that shrank takes its
//! exception down with it, and one that grew fails.

use super::{
    Finding, SIZE_EXCEPTIONS,
    lex::{Kind, Token, closing},
    repo::Rust,
};

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 600;
const PARAMETERS_MAX: usize = 5;

/// Something over its limit, or an exception for it.
#[derive(Debug, PartialEq, Eq)]
struct Oversize {
    /// `function`, `file` or `parameters`.
    kind: String,
    /// `path`, or `path::function`.
    place: String,
    size: usize,
}

/// Checks all Rust files against the limits and the exceptions.
pub(crate) fn check(files: &[Rust], exceptions: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut allowed = Vec::new();
    let lines = exceptions.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in lines {
        match exception(line) {
            Some(exception) => allowed.push(exception),
            None => findings.push(Finding {
                place: SIZE_EXCEPTIONS.into(),
                what: format!("cannot read `{line}`"),
                remedy: "write `function|file|parameters PLACE SIZE REASON`",
            }),
        }
    }
    let oversizes = files.iter().flat_map(measure).fold(Vec::new(), keep_largest);
    findings.extend(oversizes.iter().filter_map(|oversize| judge(oversize, &allowed)));
    findings.extend(allowed.iter().filter_map(|exception| stale(exception, &oversizes)));
    findings
}

fn exception(line: &str) -> Option<Oversize> {
    let mut words = line.split_whitespace();
    let kind = words.next().filter(|kind| ["function", "file", "parameters"].contains(kind))?;
    let place = words.next()?;
    let size = words.next()?.parse().ok()?;
    // An exception without a reason is none.
    words.next()?;
    Some(Oversize { kind: kind.into(), place: place.into(), size })
}

/// Two functions of one name in one file share a place: the larger speaks for both.
fn keep_largest(mut kept: Vec<Oversize>, next: Oversize) -> Vec<Oversize> {
    match kept.iter_mut().find(|old| old.kind == next.kind && old.place == next.place) {
        Some(old) => old.size = old.size.max(next.size),
        None => kept.push(next),
    }
    kept
}

fn judge(oversize: &Oversize, allowed: &[Oversize]) -> Option<Finding> {
    let exception =
        allowed.iter().find(|it| it.kind == oversize.kind && it.place == oversize.place);
    let Oversize { kind, place, size } = oversize;
    let (what, remedy) = match exception {
        Some(exception) if exception.size == *size => return None,
        Some(exception) if exception.size < *size => (
            format!("{kind}: {size}, excepted up to {}", exception.size),
            "exceptions only shrink: divide it",
        ),
        Some(exception) => (
            format!("{kind}: {size}, excepted up to {}", exception.size),
            "lower its exception to its size",
        ),
        None => (
            format!("{kind}: {size}"),
            "divide it where the story divides, or give a reason in xtask/size-exceptions.txt",
        ),
    };
    Some(Finding { place: place.clone(), what, remedy })
}

fn stale(exception: &Oversize, oversizes: &[Oversize]) -> Option<Finding> {
    let used = oversizes.iter().any(|it| it.kind == exception.kind && it.place == exception.place);
    (!used).then(|| Finding {
        place: SIZE_EXCEPTIONS.into(),
        what: format!("`{} {}` needs no exception", exception.kind, exception.place),
        remedy: "delete the line",
    })
}

/// Everything in a file that is over a limit.
fn measure(file: &Rust) -> Vec<Oversize> {
    let code: Vec<Token> =
        file.tokens.iter().filter(|token| token.kind != Kind::Comment).cloned().collect();
    let mut found = Vec::new();
    let mut add = |kind: &str, place: String, size, limit| {
        if size > limit {
            found.push(Oversize { kind: kind.into(), place, size });
        }
    };
    add("file", file.path.clone(), file.lines, FILE_LINES_MAX);
    for at in 0..code.len() {
        let Some(function) = Function::at(&code, at) else { continue };
        let place = format!("{}::{}", file.path, function.name);
        add("function", place.clone(), function.lines, FUNCTION_LINES_MAX);
        if !function.in_test {
            add("parameters", place, function.parameters, PARAMETERS_MAX);
        }
    }
    found
}

struct Function {
    name: String,
    lines: usize,
    parameters: usize,
    in_test: bool,
}

impl Function {
    /// The function whose `fn` is at this index; `fn(u8)`, the type, has no name and is none.
    fn at(code: &[Token], at: usize) -> Option<Self> {
        let keyword = code.get(at).filter(|token| token.is("fn"))?;
        let name = code.get(at + 1).filter(|token| token.kind == Kind::Word)?;
        let open = parameters_open(code, at + 2)?;
        let after = closing(code, open);
        let parameters = count_parameters(code.get(open + 1..after.saturating_sub(1))?);
        let last = code.get(body_end(code, after).checked_sub(1)?)?;
        Some(Self {
            name: name.text.clone(),
            lines: last.line - keyword.line + 1,
            parameters,
            in_test: keyword.in_test,
        })
    }
}

/// The opening parenthesis of the parameters, past generics such as `<F: Fn(u8) -> u8>`.
fn parameters_open(code: &[Token], start: usize) -> Option<usize> {
    let mut angles = Angles::default();
    (start..code.len()).find(|at| {
        let opens = angles.depth == 0 && code.get(*at).is_some_and(|token| token.is("("));
        angles.see(code, *at);
        opens
    })
}

fn count_parameters(inside: &[Token]) -> usize {
    let mut angles = Angles::default();
    let mut parameters: Vec<Vec<&Token>> = vec![Vec::new()];
    let mut at = 0;
    while let Some(token) = inside.get(at) {
        angles.see(inside, at);
        if token.is(",") && angles.depth == 0 {
            parameters.push(Vec::new());
        } else if let Some(parameter) = parameters.last_mut() {
            parameter.push(token);
        }
        at = if token.is("(") || token.is("[") || token.is("{") {
            closing(inside, at)
        } else {
            at + 1
        };
    }
    parameters.iter().filter(|parameter| !parameter.is_empty() && !is_receiver(parameter)).count()
}

/// `self`, `&mut self`, `self: Arc<Self>`.
fn is_receiver(parameter: &[&Token]) -> bool {
    parameter.iter().take_while(|token| !token.is(":")).any(|token| token.is("self"))
}

/// The index after the body, or after the semicolon of a declaration.
fn body_end(code: &[Token], start: usize) -> usize {
    let mut at = start;
    while let Some(token) = code.get(at) {
        if token.is("{") {
            return closing(code, at);
        }
        if token.is(";") {
            return at + 1;
        }
        at = if token.is("(") || token.is("[") { closing(code, at) } else { at + 1 };
    }
    code.len()
}

/// How deep in `<…>` we are; the `>` of an arrow closes nothing.
#[derive(Default)]
struct Angles {
    depth: usize,
}

impl Angles {
    fn see(&mut self, code: &[Token], at: usize) {
        let Some(token) = code.get(at) else { return };
        let after_dash = at.checked_sub(1).and_then(|at| code.get(at)).is_some_and(|it| it.is("-"));
        if token.is("<") {
            self.depth += 1;
        } else if token.is(">") && !after_dash {
            self.depth = self.depth.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whats(source: &str, exceptions: &str) -> Vec<String> {
        check(&[Rust::new("a.rs", source)], exceptions)
            .into_iter()
            .map(|finding| finding.what)
            .collect()
    }

    fn function_of(lines: usize) -> String {
        format!("fn long() {{\n{}}}\n", "work();\n".repeat(lines - 2))
    }

    #[test]
    fn a_function_may_have_seventy_lines_and_not_one_more() {
        assert!(whats(&function_of(70), "").is_empty());
        assert_eq!(whats(&function_of(71), ""), ["function: 71"]);
    }

    #[test]
    fn a_file_may_have_six_hundred_lines_and_not_one_more() {
        assert!(whats(&"// a\n".repeat(600), "").is_empty());
        assert_eq!(whats(&"// a\n".repeat(601), ""), ["file: 601"]);
    }

    #[test]
    fn a_function_may_take_five_parameters_besides_self() {
        let five = "a: u8, b: (u8, u8), c: [u8; 2], d: Map<A, B>, e: impl Fn(u8, u8) -> u8";
        assert!(
            whats(&format!("fn f<F: Fn(u8, u8) -> u8>(&mut self, {five},) {{}}"), "").is_empty()
        );
        assert_eq!(whats(&format!("fn f({five}, g: u8) {{}}"), ""), ["parameters: 6"]);
        assert!(
            whats(&format!("#[cfg(test)] mod tests {{ fn f({five}, g: u8) {{}} }}"), "").is_empty()
        );
        assert!(whats("fn f(g: fn(u8, u8, u8, u8, u8, u8)) {}", "").is_empty());
    }

    #[test]
    fn a_return_type_with_a_semicolon_does_not_end_the_function() {
        let source = function_of(71).replace("()", "() -> [u8; 2] where A: Into<[u8; 3]>");
        assert_eq!(whats(&source, ""), ["function: 71"]);
    }

    #[test]
    fn braces_in_strings_and_comments_do_not_count() {
        let source = function_of(71).replacen("work();", "a('}'); b(\"}\"); // }", 1);
        assert_eq!(whats(&source, ""), ["function: 71"]);
    }

    #[test]
    fn an_exception_allows_exactly_its_size() {
        let at =
            |size: usize| whats(&function_of(80), &format!("function a.rs::long {size} a table"));
        assert!(at(80).is_empty());
        assert_eq!(at(79), ["function: 80, excepted up to 79"]);
        assert_eq!(at(81), ["function: 80, excepted up to 81"]);
    }

    #[test]
    fn an_exception_nobody_needs_or_without_a_reason_fails() {
        assert_eq!(
            whats("", "# a comment\n\nfile a.rs 601 a table"),
            ["`file a.rs` needs no exception"]
        );
        assert_eq!(whats("", "file a.rs 601"), ["cannot read `file a.rs 601`"]);
    }
}
