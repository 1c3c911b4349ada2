//! TLS on a listener's sockets.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    Error as RustlsError, ServerConfig as RustlsConfig,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// A certificate with its key, for [listeners](super::TrackerListener::tls). Clones share them, so that one call gives
/// all listeners new ones: connections that are open keep theirs, later ones get the new.
///
/// The certificate file has the server's own certificate first and then those of the authorities between it and the root
/// (`fullchain.pem` of most tools), in PEM; the key file has an unencrypted private key (PKCS #8, or what begins with
/// `BEGIN RSA PRIVATE KEY` or `BEGIN EC PRIVATE KEY`).
#[derive(Debug, Clone)]
pub struct ServerTls {
    current: Arc<RwLock<Arc<RustlsConfig>>>,
}

/// Why a certificate and its key cannot be used. Each says in words what to change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerTlsError {
    /// A file cannot be read.
    #[error("{} cannot be read: {error}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// There is no certificate.
    #[error(
        "there is no certificate in the certificate file: it needs `-----BEGIN CERTIFICATE-----`, the server's own first"
    )]
    NoCertificate,
    /// What should be a certificate is none.
    #[error("the certificate file cannot be understood: {0}")]
    BadCertificate(String),
    /// There is no key.
    #[error("there is no private key in the key file: it needs `-----BEGIN PRIVATE KEY-----`")]
    NoKey,
    /// The key has a pass phrase.
    #[error("the private key is encrypted: decrypt it first, for instance with `openssl pkey -in KEY -out PLAIN_KEY`")]
    EncryptedKey,
    /// What should be a key is none, or of a kind that is not served.
    #[error("the private key cannot be used: {0} (RSA, ECDSA on P-256 or P-384, and Ed25519 can be)")]
    BadKey(String),
    /// The key belongs to another certificate.
    #[error("the private key does not belong to the first certificate in the certificate file")]
    KeyMismatch,
}

impl ServerTls {
    /// Takes the certificate and the key from the contents of PEM files.
    ///
    /// # Errors
    ///
    /// If they cannot be used, in words for the operator who made them.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, ServerTlsError> {
        let config = config(certificates, key)?;
        Ok(Self { current: Arc::new(RwLock::new(Arc::new(config))) })
    }

    /// Reads the certificate and the key from PEM files. It blocks for as long as that takes.
    ///
    /// # Errors
    ///
    /// If they cannot be read or used.
    pub fn from_files(certificates: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, ServerTlsError> {
        Self::from_pem(&read(certificates.as_ref())?, &read(key.as_ref())?)
    }

    /// Gives all further connections another certificate and key.
    ///
    /// # Errors
    ///
    /// If they cannot be used; the old ones are kept then.
    pub fn replace_with_pem(&self, certificates: &[u8], key: &[u8]) -> Result<(), ServerTlsError> {
        let config = config(certificates, key)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        Ok(())
    }

    /// Gives all further connections the certificate and key that are in these PEM files now, for instance after they
    /// were renewed. It blocks for as long as reading them takes.
    ///
    /// # Errors
    ///
    /// If they cannot be read or used; the old ones are kept then.
    pub fn replace_with_files(
        &self,
        certificates: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<(), ServerTlsError> {
        self.replace_with_pem(&read(certificates.as_ref())?, &read(key.as_ref())?)
    }

    /// A TLS connection on this stream, with the certificate of now.
    pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<TlsStream<S>> {
        let current = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        TlsAcceptor::from(current).accept(stream).await
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ServerTlsError> {
    fs::read(path).map_err(|error| ServerTlsError::Read { path: path.to_owned(), error })
}

fn config(certificates: &[u8], key: &[u8]) -> Result<RustlsConfig, ServerTlsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificates)
        .collect::<Result<_, _>>()
        .map_err(|error| ServerTlsError::BadCertificate(error.to_string()))?;
    if chain.is_empty() {
        return Err(ServerTlsError::NoCertificate);
    }
    let key = match PrivateKeyDer::from_pem_slice(key) {
        // Of the old form, encryption is said by a line within.
        Ok(_) if contains(key, b"Proc-Type: 4,ENCRYPTED") => return Err(ServerTlsError::EncryptedKey),
        Ok(key) => key,
        Err(_) if contains(key, b"ENCRYPTED") => return Err(ServerTlsError::EncryptedKey),
        Err(pem::Error::NoItemsFound) => return Err(ServerTlsError::NoKey),
        Err(error) => return Err(ServerTlsError::BadKey(error.to_string())),
    };
    let builder = RustlsConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ServerTlsError::BadKey(error.to_string()))?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key).map_err(|error| match error {
        RustlsError::InconsistentKeys(_) => ServerTlsError::KeyMismatch,
        RustlsError::InvalidCertificate(error) => ServerTlsError::BadCertificate(error.to_string()),
        error => ServerTlsError::BadKey(error.to_string()),
    })?;
    // WebSockets are of HTTP/1.1, so that a client that could speak HTTP/2 too has to know.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
