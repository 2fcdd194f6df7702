//! GF(2^208), the field of the extension's consistency check: GF(2)[X] modulo X^208 + X^9 + X^3 + X + 1.
//!
//! Source: the polynomial is the wire's (dkls23-core 0.6.2). The multiplication is a left-to-right comb with windows of
//! four bits.
//! Always true: an element has 208 bits, and is written as 26 bytes, little-endian.
//! Constant time: columns are secret, weights are public. The multiples that are looked up are of the secret; where
//! they are looked up is four bits of the weight. Nothing branches on either.

use super::matrix::{Column, xor};
use crate::dkls23::vole::FIELD_BYTES;

/// An element; bit k is the coefficient of X^k.
pub(super) type Element = [u64; 4];

/// Bits of an element in its last word.
const LAST: u64 = 0xffff;

/// The first 208 bits of a digest.
pub(super) fn from_digest(digest: &[u8; 32]) -> Element {
    let mut element = Element::default();
    for (to, word) in element.iter_mut().zip(digest.as_chunks().0) {
        *to = u64::from_le_bytes(*word);
    }
    cut(element)
}

/// An element as it is sent.
pub(super) fn to_bytes(element: &Element) -> [u8; FIELD_BYTES] {
    let mut bytes = [0; FIELD_BYTES];
    for (to, from) in bytes.iter_mut().zip(element.iter().flat_map(|word| word.to_le_bytes())) {
        *to = from;
    }
    bytes
}

/// An element as it was sent. Every 26 bytes are one.
pub(super) fn from_bytes(bytes: &[u8; FIELD_BYTES]) -> Element {
    let mut digest = [0; 32];
    digest.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    from_digest(&digest)
}

/// KOS, figure 10: the column's two blocks of 208 OTs, weighted, and its last 208 bits, which blind the sum.
pub(super) fn weigh(column: &Column, weights: &[Element; 2]) -> Element {
    let [c0, c1, c2, c3, c4, c5, c6, c7, c8, c9] = *column;
    let first = cut([c0, c1, c2, c3]);
    let second = cut([c3 >> 16 | c4 << 48, c4 >> 16 | c5 << 48, c5 >> 16 | c6 << 48, c6 >> 16]);
    let blind = cut([c6 >> 32 | c7 << 32, c7 >> 32 | c8 << 32, c8 >> 32 | c9 << 32, c9 >> 32]);
    let [weight1, weight2] = weights;
    xor(&sum_of_products([(&first, weight1), (&second, weight2)]), &blind)
}

/// The sum of secret elements, each times a public one.
fn sum_of_products<const TERMS: usize>(terms: [(&Element, &Element); TERMS]) -> Element {
    let terms = terms.map(|(secret, public)| (multiples(secret), public));
    // 414 bits before the reduction.
    let mut sum = [0; 7];
    for window in (0..16).rev() {
        sum = shifted_by_window(sum);
        for (multiples, [p0, p1, p2, p3]) in &terms {
            #[expect(clippy::indexing_slicing, reason = "four bits number one of sixteen")]
            let multiple = |word: &u64| &multiples[(word >> (4 * window) & 15) as usize];
            let ([a0, a1, a2, a3], [b0, b1, b2, b3]) = (multiple(p0), multiple(p1));
            let ([c0, c1, c2, c3], [d0, d1, d2, d3]) = (multiple(p2), multiple(p3));
            let [s0, s1, s2, s3, s4, s5, s6] = sum;
            sum = [
                s0 ^ a0,
                s1 ^ a1 ^ b0,
                s2 ^ a2 ^ b1 ^ c0,
                s3 ^ a3 ^ b2 ^ c1 ^ d0,
                s4 ^ b3 ^ c2 ^ d1,
                s5 ^ c3 ^ d2,
                s6 ^ d3,
            ];
        }
    }
    reduce(sum)
}

/// The element times every polynomial of degree below 4, by the polynomial's bits.
fn multiples(element: &Element) -> [Element; 16] {
    let mut multiples = [Element::default(); 16];
    let mut power = *element;
    for bit in 0..4 {
        let (known, new) = multiples.split_at_mut(1 << bit);
        for (from, to) in known.iter().zip(new) {
            *to = xor(from, &power);
        }
        let [p0, p1, p2, p3] = power;
        power = [p0 << 1, p1 << 1 | p0 >> 63, p2 << 1 | p1 >> 63, p3 << 1 | p2 >> 63];
    }
    multiples
}

