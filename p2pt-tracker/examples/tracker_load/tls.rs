//! TLS for trackers and clients, with a certificate made for this run.

use std::{fs, io, path::PathBuf, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    },
};

/// A certificate for `localhost` and its key, in files of a directory that is removed with this.
pub(crate) struct Identity {
    directory: PathBuf,
    connector: TlsConnector,
}

impl Identity {
    pub(crate) fn generate() -> io::Result<Self> {
        let directory = std::env::temp_dir().join(format!("tracker_load-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        let made = rcgen::generate_simple_self_signed(["localhost".into()]).map_err(io::Error::other)?;
        for (name, label, der) in [
            ("cert", "CERTIFICATE", made.cert.der().to_vec()),
            ("key", "PRIVATE KEY", made.signing_key.serialize_der()),
        ] {
            fs::write(directory.join(name).with_extension("pem"), pem(label, &der))?;
            fs::write(directory.join(name).with_extension("der"), der)?;
        }
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).map_err(io::Error::other)?;
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Ok(Self { directory, connector: TlsConnector::from(Arc::new(config)) })
    }

    /// The path of `cert` or `key`, as `.der` or `.pem`.
    pub(crate) fn file(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    pub(crate) fn connector(&self) -> TlsConnector {
        self.connector.clone()
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        // It is a directory of temporary files; at worst it stays.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Lines of 64 characters, as PEM has them.
fn pem(label: &str, der: &[u8]) -> String {
    let lines: Vec<String> = der.chunks(48).map(|line| STANDARD.encode(line)).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// What a tracker needs to accept TLS, from two files.
pub(crate) fn acceptor(cert: &str, key: &str) -> io::Result<TlsAcceptor> {
    let cert = CertificateDer::from(fs::read(cert)?);
    let key = PrivatePkcs8KeyDer::from(fs::read(key)?);
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert], key.into());
    Ok(TlsAcceptor::from(Arc::new(config.map_err(io::Error::other)?)))
}
