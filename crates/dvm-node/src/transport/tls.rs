//! TLS 1.3 with pinned keys: the node key, its certificate, and who is believed.
//!
//! Source: RFC 8446; RFC 8410 for Ed25519 keys in certificates.
//! Always true: a connection exists only between two ends that each signed the handshake with the key
//! behind the certificate they showed, and whose key is pinned here. The key is compared as the parser
//! that checks the signature read it, so no second parser can disagree. Nothing else of a certificate
//! counts: not its names, dates or issuer. Sessions are never resumed, so each connection is judged by
//! the pins of today.
//!
//! Not here: what a peer may say. The node key proves a network end and nothing more.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, PublicKeyData};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error,
    PeerIncompatible, ServerConfig, SignatureScheme,
};

use super::TransportFault;

/// The protocol's name in ALPN; both ends insist on it.
pub const ALPN: &[u8] = b"dvm/1";
/// Longest key file read: an Ed25519 key in PEM has about 170 bytes.
const MAX_KEY_FILE: u64 = 4096;
/// What precedes the 32 key bytes in an Ed25519 SubjectPublicKeyInfo (RFC 8410, section 4).
const ED25519_SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

/// The node's TLS key (Ed25519). Its public half is what other nodes pin.
pub struct NodeKey(KeyPair);

impl NodeKey {
    /// Draws a new key.
    ///
    /// # Errors
    /// [`TransportFault::Key`] if the system has no randomness.
    pub fn generate() -> Result<Self, TransportFault> {
        Ok(Self(KeyPair::generate_for(&PKCS_ED25519).map_err(|_| TransportFault::Key)?))
    }

    /// Reads the key from a PEM file, or draws one and writes it there, readable by its owner alone.
    ///
    /// # Errors
    /// [`TransportFault::Key`] if the file holds no Ed25519 key; an I/O fault.
    pub fn load_or_create(path: &Path) -> Result<Self, TransportFault> {
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(mut file) => {
                let key = Self::generate()?;
                file.write_all(key.0.serialize_pem().as_bytes())
                    .and_then(|()| file.sync_all())
                    .map_err(TransportFault::Io)?;
                Ok(key)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let mut pem = String::new();
                let file = std::fs::File::open(path).map_err(TransportFault::Io)?;
                file.take(MAX_KEY_FILE).read_to_string(&mut pem).map_err(TransportFault::Io)?;
                let key = KeyPair::from_pkcs8_pem_and_sign_algo(&pem, &PKCS_ED25519);
                Ok(Self(key.map_err(|_| TransportFault::Key)?))
            }
            Err(error) => Err(TransportFault::Io(error)),
        }
    }

    /// The public key: what the roster pins.
    ///
    /// # Errors
    /// [`TransportFault::Key`] if the key is not 32 bytes long.
    pub fn public(&self) -> Result<[u8; 32], TransportFault> {
        self.0.der_bytes().try_into().map_err(|_| TransportFault::Key)
    }

    /// The key as PEM, for tests that restart a node.
    #[cfg(test)]
    pub(super) fn pem(&self) -> String {
        self.0.serialize_pem()
    }

    fn certificate(&self) -> Result<CertificateDer<'static>, TransportFault> {
        let params = CertificateParams::default().self_signed(&self.0);
        Ok(params.map_err(|_| TransportFault::Key)?.into())
    }

    fn private(&self) -> PrivatePkcs8KeyDer<'static> {
        self.0.serialize_der().into()
    }
}

/// The Ed25519 key of a certificate; any other kind of key is refused.
pub(super) fn certificate_key(certificate: &CertificateDer<'_>) -> Result<[u8; 32], Error> {
    let spki = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
    spki.strip_prefix(&ED25519_SPKI_PREFIX)
        .and_then(|key| key.try_into().ok())
        .ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))
}

/// The keys a connection's other end may have: one for an outgoing connection, the roster's for incoming.
#[derive(Clone)]
struct Pins {
    keys: Vec<[u8; 32]>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl fmt::Debug for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pins").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

impl Pins {
    fn new(keys: Vec<[u8; 32]>) -> Self {
        Self { keys, algorithms: ring::default_provider().signature_verification_algorithms }
    }

    fn check(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<(), Error> {
        let key = certificate_key(certificate)?;
        if intermediates.is_empty() && self.keys.contains(&key) {
            Ok(())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn check_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }
}

fn no_tls12() -> Error {
    PeerIncompatible::Tls12NotOfferedOrEnabled.into()
}

impl ServerCertVerifier for Pins {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(certificate, intermediates).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl ClientCertVerifier for Pins {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(certificate, intermediates).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// How to call the one peer with this key.
pub(super) fn client_config(
    own: &NodeKey,
    peer: [u8; 32],
) -> Result<Arc<ClientConfig>, TransportFault> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TransportFault::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pins::new(vec![peer])))
        .with_client_auth_cert(vec![own.certificate()?], own.private().into())
        .map_err(TransportFault::Tls)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// How to answer a call from any of the peers with these keys.
pub(super) fn server_config(
    own: &NodeKey,
    peers: Vec<[u8; 32]>,
) -> Result<Arc<ServerConfig>, TransportFault> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TransportFault::Tls)?
        .with_client_cert_verifier(Arc::new(Pins::new(peers)))
        .with_single_cert(vec![own.certificate()?], own.private().into())
        .map_err(TransportFault::Tls)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
