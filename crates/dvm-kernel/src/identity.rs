//! This kernel's own two keys: one signs its statements, one receives what peers' kernels seal to it.
//!
//! Always true: both are drawn here, once, and sealed into the vault before their public halves are shown.

use dvm_core::authority::NodePassport;
use dvm_core::{B32, PublicKey, ReasonCode, Signer};
use ed25519_dalek::SigningKey;
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use crate::seal::SealingKey;
use crate::stop::{Stop, ensure};
use crate::store::{self, Draft, Kind};
use crate::vault::Vault;

const ID: &[u8] = b"own";

/// The keys. Ed25519's key wipes itself on drop.
pub(crate) struct Identity {
    signing: SigningKey,
    sealing: SealingKey,
}

impl Identity {
    pub(crate) fn load_or_create(
        vault: &mut Vault,
        mut rng: &mut (dyn CryptoRngCore + Send),
    ) -> Result<Self, Stop> {
        if let Some(bytes) = store::read(vault, Kind::OwnKeys, ID)? {
            return Self::from_bytes(&bytes)
                .ok_or_else(|| Stop::internal("own keys do not decode"));
        }
        let own = Self {
            signing: SigningKey::generate(&mut rng),
            sealing: SealingKey::generate(&mut rng),
        };
        let mut bytes = Zeroizing::new(Vec::with_capacity(64));
        bytes.extend_from_slice(own.signing.as_bytes());
        bytes.extend_from_slice(own.sealing.to_vault().as_slice());
        let mut draft = Draft::new(vault);
        draft.put_secret(Kind::OwnKeys, ID, bytes);
        let clock_high_ms = vault.clock_high_ms();
        draft.commit(vault, clock_high_ms)?;
        Ok(own)
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (signing, sealing) = bytes.split_at_checked(32)?;
        let signing = SigningKey::from_bytes(signing.try_into().ok()?);
        let sealing = SealingKey::from_vault(sealing.try_into().ok()?).ok()?;
        Some(Self { signing, sealing })
    }

    pub(crate) fn signer(&self) -> &SigningKey {
        &self.signing
    }

    pub(crate) fn public_key(&self) -> PublicKey {
        self.signing.public_key()
    }

    pub(crate) fn sealing(&self) -> &SealingKey {
        &self.sealing
    }

    pub(crate) fn sealing_key(&self) -> B32 {
        B32(self.sealing.public())
    }

    /// Refuses a passport of another kernel. To one whose passport had another sealing key, all that honest peers seal
    /// to it would look like cheating.
    pub(crate) fn refuse_unless_named_in(&self, passport: &NodePassport) -> Result<(), Stop> {
        let ours =
            passport.kernel_key == self.public_key() && passport.sealing_key == self.sealing_key();
        ensure(ours, ReasonCode::BindingMismatch, "the passport does not name this kernel's keys")
    }
}
