//! Cuts Rust source into tokens: just enough grammar for the house rules.
//!
//! Always true: what stands in a string or a character is one `Literal`, and what stands in a
//! comment is one `Comment`, so no rule mistakes either for code. Tokens of items under
//! `#[cfg(test)]` or a `#[…test]` attribute, and of files that open with `#![cfg(test)]`, are
//! marked as tests.
//!
//! Not here: macros are not expanded; their bodies are cut like any code.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A name, a keyword or a number.
    Word,
    /// One sign.
    Sign,
    /// A string or a character.
    Literal,
    /// A lifetime or a label.
    Lifetime,
    /// A comment, documentation included.
    Comment,
}

/// One token.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    /// The line it starts on, from 1.
    pub(crate) line: usize,
    /// The byte it starts at.
    pub(crate) at: usize,
    /// Whether it belongs to a test.
    pub(crate) in_test: bool,
}

impl Token {
    /// Whether it is this word or sign of code.
    pub(crate) fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Sign) && self.text == text
    }
}

/// Cuts a file.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = source;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let (kind, length) = next(rest, first);
        let (text, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        if let Some(kind) = kind {
            let at = source.len().saturating_sub(rest.len());
            tokens.push(Token { kind, text: text.into(), line, at, in_test: false });
        }
        line += text.matches('\n').count();
        rest = after;
    }
    mark_tests(&mut tokens);
    tokens
}

/// The kind of the next token, none for space, and its length in bytes.
fn next(rest: &str, first: char) -> (Option<Kind>, usize) {
    if first.is_whitespace() {
        return (None, first.len_utf8());
    }
    if rest.starts_with("//") {
        return (Some(Kind::Comment), rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Some(Kind::Comment), block_comment(rest));
    }
    if let Some(length) = string(rest) {
        return (Some(Kind::Literal), length);
    }
    if first == '\'' {
        return quote(rest);
    }
    let word = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
    if word > 0 { (Some(Kind::Word), word) } else { (Some(Kind::Sign), first.len_utf8()) }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(tail) = rest.get(at..) {
        if tail.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if tail.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            let Some(c) = tail.chars().next() else { break };
            at += c.len_utf8();
        }
    }
    rest.len()
}

/// The length of the string that starts here, raw, byte and C strings included.
fn string(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| {
        rest.strip_prefix(prefix).is_some_and(|tail| {
            tail.starts_with('"') || (prefix.ends_with('r') && hashes_then_quote(tail))
        })
    })?;
    let tail = rest.strip_prefix(prefix)?;
    let hashes = tail.len() - tail.trim_start_matches('#').len();
    let opening = prefix.len() + hashes + 1;
    let body = rest.get(opening..)?;
    let length = if prefix.ends_with('r') {
        let end = format!("\"{}", "#".repeat(hashes));
        body.find(&end).map_or(body.len(), |at| at + end.len())
    } else {
        escaped(body, '"')
    };
    Some(opening + length)
}

fn hashes_then_quote(tail: &str) -> bool {
    tail.starts_with('#') && tail.trim_start_matches('#').starts_with('"')
}

/// The length up to and with the closing sign, a backslash hiding what follows it.
fn escaped(body: &str, closing: char) -> usize {
    let mut hidden = false;
    for (at, c) in body.char_indices() {
        if !hidden && c == closing {
            return at + c.len_utf8();
        }
        hidden = c == '\\' && !hidden;
    }
    body.len()
}

/// A character, or a lifetime.
fn quote(rest: &str) -> (Option<Kind>, usize) {
    let body = rest.get(1..).unwrap_or("");
    let mut chars = body.chars();
    let (first, second) = (chars.next(), chars.next());
    if first == Some('\\') || second == Some('\'') {
        return (Some(Kind::Literal), 1 + escaped(body, '\''));
    }
    let name = body.find(|c: char| !is_word(c)).unwrap_or(body.len());
    (Some(Kind::Lifetime), 1 + name)
}

/// Marks the items that only tests see.
fn mark_tests(tokens: &mut [Token]) {
    let mut at = 0;
    while at < tokens.len() {
        let Some(attribute) = Attribute::at(tokens, at) else {
            at += 1;
            continue;
        };
        if attribute.is_test {
            let end = if attribute.inner { tokens.len() } else { item_end(tokens, attribute.end) };
            tokens.iter_mut().take(end).skip(at).for_each(|token| token.in_test = true);
            at = end;
        } else {
            at = attribute.end;
        }
    }
}

