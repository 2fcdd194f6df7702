//! One byte layout for what this level stores: big-endian integers and length-prefixed fields, in a fixed order.
//!
//! Always true: a value has one encoding. A reader checks each length against the bytes that are there and
//! against the field's own bound before it takes anything, and [`Reader::end`] refuses what is left over.
//! Not here: artifacts (those are canonical DAG-CBOR, elsewhere).

/// Writes fields in order.
#[derive(Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// Starts with a domain tag, which a reader must ask for.
    pub fn new(domain: &str) -> Self {
        Self(Vec::new()).field(domain.as_bytes())
    }

    /// A domain tag and these fields, in a buffer that has their size from the start. One that grows would leave what
    /// was in it behind: a secret's bytes, where nothing wipes them.
    pub fn of(domain: &str, fields: &[&[u8]]) -> Self {
        let bytes = fields.iter().fold(4 + domain.len(), |sum, field| sum + 4 + field.len());
        let start = Self(Vec::with_capacity(bytes)).field(domain.as_bytes());
        fields.iter().fold(start, |writer, field| writer.field(field))
    }

    /// Appends a length-prefixed field.
    #[must_use]
    pub fn field(mut self, bytes: &[u8]) -> Self {
        // A field never reaches 4 GiB: every caller's input is bounded far below.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends a number.
    #[must_use]
    pub fn number(mut self, number: u16) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// The bytes written.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Reads fields in order; `None` means that the bytes are not what was asked for.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Starts by checking the domain tag.
    pub fn new(bytes: &'a [u8], domain: &str) -> Option<Self> {
        let mut reader = Self(bytes);
        (reader.field(domain.len())? == domain.as_bytes()).then_some(reader)
    }

    /// Takes a length-prefixed field of at most `max` bytes.
    pub fn field(&mut self, max: usize) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        if length > max {
            return None;
        }
        let (field, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(field)
    }

    /// Takes a number.
    pub fn number(&mut self) -> Option<u16> {
        let (number, rest) = self.0.split_first_chunk::<2>()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*number))
    }

    /// Takes a length-prefixed name.
    pub fn text(&mut self, max: usize) -> Option<&'a str> {
        std::str::from_utf8(self.field(max)?).ok()
    }

    /// Refuses bytes that nobody asked for.
    pub fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_are_written_at_once_are_the_same_and_never_move() {
        let fields: [&[u8]; 3] = [b"a", &[7; 5_000], b""];
        let bytes = Writer::of("test", &fields).finish();
        let one_by_one =
            fields.iter().fold(Writer::new("test"), |writer, field| writer.field(field));
        assert_eq!(bytes, one_by_one.finish());
        assert_eq!(bytes.capacity(), bytes.len(), "a buffer that grew has room left");
    }

    #[test]
    fn reader_takes_back_what_the_writer_wrote_and_nothing_else() {
        let bytes = Writer::new("test").field(b"abc").number(7).finish();
        let read = |bytes: &[u8], domain: &str, max: usize| {
            let mut reader = Reader::new(bytes, domain)?;
            let field = reader.field(max)?.to_vec();
            let number = reader.number()?;
            reader.end()?;
            Some((field, number))
        };
        assert_eq!(read(&bytes, "test", 3), Some((b"abc".to_vec(), 7)));
        assert_eq!(read(&bytes, "tesT", 3), None);
        assert_eq!(read(&bytes, "test", 2), None, "longer than the field's bound");
        assert_eq!(read(&bytes[..bytes.len() - 1], "test", 3), None, "cut short");
        assert_eq!(read(&[&bytes[..], b"x"].concat(), "test", 3), None, "left over");
    }
}
