//! The same bytes as the library for every form that serde has; what it would write and nobody needs is refused.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::ser::{SerializeMap as _, SerializeSeq as _};

use super::*;
use crate::bytes::Bytes;
use crate::link::Link;

/// Every form that serde has, so that the library that this replaces is asked about all of them.
#[derive(Clone, Debug, Serialize)]
enum Any {
    Nothing,
    Unsigned(u64),
    Signed(i64),
    Small(i8, u16, i32),
    Truth(bool),
    Letter(char),
    Text(String),
    Bytes(Bytes),
    Link(Link),
    Maybe(Option<Box<Any>>),
    List(Vec<Any>),
    Uncounted(Uncounted),
    Map(BTreeMap<String, Any>),
    Fields { zz: Box<Any>, b: u8, name: String, aa: Option<u32> },
    Struct(Box<Struct>),
    Unit(()),
}

#[derive(Clone, Debug, Serialize)]
struct Struct {
    sequence: Any,
    id: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    absent: Option<u8>,
    pair: (Any, Wrapped),
}

#[derive(Clone, Debug, Serialize)]
struct Wrapped(u64);

/// A list and a map that do not say how long they are.
#[derive(Clone, Debug)]
struct Uncounted(Vec<u32>);

impl Serialize for Uncounted {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut list = s.serialize_seq(None)?;
        for number in &self.0 {
            list.serialize_element(number)?;
        }
        list.end()
    }
}

fn any_value() -> impl Strategy<Value = Any> {
    let leaf = prop_oneof![
        Just(Any::Nothing),
        Just(Any::Unit(())),
        any::<u64>().prop_map(Any::Unsigned),
        (0_u64..70_000).prop_map(Any::Unsigned),
        any::<i64>().prop_map(Any::Signed),
        (-70_000_i64..300).prop_map(Any::Signed),
        any::<(i8, u16, i32)>().prop_map(|(a, b, c)| Any::Small(a, b, c)),
        any::<bool>().prop_map(Any::Truth),
        any::<char>().prop_map(Any::Letter),
        ".{0,40}".prop_map(Any::Text),
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(|b| Any::Bytes(b.into())),
        any::<[u8; 4]>().prop_map(|b| Any::Link(Link::of_raw(&b))),
        proptest::collection::vec(any::<u32>(), 0..40).prop_map(|n| Any::Uncounted(Uncounted(n))),
    ];
    leaf.prop_recursive(5, 200, 30, |inner| {
        let name = "[a-z]{0,30}";
        let one = inner.clone().prop_map(Box::new);
        prop_oneof![
            proptest::option::of(one.clone()).prop_map(Any::Maybe),
            proptest::collection::vec(inner.clone(), 0..30).prop_map(Any::List),
            proptest::collection::btree_map(name, inner.clone(), 0..30).prop_map(Any::Map),
            (one, any::<u8>(), name, any::<Option<u32>>())
                .prop_map(|(zz, b, name, aa)| Any::Fields { zz, b, name, aa }),
            (inner.clone(), any::<u32>(), any::<Option<u8>>(), inner, any::<u64>()).prop_map(
                |(sequence, id, absent, first, n)| {
                    let pair = (first, Wrapped(n));
                    Any::Struct(Box::new(Struct { sequence, id, absent, pair }))
                }
            ),
        ]
    })
}

proptest! {
    #[test]
    fn every_value_has_the_bytes_that_the_library_gives_it(value in any_value()) {
        let theirs = serde_ipld_dagcbor::to_vec(&value).unwrap();
        prop_assert_eq!(to_vec(&value).unwrap(), theirs);
    }
}

/// A map with entries in this order.
struct Unordered(Vec<(&'static str, u64)>);

impl Serialize for Unordered {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

#[test]
fn entries_are_in_order_of_length_and_then_of_bytes_whatever_order_they_came_in() {
    let (a, b, long) = (("a", 1), ("b", 2), ("aa", 3));
    let ordered = to_vec(&Unordered(vec![a, b, long])).unwrap();
    assert_eq!(ordered, b"\xa3\x61a\x01\x61b\x02\x62aa\x03");
    for other in [[long, b, a], [b, a, long], [a, long, b]] {
        assert_eq!(to_vec(&Unordered(other.to_vec())).unwrap(), ordered);
    }
}

#[test]
fn a_map_and_a_list_take_one_byte_more_for_their_head_from_the_24th_entry_on() {
    for (count, head) in [(23_u32, 1), (24, 2), (255, 2), (256, 3)] {
        let map: BTreeMap<String, ()> = (0..count).map(|n| (format!("{n:04}"), ())).collect();
        assert_eq!(to_vec(&map).unwrap().len(), head + count as usize * 6);
        let list = Uncounted(vec![0; count as usize]);
        assert_eq!(to_vec(&list).unwrap().len(), head + count as usize);
    }
}

#[test]
fn floats_wide_integers_and_keys_that_are_not_text_are_refused() {
    assert!(to_vec(&0.5_f64).is_err() && to_vec(&0.5_f32).is_err());
    assert!(to_vec(&1_u128).is_err() && to_vec(&-1_i128).is_err());
    assert!(to_vec(&BTreeMap::from([(1, 2)])).is_err());
    assert!(to_vec(&BTreeMap::from([("1", 2)])).is_ok());
}
