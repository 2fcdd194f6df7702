//! Canonical bytes, written where they stay: strict DAG-CBOR, `spec/codec.md` §1.
//!
//! Source: RFC 8949 §3 (heads), IPLD's DAG-CBOR (key order, tag 42). The entries of a map are written as they come, and
//! put in order when the map ends: by length of the key, then by its bytes, which is the order of the encoded entries.
//! `docs/decisions/0011-canonical-bytes-are-written-in-place.md` says why this is ours.
//! Always true: a value has one encoding. What has none or several (floats, integers beyond 64 bits, keys that are not
//! text) is refused.
//! Not here: reading. Equal keys: no map of ours has them, and what is read is encoded again and compared.

use std::fmt;
use std::ops::Range;

use cid::serde::CID_SERDE_PRIVATE_IDENTIFIER as LINK;
use serde::{Serialize, ser};

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;
const NULL: u8 = 0xf6;
const LINK_TAG: u64 = 42;

/// Room for most artifacts, so that few grow.
const ROOM: usize = 512;

/// Why a value has no canonical bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not representable in DAG-CBOR: {0}")]
pub(super) struct Unrepresentable(String);

impl ser::Error for Unrepresentable {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

fn none<T>(what: &str) -> Result<T, Unrepresentable> {
    Err(Unrepresentable(what.to_owned()))
}

type Done = Result<(), Unrepresentable>;

/// The canonical bytes of a value.
pub(super) fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Unrepresentable> {
    let mut writer = Writer { out: Vec::with_capacity(ROOM), ..Writer::default() };
    value.serialize(&mut writer)?;
    Ok(writer.out)
}

#[derive(Default)]
struct Writer {
    out: Vec<u8>,
    /// Where the entries of the maps that are open lie in `out`, innermost map last.
    entries: Vec<Range<usize>>,
    /// Entries on their way into order.
    ordered: Vec<u8>,
    /// The next byte string is a link.
    link: bool,
}

impl Writer {
    /// Major type and argument, in the shortest form.
    fn head(&mut self, major: u8, argument: u64) {
        let bytes = argument.to_be_bytes();
        let (info, width) = match argument {
            0..=23 => (bytes[7], 0),
            24..=0xff => (24, 1),
            0x100..=0xffff => (25, 2),
            0x1_0000..=0xffff_ffff => (26, 4),
            _ => (27, 8),
        };
        self.out.push(major << 5 | info);
        self.out.extend_from_slice(bytes.get(8 - width..).unwrap_or_default());
    }

    fn text(&mut self, text: &str) {
        self.head(TEXT, text.len() as u64);
        self.out.extend_from_slice(text.as_bytes());
    }

    fn list(&mut self, len: Option<usize>) -> List<'_> {
        let late = len.is_none().then_some(self.out.len());
        self.head(ARRAY, len.unwrap_or(0) as u64);
        List { writer: self, late, count: 0 }
    }

    /// The head of a map is written when its entries are known.
    fn map(&mut self) -> Fields<'_> {
        let (head, base) = (self.out.len(), self.entries.len());
        self.head(MAP, 0);
        Fields { writer: self, head, base, entry: 0 }
    }

    /// Puts the right head in the place of the empty one at `at`.
    fn amend(&mut self, at: usize, major: u8, count: usize) {
        if let (Some(place), 0..=23) = (self.out.get_mut(at), count) {
            *place |= count as u8;
            return;
        }
        let rest = self.out.split_off(at);
        self.head(major, count as u64);
        self.out.extend_from_slice(rest.get(1..).unwrap_or_default());
    }

    /// Ends the map whose head is at `head` and whose entries begin at `base`.
    fn close(&mut self, head: usize, base: usize) {
        let Self { out, entries, ordered, .. } = self;
        let own = entries.get_mut(base..).unwrap_or_default();
        let count = own.len();
        let bytes = |entry: &Range<usize>| out.get(entry.clone()).unwrap_or_default();
        if !own.is_sorted_by(|a, b| bytes(a) < bytes(b)) {
            own.sort_unstable_by(|a, b| bytes(a).cmp(bytes(b)));
            ordered.clear();
            own.iter().for_each(|entry| ordered.extend_from_slice(bytes(entry)));
            out.truncate(head.saturating_add(1));
            out.extend_from_slice(ordered);
        }
        entries.truncate(base);
        self.amend(head, MAP, count);
    }
}

/// A list under way.
struct List<'a> {
    writer: &'a mut Writer,
    /// Where its head is, if the length was not known when it was written.
    late: Option<usize>,
    count: usize,
}

impl List<'_> {
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        self.count = self.count.saturating_add(1);
        value.serialize(&mut *self.writer)
    }

    fn close(self) {
        if let Some(at) = self.late {
            self.writer.amend(at, ARRAY, self.count);
        }
    }
}

/// A map under way.
struct Fields<'a> {
    writer: &'a mut Writer,
    head: usize,
    base: usize,
    /// Where the present entry began.
    entry: usize,
}

