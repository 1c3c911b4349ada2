//! The DTLS handshake: how it is set up, and what it verifies of the other side.

use std::sync::Arc;

use ring::digest;
use rtc_dtls::{
    config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig, VerifyPeerCertificateFn},
    extension::extension_use_srtp::SrtpProtectionProfile,
};
use rtc_shared::error::Error;

use super::{CertificateHash, DtlsRole, FLIGHT_INTERVAL, SessionConfig};

/// Whether a handshake that has met this error can only fail.
pub(super) fn is_fatal(error: &Error) -> bool {
    matches!(error, Error::ErrNoMatchingCertificateFingerprint | Error::ErrAlertFatalOrClose)
}

/// What a side in this role does in its handshake, and that the other side's certificate must have the hash `expected`.
pub(super) fn handshake(
    config: &SessionConfig,
    role: DtlsRole,
    expected: CertificateHash,
) -> Result<HandshakeConfig, Error> {
    let verify: VerifyPeerCertificateFn = Arc::new(move |certificates: &[Vec<u8>], _: &_| {
        let certificate = certificates.first().ok_or(Error::ErrNonCertificate)?;
        if digest::digest(expected.algorithm, certificate).as_ref() == expected.bytes {
            Ok(())
        } else {
            Err(Error::ErrNoMatchingCertificateFingerprint)
        }
    });
    // Browsers as clients offer SRTP although there is no media, and a server that has none of their profiles refuses them.
    // A client must not ask for it: libwebrtc's servers do not answer that without media.
    let srtp = match role {
        DtlsRole::Client => Vec::new(),
        DtlsRole::Server => {
            vec![SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm, SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80]
        }
    };
    ConfigBuilder::default()
        .with_crypto_provider(config.crypto.clone())
        .with_certificates(vec![config.certificate.clone()])
        .with_srtp_protection_profiles(srtp)
        .with_client_auth(ClientAuthType::RequireAnyClientCert)
        // Certificates are self-signed; what is verified is their hash.
        .with_insecure_skip_verify(true)
        .with_verify_peer_certificate(Some(verify))
        .with_extended_master_secret(ExtendedMasterSecretType::Require)
        .with_flight_interval(FLIGHT_INTERVAL)
        .build(role == DtlsRole::Client, None)
}
