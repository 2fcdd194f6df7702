use super::*;
use crate::form::EXPIRES_MS_MAX;

fn id<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().unwrap()
}

fn message(content: &[u8]) -> Act {
    Act::SignMessage {
        key_id: id("treasury"),
        key_epoch: 3,
        message: Link::of_raw(content),
        len: content.len() as u64,
    }
}

fn shown(act: &Act, expires_ms: u64, content: Option<&[u8]>) -> Result<Display, ActError> {
    let (cluster, tenant, requester) = (Link::of_artifact(b"genesis"), id("acme"), id("alice"));
    let scope = Scope::Public;
    let shown =
        Shown { cluster: &cluster, tenant: &tenant, requester: &requester, act, scope, expires_ms };
    display(shown, content)
}

#[test]
fn a_message_is_shown_whole_up_to_64_bytes_and_counted_beyond() {
    let content = [b'x'; 64];
    let text = shown(&message(&content), 0, Some(&content)).unwrap();
    assert!(text.text().contains(&format!("message begins: \"{}\"\n", "x".repeat(64))));
    let content = [b'x'; 65];
    let text = shown(&message(&content), 0, Some(&content)).unwrap();
    assert!(text.text().contains(&format!("\"{}\" and 1 more bytes\n", "x".repeat(64))));
}

#[test]
fn the_text_of_a_message_is_pinned() {
    let content = b"pay \"Bob\"\nscope: nobody\xff";
    let got = shown(&message(content), 1_767_225_600_000, Some(content)).unwrap();
    let want = "act: sign.message\n\
        cluster: bafyreifo5owuu6lpzqxblxcmmbq3ixwzwnz7e2w7y6mmu7jnrtcydatrry\n\
        tenant: acme\n\
        requester: alice\n\
        key: treasury\n\
        epoch: 3\n\
        message length: 24 bytes\n\
        message sha256: 9ed55dad61efe99c8fc6a045ab788079d38dd8109bd0a33f1bd7a1cd5822b3c8\n\
        message begins: \"pay \\\"Bob\\\"\\nscope: nobody\\xff\"\n\
        scope: public\n\
        expires: 2026-01-01T00:00:00.000Z\n";
    assert_eq!(got.text(), want);
    assert_eq!(
        got.hash().hex(),
        "d47f6ea70f80a0a62843a1cecdb50ad6d57aebbb14447c5cac77d08cea023713"
    );
}

#[test]
fn a_line_feed_in_a_message_cannot_forge_a_line() {
    let content = b"x\nscope: nobody\n";
    let text = shown(&message(content), 0, Some(content)).unwrap();
    assert_eq!(text.text().lines().filter(|l| l.starts_with("scope:")).count(), 1);
}

#[test]
fn messages_that_differ_after_the_preview_have_different_texts() {
    let (mut a, mut b) = (vec![b'x'; 100], vec![b'x'; 100]);
    (a[99], b[99]) = (1, 2);
    let of = |content: &[u8]| shown(&message(content), 0, Some(content)).unwrap().hash();
    assert_ne!(of(&a), of(&b));
}

#[test]
fn key_generation_shows_backend_threshold_and_holders() {
    let act = Act::KeyGenerate {
        key_id: id("treasury"),
        backend: dvm_core::intent::Backend::FrostEd25519,
        threshold: 2,
        roster: vec![id("n1"), id("n2"), id("n3")],
    };
    let text = shown(&act, 0, None).unwrap();
    assert!(
        text.text().contains("backend: frost-ed25519\nthreshold: 2 of 3\nholders: n1, n2, n3\n")
    );
}

#[test]
fn a_digest_is_shown_with_a_warning() {
    let act = Act::SignDigest { key_id: id("k"), key_epoch: 1, digest: B32([0xab; 32]) };
    let text = shown(&act, 0, None).unwrap();
    assert!(text.text().contains(&format!("digest: {}\nwarning: opaque", "ab".repeat(32))));
}

#[test]
fn an_expiry_after_the_year_9999_is_refused() {
    let act = Act::SignDigest { key_id: id("k"), key_epoch: 1, digest: B32([0xab; 32]) };
    assert!(shown(&act, EXPIRES_MS_MAX, None).is_ok());
    assert_eq!(shown(&act, EXPIRES_MS_MAX + 1, None), Err(ActError::Expiry));
}
