//! The display text: what an approver reads, and therefore signs.
//!
//! Source: the design's "Typed acts". Deterministic, ASCII, one fact per line, and nothing that the
//! act, its content and its requester do not already say.
//!
//! Always true: two different well-formed acts or contents have different texts, because the text
//! holds every field of the act, and the content's sha-256 or the transaction's hash; the preview
//! cannot forge a line, because whatever is not printable ASCII in it is escaped.

use std::fmt::Write;

use dvm_core::digest::{self, Domain, Tagged};
use dvm_core::intent::{Act, CanonicalIntent, Scope};
use dvm_core::{B32, Link, NodeId, PersonId, Tenant};

use crate::form::{ActError, check_content, check_expiry, check_form, transaction};
use crate::time::rfc3339;

/// Bytes of a message that the text shows: enough to recognise it, short enough to read.
pub const PREVIEW_BYTES_MAX: usize = 64;

/// What the text is made from, beside the content: an intent, or a client's draft of one.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The cluster that is asked.
    pub cluster: &'a Link,
    /// Whose request.
    pub tenant: &'a Tenant,
    /// Who asks.
    pub requester: &'a PersonId,
    /// What for.
    pub act: &'a Act,
    /// Who may see the result.
    pub scope: Scope,
    /// Until when, in milliseconds since the epoch.
    pub expires_ms: u64,
}

impl<'a> From<&'a CanonicalIntent> for Shown<'a> {
    fn from(intent: &'a CanonicalIntent) -> Self {
        Self {
            cluster: &intent.cluster,
            tenant: &intent.tenant,
            requester: &intent.requester,
            act: &intent.act,
            scope: intent.scope,
            expires_ms: intent.expires_ms,
        }
    }
}

/// The text and its hash. Made only by [`display`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Display {
    text: String,
    hash: B32,
}

impl Display {
    /// The text: ASCII lines, each ended by a line feed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What intents and approvals carry.
    pub fn hash(&self) -> B32 {
        self.hash
    }
}

/// Renders an act for the people who approve it; an intent's own display hash plays no part.
///
/// # Errors
/// [`ActError`] for an act that is not well formed or not about this content: nobody is ever shown
/// a text for something that no kernel would accept.
pub fn display<'a>(
    shown: impl Into<Shown<'a>>,
    content: Option<&[u8]>,
) -> Result<Display, ActError> {
    let shown = shown.into();
    check_form(shown.act)?;
    check_content(shown.act, content)?;
    check_expiry(shown.expires_ms)?;
    let mut text = Text(String::new());
    text.line("act", shown.act.class().name());
    text.line("cluster", shown.cluster);
    text.line("tenant", shown.tenant);
    text.line("requester", shown.requester);
    text.line("key", shown.act.key_id());
    text.line("epoch", shown.act.key_epoch());
    match shown.act {
        Act::KeyGenerate { backend, threshold, roster, .. } => {
            text.line("backend", backend.name());
            text.line("threshold", format_args!("{threshold} of {}", roster.len()));
            text.line("holders", roster.iter().map(NodeId::as_str).collect::<Vec<_>>().join(", "));
        }
        Act::SignMessage { .. } => text.message(content.unwrap_or_default()),
        Act::SignDigest { digest, .. } => {
            text.line("digest", digest);
            text.line("warning", "opaque digest: what it stands for cannot be shown");
        }
        Act::SignEvmTransaction { path, from, .. } => {
            text.path(path);
            let transaction = transaction(shown.act, content)?;
            for (name, value) in transaction.iter().flat_map(|t| t.lines(&from.0)) {
                text.line(name, value);
            }
        }
        Act::PresignBatch { path, signers, count, .. } => {
            text.path(path);
            text.line("signers", signers.iter().map(NodeId::as_str).collect::<Vec<_>>().join(", "));
            text.line("prepares", format_args!("{count} signatures, and signs nothing"));
        }
    }
    text.line("scope", scope_name(shown.scope));
    text.line("expires", rfc3339(shown.expires_ms));
    let hash = Tagged::new(Domain::Display).part(text.0.as_bytes()).finish();
    Ok(Display { text: text.0, hash })
}

fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Public => "public",
    }
}

/// A BIP-32 path as people write it: `m/0/7`, or `m` for the key itself.
pub fn path_text(path: &[u32]) -> String {
    let components: String = path.iter().map(|component| format!("/{component}")).collect();
    format!("m{components}")
}

/// The first index that needs the private key as one number, which is nowhere.
const FIRST_HARDENED: u32 = 1 << 31;

/// The path that people wrote so, without hardened indices. Each has one text: no `+7`, no `007`, nothing between `m`
/// and the first `/`.
pub fn path_of(text: &str) -> Option<Vec<u32>> {
    let components = text.strip_prefix('m')?;
    let path: Option<Vec<u32>> = components.split('/').skip(1).map(|c| c.parse().ok()).collect();
    let path = path.filter(|path| path.iter().all(|index| *index < FIRST_HARDENED))?;
    (path_text(&path) == text).then_some(path)
}

struct Text(String);

impl Text {
    fn line(&mut self, name: &str, value: impl std::fmt::Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{name}: {value}");
    }

    fn path(&mut self, path: &[u32]) {
        self.line("path", path_text(path));
    }

    fn message(&mut self, content: &[u8]) {
        self.line("message length", format_args!("{} bytes", content.len()));
        self.line("message sha256", digest::sha256(content));
        let shown = content.get(..PREVIEW_BYTES_MAX).unwrap_or(content);
        let rest = content.len() - shown.len();
        let more = if rest > 0 { format!(" and {rest} more bytes") } else { String::new() };
        self.line("message begins", format_args!("\"{}\"{more}", shown.escape_ascii()));
    }
}

#[cfg(test)]
mod tests;