impl Fields<'_> {
    fn key<T: Serialize + ?Sized>(&mut self, key: &T) -> Done {
        self.entry = self.writer.out.len();
        key.serialize(&mut *self.writer)?;
        let text = self.writer.out.get(self.entry).is_some_and(|first| first >> 5 == TEXT);
        if text { Ok(()) } else { none("a key that is not text") }
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        value.serialize(&mut *self.writer)?;
        self.writer.entries.push(self.entry..self.writer.out.len());
        Ok(())
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Done {
        self.entry = self.writer.out.len();
        self.writer.text(name);
        self.value(value)
    }

    fn close(self) {
        self.writer.close(self.head, self.base);
    }
}

impl<'a> ser::Serializer for &'a mut Writer {
    type Ok = ();
    type Error = Unrepresentable;
    type SerializeSeq = List<'a>;
    type SerializeTuple = List<'a>;
    type SerializeTupleStruct = List<'a>;
    type SerializeTupleVariant = List<'a>;
    type SerializeMap = Fields<'a>;
    type SerializeStruct = Fields<'a>;
    type SerializeStructVariant = Fields<'a>;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, value: bool) -> Done {
        self.out.push(if value { TRUE } else { FALSE });
        Ok(())
    }

    fn serialize_u64(self, value: u64) -> Done {
        self.head(UNSIGNED, value);
        Ok(())
    }

    fn serialize_i64(self, value: i64) -> Done {
        match u64::try_from(value) {
            Ok(value) => self.head(UNSIGNED, value),
            // RFC 8949 §3.1: the argument of a negative integer n is -1 - n.
            Err(_) => self.head(NEGATIVE, value.unsigned_abs() - 1),
        }
        Ok(())
    }

    fn serialize_u8(self, value: u8) -> Done {
        self.serialize_u64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Done {
        self.serialize_u64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Done {
        self.serialize_u64(value.into())
    }

    fn serialize_i8(self, value: i8) -> Done {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> Done {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> Done {
        self.serialize_i64(value.into())
    }

    fn serialize_f32(self, _: f32) -> Done {
        none("a float")
    }

    fn serialize_f64(self, _: f64) -> Done {
        none("a float")
    }

    fn serialize_char(self, value: char) -> Done {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Done {
        self.text(value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Done {
        let link = std::mem::take(&mut self.link);
        if link {
            self.head(TAG, LINK_TAG);
        }
        self.head(BYTES, value.len().saturating_add(usize::from(link)) as u64);
        // A CID in binary form stands behind a zero byte.
        self.out.extend_from_slice(if link { &[0] } else { &[] });
        self.out.extend_from_slice(value);
        Ok(())
    }

    fn serialize_none(self) -> Done {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Done {
        self.out.push(NULL);
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Done {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Done {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Done {
        self.link = name == LINK;
        value.serialize(&mut *self)?;
        if self.link { none("a link that is no byte string") } else { Ok(()) }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Done {
        self.head(MAP, 1);
        self.text(variant);
        value.serialize(self)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<List<'a>, Unrepresentable> {
        Ok(self.list(len))
    }

    fn serialize_tuple(self, len: usize) -> Result<List<'a>, Unrepresentable> {
        Ok(self.list(Some(len)))
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        len: usize,
    ) -> Result<List<'a>, Unrepresentable> {
        Ok(self.list(Some(len)))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<List<'a>, Unrepresentable> {
        self.head(MAP, 1);
        self.text(variant);
        Ok(self.list(Some(len)))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Fields<'a>, Unrepresentable> {
        Ok(self.map())
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Fields<'a>, Unrepresentable> {
        Ok(self.map())
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Fields<'a>, Unrepresentable> {
        self.head(MAP, 1);
        self.text(variant);
        Ok(self.map())
    }
}

/// Serde has a trait for each kind of list and of struct; they are all written the same way.
macro_rules! compound {
    ($what:ident: $($kind:ident, $method:ident($($name:ident: $ty:ty)?) => $add:ident;)+) => {$(
        impl ser::$kind for $what<'_> {
            type Ok = ();
            type Error = Unrepresentable;

            fn $method<T: Serialize + ?Sized>(&mut self, $($name: $ty,)? value: &T) -> Done {
                self.$add($($name,)? value)
            }

            fn end(self) -> Done {
                self.close();
                Ok(())
            }
        }
    )+};
}

compound! { List:
    SerializeSeq, serialize_element() => item;
    SerializeTuple, serialize_element() => item;
    SerializeTupleStruct, serialize_field() => item;
    SerializeTupleVariant, serialize_field() => item;
}

compound! { Fields:
    SerializeStruct, serialize_field(name: &'static str) => field;
    SerializeStructVariant, serialize_field(name: &'static str) => field;
}

impl ser::SerializeMap for Fields<'_> {
    type Ok = ();
    type Error = Unrepresentable;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Done {
        self.key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        self.value(value)
    }

    fn end(self) -> Done {
        self.close();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
