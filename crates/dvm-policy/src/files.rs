//! Policy files: their set, its address (the policy root), and their validation.
//!
//! Always true for a loaded set: every policy parsed, has an `@id` unique in its file, is no
//! template, and passes strict validation against the shipped schema. Its name in receipts is
//! `file/id`.
//!
//! Not here: whether the root is the one in force. The governance log says that.

use std::collections::BTreeMap;
use std::str::FromStr;

use cedar_policy::{Policy, PolicyId, PolicySet as CedarSet, Schema, ValidationMode, Validator};
use dvm_core::Link;
use dvm_core::codec::{Artifact, link_of};
use serde::{Deserialize, Serialize};

/// The schema that every policy is validated against.
const SCHEMA_TEXT: &str = include_str!("../schema.cedarschema");
/// The policies that a new cluster starts with.
const SHIPPED: [(&str, &str); 5] = [
    ("10-key-generate", include_str!("../policies/10-key-generate.cedar")),
    ("20-sign-message", include_str!("../policies/20-sign-message.cedar")),
    ("25-sign-evm-transaction", include_str!("../policies/25-sign-evm-transaction.cedar")),
    ("27-presign-batch", include_str!("../policies/27-presign-batch.cedar")),
    ("30-release", include_str!("../policies/30-release.cedar")),
];
/// Policy files of one set, and bytes of them together: what people can review, and one block.
const FILES_MAX: usize = 128;
const BYTES_MAX: usize = 512 << 10;
/// Bytes of one file. The parser recurses along chains of operators too, and this many bytes hold none
/// that exhausts the stack of a worker thread.
const FILE_BYTES_MAX: usize = 16 << 10;
/// Brackets within brackets: people read four; the parser's stack is gone at some 140.
const NESTING_MAX: usize = 32;

/// One policy file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// Its name.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// A set of policy files with the schema they mean. Its link is the policy root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyBundle {
    /// The Cedar schema.
    pub cedar_schema: String,
    /// The files, sorted by name.
    pub files: Vec<PolicyFile>,
}

impl Artifact for PolicyBundle {
    const SCHEMA: &'static str = "dvm/policy-bundle/1";
}

/// Why a set of policy files was refused. All of it is refused, never a part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadRefused {
    /// Too many files, or too many bytes.
    #[error("{files} files with {bytes} bytes are more than a policy set may have")]
    TooLarge {
        /// Files.
        files: usize,
        /// Bytes of all texts.
        bytes: usize,
    },
    /// A file is longer or nests deeper than the parser can be trusted with.
    #[error(
        "policy file `{file}`: more than {FILE_BYTES_MAX} bytes, or {NESTING_MAX} brackets deep"
    )]
    Unbounded {
        /// The file.
        file: String,
    },
    /// A file is not Cedar.
    #[error("policy file `{file}`: {problem}")]
    Syntax {
        /// The file.
        file: String,
        /// What the parser says.
        problem: String,
    },
    /// A policy has no `@id`, or its file has it twice, or it is a template.
    #[error("policy file `{file}`: each policy needs its own @id, and templates are not allowed")]
    Unnamed {
        /// The file.
        file: String,
    },
    /// The set does not pass strict validation.
    #[error("policies do not fit the schema: {}", problems.join("; "))]
    Invalid {
        /// What the validator says, per policy.
        problems: Vec<String>,
    },
    /// A bundle was made for another schema than this build's.
    #[error("the bundle's schema is not the one of this build")]
    OtherSchema,
}

/// A validated set of policies.
#[derive(Clone, Debug)]
pub struct PolicySet {
    pub(crate) cedar: CedarSet,
    pub(crate) schema: Schema,
    bundle: PolicyBundle,
    root: Link,
}

impl PolicySet {
    /// Loads and validates policy files: name to text.
    ///
    /// # Errors
    /// [`LoadRefused`].
    pub fn load(files: BTreeMap<String, String>) -> Result<Self, LoadRefused> {
        let bytes = files.iter().map(|(name, text)| name.len() + text.len()).sum();
        if files.len() > FILES_MAX || bytes > BYTES_MAX {
            return Err(LoadRefused::TooLarge { files: files.len(), bytes });
        }
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA_TEXT)
            .map_err(|e| LoadRefused::Invalid { problems: vec![e.to_string()] })?;
        let mut cedar = CedarSet::new();
        for (name, text) in &files {
            for policy in read_file(name, text)? {
                cedar.add(policy).map_err(|_| LoadRefused::Unnamed { file: name.clone() })?;
            }
        }
        let result = Validator::new(schema.clone()).validate(&cedar, ValidationMode::Strict);
        if !result.validation_passed() {
            let mut problems: Vec<String> =
                result.validation_errors().map(ToString::to_string).collect();
            problems.sort();
            return Err(LoadRefused::Invalid { problems });
        }
        let files = files.into_iter().map(|(name, text)| PolicyFile { name, text }).collect();
        let bundle = PolicyBundle { cedar_schema: SCHEMA_TEXT.to_owned(), files };
        let root = link_of(&bundle);
        Ok(Self { cedar, schema, bundle, root })
    }

    /// The policies that a new cluster starts with.
    ///
    /// # Errors
    /// None for an intact build; a test holds that.
    pub fn shipped() -> Result<Self, LoadRefused> {
        Self::load(SHIPPED.map(|(name, text)| (name.to_owned(), text.to_owned())).into())
    }

    /// Loads a bundle, such as one out of an evidence file.
    ///
    /// # Errors
    /// [`LoadRefused`]; a bundle of another schema would not mean here what it meant there.
    pub fn from_bundle(bundle: &PolicyBundle) -> Result<Self, LoadRefused> {
        let files = bundle.files.iter().map(|f| (f.name.clone(), f.text.clone())).collect();
        let loaded = Self::load(files)?;
        if loaded.bundle == *bundle { Ok(loaded) } else { Err(LoadRefused::OtherSchema) }
    }

    /// The policy root: the link of the bundle.
    pub fn policy_root(&self) -> Link {
        self.root
    }

    /// The bundle, to store or to put into evidence.
    pub fn bundle(&self) -> &PolicyBundle {
        &self.bundle
    }
}

fn read_file(name: &str, text: &str) -> Result<Vec<Policy>, LoadRefused> {
    let unnamed = || LoadRefused::Unnamed { file: name.to_owned() };
    if text.len() > FILE_BYTES_MAX || nesting(text) > NESTING_MAX {
        return Err(LoadRefused::Unbounded { file: name.to_owned() });
    }
    let parsed = CedarSet::from_str(text)
        .map_err(|e| LoadRefused::Syntax { file: name.to_owned(), problem: e.to_string() })?;
    if parsed.templates().next().is_some() {
        return Err(unnamed());
    }
    let rename = |policy: &Policy| {
        let id = policy.annotation("id").filter(|id| !id.is_empty()).ok_or_else(unnamed)?;
        Ok(policy.new_id(PolicyId::new(format!("{name}/{id}"))))
    };
    parsed.policies().map(rename).collect()
}

/// The deepest nesting of brackets, outside strings and comments as Cedar's lexer has them.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {
                while let Some(inside) = bytes.next() {
                    match inside {
                        b'"' => break,
                        b'\\' => drop(bytes.next()),
                        _ => {}
                    }
                }
            }
            b'/' if bytes.peek() == Some(&b'/') => {
                while bytes.next_if(|inside| !matches!(inside, b'\n' | b'\r')).is_some() {}
            }
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}
