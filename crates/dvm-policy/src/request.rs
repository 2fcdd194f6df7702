//! What the engine is asked: principal, action, resource, context, as typed values.
//!
//! Always true: no Cedar text is ever built from data; every request and entity is checked against
//! the schema; a number that the engine cannot hold is an error, hence a denial.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression,
};
use dvm_act::evm::{Transaction, address_of};
use dvm_act::path_text;
use dvm_core::Address20;
use dvm_core::admission::Purpose;
use dvm_core::authority::KeyReady;
use dvm_core::ids::SetName;
use dvm_core::intent::{Act, CanonicalIntent};
use dvm_governance::{AuthorityState, KeyRecord};
use serde::{Deserialize, Serialize};

use crate::files::PolicySet;

/// What a requester's token lets them be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Asks for acts.
    #[serde(rename = "client")]
    Client,
    /// Says yes or no.
    #[serde(rename = "approver")]
    Approver,
    /// Runs the node.
    #[serde(rename = "operator")]
    Operator,
    /// Reads.
    #[serde(rename = "auditor")]
    Auditor,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Client, Self::Approver, Self::Operator, Self::Auditor];

    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Approver => "approver",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
        }
    }
}

/// How many distinct members of each set approved.
pub(crate) type Tally = BTreeMap<SetName, usize>;

/// Everything that the request is made of.
pub(crate) struct Facts<'a> {
    pub(crate) state: &'a AuthorityState,
    pub(crate) intent: &'a CanonicalIntent,
    pub(crate) record: Option<&'a KeyRecord>,
    pub(crate) purpose: &'a Purpose,
    pub(crate) roles: &'a BTreeSet<Role>,
    pub(crate) tally: &'a Tally,
    pub(crate) floor_met: bool,
    pub(crate) executions_last_hour: u32,
    pub(crate) now_ms: u64,
    pub(crate) transaction: Option<&'a Transaction>,
}

/// The account on EVM chains of this key at this path; none for a key that signs otherwise.
pub fn account_of(ready: &KeyReady, path: &[u32]) -> Option<Address20> {
    let key = dvm_blame::key_below(ready, path).ok()?;
    address_of(key.public_key()).map(Address20)
}

/// What Cedar could not take, in its own words. Only for the private receipt.
pub(crate) type Problem = String;

type Pairs = Vec<(String, RestrictedExpression)>;

fn uid(kind: &str, id: &str) -> Result<EntityUid, Problem> {
    let name = EntityTypeName::from_str(kind).map_err(|e| e.to_string())?;
    Ok(EntityUid::from_type_name_and_id(name, EntityId::new(id)))
}

