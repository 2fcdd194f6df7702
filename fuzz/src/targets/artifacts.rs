//! The codec, per artifact: one value, one byte string; bounded memory.

use std::fmt::Debug;

use dvm_core::codec::{Artifact, CodecError, decode, encode, link_of, schema_of};
use dvm_score::{Plan, Score};

use crate::Seen;
use crate::memory::bounded;

/// Decoding and what must hold of what it accepts.
pub(super) fn read<T: Artifact + PartialEq + Debug>(data: &[u8]) -> Result<T, Seen> {
    let value: T = bounded(data.len(), || decode(data)).map_err(|error| match error {
        // Where it stopped tells inputs apart, coarsely.
        CodecError::Unbounded { at } => Seen::of(("unbounded", at / 16)),
        other => Seen::refused(&other),
    })?;
    let again = encode(&value);
    assert_eq!(again, data, "a second encoding of one value was accepted");
    assert_eq!(decode::<T>(&again).as_ref(), Ok(&value), "decode does not invert encode");
    assert!(link_of(&value).matches(data), "the link does not name the bytes");
    assert_eq!(schema_of(data).as_deref(), Some(T::SCHEMA));
    Ok(value)
}

pub(super) fn artifact<T: Artifact + PartialEq + Debug>(data: &[u8]) -> Seen {
    read::<T>(data).map_or_else(|seen| seen, |_| Seen::accepted(data.len()))
}

/// A score that decodes is checked: total, and the checker's verdict does not depend on when it is asked.
pub(super) fn score(data: &[u8]) -> Seen {
    let score = match read::<Score>(data) {
        Ok(score) => score,
        Err(seen) => return seen,
    };
    let text = dvm_score::text::l1(&score);
    assert!(text.len() < (1 << 20) + 64 * data.len());
    match bounded(data.len(), || dvm_score::check(score.clone())) {
        Ok(checked) => {
            assert_eq!((checked.score(), checked.id()), (&score, score.id()));
            Seen::of(("checked", score.sites.len()))
        }
        Err(error) => {
            assert_eq!(dvm_score::check(score).unwrap_err(), error);
            Seen::of(("unchecked", format!("{:?}", error.rule)))
        }
    }
}

/// A plan that decodes is verified: total, and a plan that holds has a text for people.
pub(super) fn plan(data: &[u8]) -> Seen {
    let plan = match read::<Plan>(data) {
        Ok(plan) => plan,
        Err(seen) => return seen,
    };
    let cap = dvm_score::plan::frame_bytes_max(plan.participants.len());
    match bounded(data.len(), || dvm_score::plan::verify(&plan, cap)) {
        Ok(()) => {
            assert!(dvm_score::text::plan(&plan).starts_with("plan "));
            Seen::of(("plan", plan.steps.len(), plan.levels()))
        }
        Err(error) => Seen::refused(&error),
    }
}

/// The schema's name is read from anything that is bounded, and from nothing else.
pub(super) fn any_schema(data: &[u8]) -> Seen {
    match bounded(data.len(), || schema_of(data)) {
        Some(schema) => Seen::of(schema.len()),
        None => Seen::of("none"),
    }
}