struct Attribute {
    inner: bool,
    is_test: bool,
    /// The index after its closing bracket.
    end: usize,
}

impl Attribute {
    fn at(tokens: &[Token], at: usize) -> Option<Self> {
        tokens.get(at).filter(|token| token.is("#"))?;
        let inner = tokens.get(at + 1)?.is("!");
        let open = at + 1 + usize::from(inner);
        tokens.get(open).filter(|token| token.is("["))?;
        let end = closing(tokens, open);
        let words: Vec<&str> = tokens
            .get(open + 1..end.saturating_sub(1))?
            .iter()
            .filter(|token| token.kind != Kind::Comment)
            .map(|token| token.text.as_str())
            .collect();
        // `cfg(any(test, …))` also builds without tests, so it does not count.
        let is_test = words == ["cfg", "(", "test", ")"]
            || words.starts_with(&["cfg", "(", "all", "(", "test", ","])
            || (!inner && (words == ["test"] || words.starts_with(&["tokio", ":", ":", "test"])));
        Some(Self { inner, is_test, end })
    }
}

/// The index after the item that starts here: its closing brace, or its semicolon.
fn item_end(tokens: &[Token], start: usize) -> usize {
    let mut at = start;
    while let Some(token) = tokens.get(at) {
        if token.is("{") {
            return closing(tokens, at);
        }
        if token.is(";") {
            return at + 1;
        }
        at = if token.is("(") || token.is("[") { closing(tokens, at) } else { at + 1 };
    }
    tokens.len()
}

/// The index after the bracket that closes the one at `open`.
pub(crate) fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        if ["(", "[", "{"].iter().any(|sign| token.is(sign)) {
            depth += 1;
        } else if [")", "]", "}"].iter().any(|sign| token.is(sign)) {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return at + 1;
            }
        }
    }
    tokens.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(source: &str) -> Vec<(Kind, String)> {
        tokens(source).into_iter().map(|token| (token.kind, token.text)).collect()
    }

    fn words_in_test(source: &str, in_test: bool) -> Vec<String> {
        let chosen = tokens(source).into_iter().filter(|token| token.in_test == in_test);
        chosen.filter(|token| token.kind == Kind::Word).map(|token| token.text).collect()
    }

    #[test]
    fn strings_and_comments_hide_what_they_hold() {
        for hidden in [
            r#""a \" { fn""#,
            r##"r#"a " { fn"#"##,
            r##"br#"fn"#"##,
            r#"c"fn""#,
            r"'{'",
            r"'\''",
            r"'\u{7b}'",
            "'é'",
        ] {
            assert_eq!(cut(hidden), [(Kind::Literal, hidden.into())]);
        }
        for hidden in ["// fn {", "//! fn", "/* fn /* { */ fn */"] {
            assert_eq!(cut(hidden), [(Kind::Comment, hidden.into())]);
        }
    }

    #[test]
    fn lifetimes_and_raw_names_are_not_literals() {
        assert_eq!(cut("&'a str")[1], (Kind::Lifetime, "'a".into()));
        assert_eq!(cut("break 'outer;")[1], (Kind::Lifetime, "'outer".into()));
        assert_eq!(cut("r#fn")[0], (Kind::Word, "r".into()));
    }

    #[test]
    fn lines_are_counted_through_strings_and_comments() {
        let last = tokens("\"a\nb\" /*\n*/ end").pop().unwrap();
        assert_eq!((last.text.as_str(), last.line), ("end", 3));
    }

    #[test]
    fn an_item_under_cfg_test_is_a_test_to_its_brace_and_no_further() {
        let source =
            "fn a() {} #[cfg(test)] #[allow(x)] mod tests { fn b() { [0; 2]; } } fn c() {}";
        assert_eq!(words_in_test(source, false), ["fn", "a", "fn", "c"]);
        let source = "#[cfg(test)] use x::y; fn c() {}";
        assert_eq!(words_in_test(source, false), ["fn", "c"]);
        assert!(words_in_test("#![cfg(test)] fn c() {}", false).is_empty());
    }

    #[test]
    fn code_that_also_builds_without_tests_is_not_a_test() {
        for source in [
            "#[cfg(any(test, unix))] fn a() {}",
            "#[cfg(not(test))] fn a() {}",
            "#[must_use] fn a() {}",
        ] {
            assert!(words_in_test(source, true).is_empty(), "{source}");
        }
    }
}
