//! The extension's bit matrix: 256 columns of 624 bits, its transpose, and how a column is written.
//!
//! Always true: bit j of a column or row is bit j mod 64 of its word j / 64, and bit j mod 8 of its byte j / 8; the 16
//! bits of a column's last word that are not the column's are zero.
//! Constant time: the matrix is secret. Transposing moves all bits, whatever they are, by shifts and masks that
//! depend on positions alone.

use k256::elliptic_curve::subtle::Choice;
use zeroize::Zeroizing;

use crate::dkls23::vole::{BASE_OTS, COLUMN_BYTES, EXTENDED_OTS};

/// One column: a choice for each of the 416 OTs, and 208 bits for the consistency check.
pub(super) type Column = [u64; COLUMN_BYTES.div_ceil(8)];
/// One row of the transpose: a bit of each column.
pub(super) type Row = [u64; BASE_OTS / 64];
/// The columns, where they are wiped and not moved.
pub(super) type Columns = Box<Zeroizing<[Column; BASE_OTS]>>;
/// The rows, likewise.
pub(super) type Rows = Box<Zeroizing<[Row; EXTENDED_OTS]>>;

/// Columns of zeros.
pub(super) fn columns() -> Columns {
    Box::new(Zeroizing::new([[0; _]; _]))
}

/// Clears the bits of the last word that are not the column's.
pub(super) fn cut(mut column: Column) -> Column {
    if let Some(last) = column.last_mut() {
        *last &= u64::MAX >> (8 * (size_of::<Column>() - COLUMN_BYTES));
    }
    column
}

/// A column as it is sent.
pub(super) fn to_bytes(column: &Column) -> [u8; COLUMN_BYTES] {
    let mut bytes = [0; COLUMN_BYTES];
    for (to, word) in bytes.chunks_mut(8).zip(column) {
        for (to, from) in to.iter_mut().zip(word.to_le_bytes()) {
            *to = from;
        }
    }
    bytes
}

/// A column as it was sent. Every 78 bytes are one.
pub(super) fn from_bytes(bytes: &[u8; COLUMN_BYTES]) -> Column {
    let mut column = Column::default();
    for (to, chunk) in column.iter_mut().zip(bytes.chunks(8)) {
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(chunk) {
            *to = *from;
        }
        *to = u64::from_le_bytes(word);
    }
    column
}

/// `left ⊕ right`, word by word.
pub(super) fn xor<const WORDS: usize>(left: &[u64; WORDS], right: &[u64; WORDS]) -> [u64; WORDS] {
    let mut sum = *left;
    for (to, from) in sum.iter_mut().zip(right) {
        *to ^= from;
    }
    sum
}

/// `words` if the bit is 1, zeros if it is 0.
pub(super) fn times<const WORDS: usize>(bit: Choice, words: &[u64; WORDS]) -> [u64; WORDS] {
    let mask = u64::from(bit.unwrap_u8()).wrapping_neg();
    words.map(|word| word & mask)
}

/// The bits of the words, in order.
pub(super) fn bits(words: &[u64]) -> impl Iterator<Item = Choice> {
    words.iter().flat_map(|word| (0..64).map(move |at| Choice::from((word >> at) as u8 & 1)))
}

/// The first 416 bits of each column, transposed.
pub(super) fn transpose(columns: &[Column; BASE_OTS]) -> Rows {
    let mut rows: Rows = Box::new(Zeroizing::new([[0; _]; _]));
    let mut block = Zeroizing::new([0; 64]);
    for (across, columns) in columns.chunks_exact(64).enumerate() {
        for (down, rows) in rows.chunks_mut(64).enumerate() {
            let words = columns.iter().filter_map(|column| column.get(down));
            block.iter_mut().zip(words).for_each(|(to, from)| *to = *from);
            transpose_block(&mut block);
            let words = rows.iter_mut().filter_map(|row| row.get_mut(across));
            words.zip(block.iter()).for_each(|(to, from)| *to = *from);
        }
    }
    rows
}

/// A 64 × 64 block: swaps its quarters, then the quarters of those, and so on.
fn transpose_block(block: &mut [u64; 64]) {
    let mut mask = u64::MAX;
    for width in [32, 16, 8, 4, 2, 1] {
        mask ^= mask << width;
        for pair in block.chunks_exact_mut(2 * width) {
            let (upper, lower) = pair.split_at_mut(width);
            for (upper, lower) in upper.iter_mut().zip(lower) {
                let differs = ((*upper >> width) ^ *lower) & mask;
                *upper ^= differs << width;
                *lower ^= differs;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand_core::RngCore;

    use super::*;
    use crate::testing::rng;

    fn bit(words: &[u64], at: usize) -> u64 {
        words[at / 64] >> (at % 64) & 1
    }

    #[test]
    fn transpose_moves_every_bit_to_its_mirror_place() {
        let mut rng = rng(1);
        let mut matrix = columns();
        matrix.iter_mut().flatten().for_each(|word| *word = rng.next_u64());
        let rows = transpose(&matrix);
        for (i, column) in matrix.iter().enumerate() {
            for (j, row) in rows.iter().enumerate() {
                assert_eq!(bit(row, i), bit(column, j), "column {i}, row {j}");
            }
        }
    }

    #[test]
    fn column_survives_the_wire_and_its_bits_are_the_bytes_bits() {
        let mut bytes = [0; COLUMN_BYTES];
        rng(2).fill_bytes(&mut bytes);
        let column = from_bytes(&bytes);
        assert_eq!(to_bytes(&column), bytes);
        assert_eq!(cut(column), column);
        assert_ne!(cut([u64::MAX; 10]), [u64::MAX; 10], "16 bits are not the column's");
        for (at, bit) in bits(&column).take(8 * COLUMN_BYTES).enumerate() {
            assert_eq!(bit.unwrap_u8(), bytes[at / 8] >> (at % 8) & 1, "bit {at}");
        }
    }
}