/// Times X^4.
fn shifted_by_window([s0, s1, s2, s3, s4, s5, s6]: [u64; 7]) -> [u64; 7] {
    [
        s0 << 4,
        s1 << 4 | s0 >> 60,
        s2 << 4 | s1 >> 60,
        s3 << 4 | s2 >> 60,
        s4 << 4 | s3 >> 60,
        s5 << 4 | s4 >> 60,
        s6 << 4 | s5 >> 60,
    ]
}

/// X^208 = X^9 + X^3 + X + 1, twice: the first time leaves at most seven bits too many.
fn reduce(sum: [u64; 7]) -> Element {
    let [s0, s1, s2, s3, s4, s5, s6] = sum;
    let high = [s3 >> 16 | s4 << 48, s4 >> 16 | s5 << 48, s5 >> 16 | s6 << 48, s6 >> 16];
    let [h0, h1, h2, h3] = high;
    let times = |by: u32| {
        let back = 64 - by;
        [h0 << by, h1 << by | h0 >> back, h2 << by | h1 >> back, h3 << by | h2 >> back]
    };
    let low = cut([s0, s1, s2, s3]);
    let folded = [high, times(1), times(3), times(9)].iter().fold(low, |sum, term| xor(&sum, term));
    let [f0, f1, f2, f3] = folded;
    let over = f3 >> 16;
    cut([f0 ^ over ^ over << 1 ^ over << 3 ^ over << 9, f1, f2, f3])
}

/// The 208 bits of an element.
fn cut([e0, e1, e2, e3]: Element) -> Element {
    [e0, e1, e2, e3 & LAST]
}

#[cfg(test)]
mod tests {
    use rand_core::RngCore;

    use super::*;
    use crate::dkls23::own::matrix;
    use crate::testing::rng;

    fn product(a: &Element, b: &Element) -> Element {
        sum_of_products([(a, b)])
    }

    fn random(rng: &mut impl RngCore) -> Element {
        cut(std::array::from_fn(|_| rng.next_u64()))
    }

    /// Schoolbook: for each bit of `b`, adds `a`; then `a` times X, reduced at once.
    fn naive(a: &Element, b: &Element) -> Element {
        let bit = |e: &Element, at: usize| e[at / 64] >> (at % 64) & 1 == 1;
        let mut power: Vec<bool> = (0..208).map(|at| bit(a, at)).collect();
        let mut sum = vec![false; 208];
        for at in 0..208 {
            if bit(b, at) {
                sum.iter_mut().zip(&power).for_each(|(to, from)| *to ^= from);
            }
            let over = power.pop().unwrap();
            power.insert(0, false);
            for k in [0, 1, 3, 9] {
                power[k] ^= over;
            }
        }
        let mut element = Element::default();
        for (at, bit) in sum.into_iter().enumerate() {
            element[at / 64] |= u64::from(bit) << (at % 64);
        }
        element
    }

    #[test]
    fn product_is_the_schoolbooks() {
        let mut rng = rng(1);
        let ones = cut([u64::MAX; 4]);
        let top = [0, 0, 0, 0x8000];
        for (a, b) in [(ones, ones), (top, top), (top, [2, 0, 0, 0]), ([1, 0, 0, 0], ones)] {
            assert_eq!(product(&a, &b), naive(&a, &b));
        }
        for _ in 0..200 {
            let (a, b) = (random(&mut rng), random(&mut rng));
            assert_eq!(product(&a, &b), naive(&a, &b));
            assert_eq!(product(&a, &b), product(&b, &a));
        }
    }

    #[test]
    fn the_smallest_power_that_needs_reducing_is_the_polynomials_tail() {
        assert_eq!(product(&[0, 0, 0, 0x8000], &[2, 0, 0, 0]), [0b10_0000_1011, 0, 0, 0]);
    }

    #[test]
    fn weighing_takes_the_column_apart_where_its_bytes_say() {
        let mut rng = rng(2);
        let mut bytes = [0; 78];
        rng.fill_bytes(&mut bytes);
        let weights = [random(&mut rng), random(&mut rng)];
        let parts: Vec<Element> = bytes.as_chunks::<26>().0.iter().map(from_bytes).collect();
        let expected =
            xor(&xor(&naive(&parts[0], &weights[0]), &naive(&parts[1], &weights[1])), &parts[2]);
        assert_eq!(weigh(&matrix::from_bytes(&bytes), &weights), expected);
        assert_eq!(to_bytes(&parts[0]), bytes[..26]);
    }
}