fn long(value: impl TryInto<i64>) -> Result<RestrictedExpression, Problem> {
    let value = value.try_into().map_err(|_| "a number is beyond the engine's range".to_owned())?;
    Ok(RestrictedExpression::new_long(value))
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn pair(name: &str, value: RestrictedExpression) -> (String, RestrictedExpression) {
    (name.to_owned(), value)
}

/// `0x` and lower-case hex; empty for none.
fn address(address: Option<[u8; 20]>) -> RestrictedExpression {
    text(&address.map(|bytes| format!("0x{}", Address20(bytes))).unwrap_or_default())
}

fn transaction_pairs(transaction: Option<&Transaction>) -> Result<Pairs, Problem> {
    let unread = || "the transaction was not read".to_owned();
    let facts = transaction.ok_or_else(unread)?.facts();
    // What no 64 bits hold, the engine does not hold either: an error, hence a denial.
    let gwei = |amount: Option<u64>| long(amount.unwrap_or(u64::MAX));
    let selector = facts.selector.map(|[a, b, c, d]| format!("0x{a:02x}{b:02x}{c:02x}{d:02x}"));
    // Most tokens' amounts are beyond 64 bits: that is no error, but a policy that asks for one must ask if it is there.
    let amount = facts.erc20_amount.and_then(|amount| long(amount).ok());
    let amount = amount.map(|amount| pair("erc20_amount", amount));
    let mut pairs = vec![
        pair("to", address(facts.to)),
        pair("creates_contract", RestrictedExpression::new_bool(facts.creates_contract())),
        pair("chain_id", long(facts.chain_id)?),
        pair("value_gwei_up", gwei(facts.value_gwei_up)?),
        pair("cost_gwei_up", gwei(facts.cost_gwei_up)?),
        pair("data_bytes", long(facts.data_bytes)?),
        pair("data_selector", text(&selector.unwrap_or_default())),
        pair("erc20_kind", text(facts.erc20_kind.map(|kind| kind.name()).unwrap_or_default())),
        pair("erc20_party", address(facts.erc20_party)),
        pair("erc20_bits", long(facts.erc20_bits)?),
    ];
    pairs.extend(amount);
    Ok(pairs)
}

impl Facts<'_> {
    fn action(&self) -> &'static str {
        match self.purpose {
            Purpose::Admit => self.intent.act.class().name(),
            Purpose::Release { .. } => "Release",
        }
    }

    fn resource(&self) -> Result<EntityUid, Problem> {
        match self.record {
            Some(record) => uid("Dvm::Key", record.ready.key_id.as_str()),
            None => uid("Dvm::Cluster", &self.state.cluster().to_string()),
        }
    }

    fn context(&self) -> Result<Pairs, Problem> {
        let mut pairs = vec![
            pair("approvals", RestrictedExpression::new_entity_uid(uid("Dvm::Approvals", "here")?)),
            pair("floor_met", RestrictedExpression::new_bool(self.floor_met)),
            pair("now_ms", long(self.now_ms)?),
        ];
        if *self.purpose != Purpose::Admit {
            pairs.push(pair("act", text(self.intent.act.class().name())));
            return Ok(pairs);
        }
        pairs.push(pair("executions_last_hour", long(self.executions_last_hour)?));
        pairs.push(pair("expires_ms", long(self.intent.expires_ms)?));
        match &self.intent.act {
            Act::KeyGenerate { key_id, backend, threshold, roster } => pairs.extend([
                pair("key_id", text(key_id.as_str())),
                pair("backend", text(backend.name())),
                pair("threshold", long(*threshold)?),
                pair("holders", long(roster.len())?),
            ]),
            Act::SignMessage { len, .. } => pairs.push(pair("bytes", long(*len)?)),
            Act::SignDigest { .. } => {}
            Act::SignEvmTransaction { path, from, .. } => {
                pairs.push(pair("path", text(&path_text(path))));
                pairs.push(pair("from", address(Some(from.0))));
                pairs.extend(transaction_pairs(self.transaction)?);
            }
            Act::PresignBatch { path, signers, count, .. } => pairs.extend([
                pair("path", text(&path_text(path))),
                pair("signers", long(signers.len())?),
                pair("count", long(*count)?),
            ]),
        }
        Ok(pairs)
    }

    fn entities(&self, policies: &PolicySet) -> Result<Entities, Problem> {
        let entity = |uid, attrs: Pairs, parents: Vec<EntityUid>, tags: Pairs| {
            Entity::new_with_tags(uid, attrs, parents, tags).map_err(|e| e.to_string())
        };
        let roles: Vec<EntityUid> =
            self.roles.iter().map(|r| uid("Dvm::Role", r.name())).collect::<Result<_, _>>()?;
        let person = uid("Dvm::Person", self.intent.requester.as_str())?;
        let tenant = vec![pair("tenant", text(self.intent.tenant.as_str()))];
        let mut all = Vec::new();
        for role in &roles {
            all.push(Entity::with_uid(role.clone()));
        }
        all.push(entity(person, tenant, roles, Vec::new())?);
        let attrs = match self.record {
            Some(record) => vec![
                pair("state", text(record.state.name())),
                pair("epoch", long(record.epoch)?),
                pair("backend", text(record.ready.backend.name())),
                pair("threshold", long(record.ready.threshold)?),
                pair("holders", long(record.ready.roster.len())?),
            ],
            None => vec![pair("state", text(self.state.cluster_state().name()))],
        };
        all.push(entity(self.resource()?, attrs, Vec::new(), Vec::new())?);
        let tags = self.tally.iter().map(|(set, n)| Ok(pair(set.as_str(), long(*n)?)));
        let tags: Pairs = tags.collect::<Result<_, Problem>>()?;
        all.push(entity(uid("Dvm::Approvals", "here")?, Vec::new(), Vec::new(), tags)?);
        Entities::from_entities(all, Some(&policies.schema)).map_err(|e| e.to_string())
    }

    /// The request and its entities, checked against the schema.
    pub(crate) fn ask(&self, policies: &PolicySet) -> Result<(Request, Entities), Problem> {
        let action = uid("Dvm::Action", self.action())?;
        let person = uid("Dvm::Person", self.intent.requester.as_str())?;
        let context = Context::from_pairs(self.context()?).map_err(|e| e.to_string())?;
        let schema = Some(&policies.schema);
        let request = Request::new(person, action, self.resource()?, context, schema)
            .map_err(|e| e.to_string())?;
        Ok((request, self.entities(policies)?))
    }

    /// The request in a line, for explanation.
    pub(crate) fn describe(&self) -> String {
        let roles: Vec<&str> = self.roles.iter().map(|r| r.name()).collect();
        let tally: Vec<String> = self.tally.iter().map(|(set, n)| format!("{set}={n}")).collect();
        format!(
            "{} by {} ({}) on {} epoch {}; approvals {}; floor {}; {} executions in the last hour; at {}",
            self.action(),
            self.intent.requester,
            roles.join(", "),
            self.intent.act.key_id(),
            self.intent.act.key_epoch(),
            tally.join(", "),
            if self.floor_met { "met" } else { "not met" },
            self.executions_last_hour,
            self.now_ms,
        )
    }
}
