//! The two messages of a run.
//!
//! Always true: a message has one length and its parts are in the order of its fields; every scalar in it is below the
//! group order. Bytes that are not so are `None`, before anything is computed from them.
//! Constant time: what is here is for the peer to know.

use k256::elliptic_curve::PrimeField;
use k256::{FieldBytes, Scalar};

use super::transfer::{Payloads, payloads};
use crate::dkls23::vole::{
    BASE_OTS, COLUMN_BYTES, EXTENDED_OTS, FIELD_BYTES, PAYLOADS, RECEIVE_BYTES, SEND_BYTES,
};

/// The receiver's message.
pub(super) struct FromReceiver {
    /// Makes the session id of the extension.
    pub(super) nonce: [u8; 32],
    /// The columns u_i.
    pub(super) u: Box<[[u8; COLUMN_BYTES]; BASE_OTS]>,
    /// The consistency check's x.
    pub(super) x: [u8; FIELD_BYTES],
    /// The consistency check's t_i.
    pub(super) t: Box<[[u8; FIELD_BYTES]; BASE_OTS]>,
}

impl FromReceiver {
    /// A message that says nothing yet, under a nonce.
    pub(super) fn new(nonce: [u8; 32]) -> Self {
        Self { nonce, u: Box::new([[0; _]; _]), x: [0; _], t: Box::new([[0; _]; _]) }
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (nonce, rest) = bytes.split_first_chunk()?;
        let mut read = Self::new(*nonce);
        let rest = take(rest, read.u.as_flattened_mut())?;
        let rest = take(rest, &mut read.x)?;
        take(rest, read.t.as_flattened_mut())?.is_empty().then_some(read)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(RECEIVE_BYTES);
        for part in [&self.nonce, self.u.as_flattened(), &self.x, self.t.as_flattened()] {
            bytes.extend_from_slice(part);
        }
        bytes
    }
}

/// The sender's message.
pub(super) struct FromSender {
    /// The transfer's corrections by payload and OT, each a scalar.
    pub(super) tau: Box<[[[u8; 32]; EXTENDED_OTS]; PAYLOADS]>,
    /// Makes the pads fresh.
    pub(super) salt: [u8; 32],
    /// The multiplication check's hash of r.
    pub(super) check: [u8; 32],
    /// The multiplication check's u.
    pub(super) u: [Scalar; 2],
    /// γ: how far the inputs are from the pads ã.
    pub(super) gamma: [Scalar; 2],
}

impl FromSender {
    /// A message that says nothing yet, under a salt.
    pub(super) fn new(salt: [u8; 32]) -> Self {
        let scalars = [Scalar::ZERO; 2];
        Self { tau: Box::new([[[0; _]; _]; _]), salt, check: [0; _], u: scalars, gamma: scalars }
    }

    /// The message, and its `tau` as scalars.
    pub(super) fn read(bytes: &[u8]) -> Option<(Self, Payloads)> {
        let mut read = Self::new([0; _]);
        let rest = take(bytes, read.tau.as_flattened_mut().as_flattened_mut())?;
        let rest = take(rest, &mut read.salt)?;
        let rest = take(rest, &mut read.check)?;
        let rest: &[u8; 4 * 32] = rest.try_into().ok()?;
        let [u0, u1, gamma0, gamma1] = rest.as_chunks().0 else { return None };
        (read.u, read.gamma) = ([scalar(u0)?, scalar(u1)?], [scalar(gamma0)?, scalar(gamma1)?]);
        let mut tau = payloads();
        for (to, bytes) in tau.as_flattened_mut().iter_mut().zip(read.tau.as_flattened()) {
            *to = scalar(bytes)?;
        }
        Some((read, tau))
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SEND_BYTES);
        bytes.extend_from_slice(self.tau.as_flattened().as_flattened());
        bytes.extend_from_slice(&self.salt);
        bytes.extend_from_slice(&self.check);
        for scalar in self.u.iter().chain(&self.gamma) {
            bytes.extend_from_slice(&scalar.to_bytes());
        }
        bytes
    }
}

/// A scalar in its only encoding.
pub(super) fn scalar(bytes: &[u8; 32]) -> Option<Scalar> {
    Scalar::from_repr(FieldBytes::from(*bytes)).into()
}

/// Parts of a message that is read one after the other.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    /// The next bytes.
    pub(super) fn bytes<const COUNT: usize>(&mut self) -> Option<&'a [u8; COUNT]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(bytes)
    }

    /// Nothing is left.
    pub(super) fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// Fills `part`; returns what is left.
pub(super) fn take<'a>(bytes: &'a [u8], part: &mut [u8]) -> Option<&'a [u8]> {
    let (own, rest) = bytes.split_at_checked(part.len())?;
    part.copy_from_slice(own);
    Some(rest)
}
