//! Sessions with what is no session of this library.

use rtc_dtls::{
    config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType},
    extension::extension_use_srtp::SrtpProtectionProfile,
};

use bytes::BufMut as _;

use super::*;

fn config() -> SessionConfig {
    let crypto = rtc_crypto::default_provider().expect("a provider");
    let certificate =
        Certificate::generate_self_signed(vec!["test".to_owned()], crypto.crypto()).expect("a certificate");
    SessionConfig { crypto, certificate, window: 65_536, max_frame_bytes: 65_536 }
}

fn hash(config: &SessionConfig) -> CertificateHash {
    let digest = digest::digest(&digest::SHA256, config.certificate.certificate[0].as_ref());
    CertificateHash { algorithm: &digest::SHA256, bytes: digest.as_ref().to_vec() }
}

/// A DTLS endpoint that has these SRTP profiles.
fn bare(config: &SessionConfig, role: DtlsRole, srtp: &[SrtpProtectionProfile], now: Instant) -> Dtls {
    let is_client = role == DtlsRole::Client;
    let handshake = ConfigBuilder::default()
        .with_crypto_provider(config.crypto.clone())
        .with_certificates(vec![config.certificate.clone()])
        .with_srtp_protection_profiles(srtp.to_vec())
        .with_client_auth(ClientAuthType::RequireAnyClientCert)
        .with_insecure_skip_verify(true)
        .with_extended_master_secret(ExtendedMasterSecretType::Require)
        .build(is_client, None)
        .expect("a good configuration");
    let handshake = Arc::new(handshake);
    let local = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let mut dtls = Dtls::new(local, TransportProtocol::UDP, (!is_client).then(|| handshake.clone()));
    if is_client {
        dtls.connect(now, REMOTE, handshake, None).expect("a handshake begins");
    }
    dtls
}

/// Whether a session in this role becomes secure with a counterpart that has these SRTP profiles.
fn becomes_secure(role: DtlsRole, srtp: &[SrtpProtectionProfile]) -> bool {
    let now = tokio::time::Instant::now().into_std();
    let (ours, theirs) = (config(), config());
    let other_role = if role == DtlsRole::Client { DtlsRole::Server } else { DtlsRole::Client };
    let mut other = bare(&theirs, other_role, srtp, now);
    let mut session = Session::new(&ours, 0, role, Opening::Adopt, hash(&theirs)).expect("a session");
    session.begin(now, Duration::ZERO);
    // A handshake has six flights.
    for _ in 0..12 {
        while let Some(record) = session.poll_transmit(now) {
            let _ = other.read(now, REMOTE, None, record);
        }
        while let Some(record) = other.poll_transmit() {
            session.handle_datagram(now, record.message);
        }
    }
    session.poll_event() == Some(SessionEvent::Secure)
}

#[test]
fn a_server_without_srtp_is_asked_for_none() {
    assert!(becomes_secure(DtlsRole::Client, &[]));
    assert!(becomes_secure(DtlsRole::Client, &[SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm]));
}

#[test]
fn clients_that_offer_srtp_or_none_are_taken() {
    assert!(becomes_secure(DtlsRole::Server, &[]));
    assert!(becomes_secure(DtlsRole::Server, &[SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm]));
    assert!(becomes_secure(DtlsRole::Server, &[SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80]));
}

/// Two sessions whose channel is open, that of the DTLS client first.
fn open(now: Instant) -> [Session; 2] {
    let configs = [config(), config()];
    let mut pair = [0, 1].map(|side| {
        let role = if side == 0 { DtlsRole::Client } else { DtlsRole::Server };
        let opening = if side == 0 { Opening::Open("label".to_owned()) } else { Opening::Adopt };
        Session::new(&configs[side], 0, role, opening, hash(&configs[1 - side])).expect("a session")
    });
    pair[0].begin(now, Duration::ZERO);
    for _ in 0..24 {
        for from in 0..2 {
            while let Some(record) = pair[from].poll_transmit(now) {
                pair[1 - from].handle_datagram(now, record);
            }
        }
    }
    assert!(pair.iter().all(|session| session.phase == Phase::Open));
    pair
}

#[test]
fn a_message_that_waits_keeps_nothing_of_its_packet() {
    let now = tokio::time::Instant::now().into_std();
    let [mut other, mut session] = open(now);
    assert_eq!(other.receive(now), None);
    while other.poll_transmit(now).is_some() {}
    let (header, _) = other.acknowledged().expect("an acknowledgement");
    let (_, tsn) = session.acknowledged().expect("an acknowledgement");
    let data = |tsn: u32, sequence: u16, bytes: usize| {
        let mut chunk = BytesMut::new();
        chunk.put_slice(&[0, 3]);
        chunk.put_u16(16 + bytes as u16);
        chunk.put_u32(tsn);
        chunk.put_u16(0);
        chunk.put_u16(sequence);
        chunk.put_u32(53);
        chunk.resize((16 + bytes).next_multiple_of(4), 0);
        chunk
    };
    // The first waits for another, the second has come before.
    let packet = [&header[..], &data(tsn + 1, 2, 1), &data(tsn, 0, 15_000)].concat();
    let packet = guard::with_checksum(BytesMut::from(&packet[..])).freeze();
    session.handle_packet(now, packet.clone());
    assert!(packet.is_unique());
    let missing = [&header[..], &data(tsn + 2, 1, 2)].concat();
    session.handle_packet(now, guard::with_checksum(BytesMut::from(&missing[..])).freeze());
    let received = std::iter::from_fn(|| session.receive(now)).map(|frame| frame.len());
    assert_eq!(received.collect::<Vec<_>>(), [2, 1]);
}
