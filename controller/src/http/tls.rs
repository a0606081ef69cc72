//! TLS for a server: its certificate, which may change, and connections that are ready to be served.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::serve::Listener;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long a client may take to agree on keys.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How many clients may be at that at the same time; others wait to be taken.
const HANDSHAKES: usize = 32;
/// How long files are believed to be as they were.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// The names in a certificate that is made here. Nobody can verify it, whatever it says.
const NAMES: [&str; 2] = ["ssm-ready", "localhost"];

/// The certificate and key that a server shows.
pub struct Certificate {
    /// Where `tls.crt` and `tls.key` are; none: made in memory.
    folder: Option<PathBuf>,
    shown: Mutex<Shown>,
}

struct Shown {
    key: Arc<CertifiedKey>,
    /// What was in the files.
    files: [Vec<u8>; 2],
    looked: Instant,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Certificate {
    /// Reads `tls.crt` and `tls.key` of a folder, or makes a certificate that is signed by itself.
    ///
    /// # Errors
    /// The files cannot be read, or are no certificate and its key.
    pub fn new(folder: Option<PathBuf>) -> anyhow::Result<Self> {
        let (files, key) = match &folder {
            Some(folder) => {
                let files = read(folder)?;
                let key = certified(&files).with_context(|| format!("tls.crt and tls.key in {}", folder.display()))?;
                (files, key)
            }
            None => (Default::default(), self_signed()?),
        };
        Ok(Self { folder, shown: Mutex::new(Shown { key: Arc::new(key), files, looked: Instant::now() }) })
    }

    /// What is to be shown now. Files that have become bad change nothing.
    fn current(&self) -> Arc<CertifiedKey> {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = &self.folder
            && shown.looked.elapsed() >= LOOK_AGAIN
        {
            shown.looked = Instant::now();
            let renewed = read(folder).and_then(|files| {
                let changed = files != shown.files;
                Ok(if changed { Some((certified(&files)?, files)) } else { None })
            });
            match renewed {
                Ok(Some((key, files))) => {
                    tracing::info!(folder = %folder.display(), "the certificate was renewed");
                    (shown.key, shown.files) = (Arc::new(key), files);
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "the certificate could not be renewed; the one before stays"
                    );
                }
            }
        }
        Arc::clone(&shown.key)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

fn read(folder: &Path) -> anyhow::Result<[Vec<u8>; 2]> {
    let file = |name: &str| {
        let path = folder.join(name);
        std::fs::read(&path).with_context(|| format!("{}", path.display()))
    };
    Ok([file("tls.crt")?, file("tls.key")?])
}

fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}

fn certified([certificate, key]: &[Vec<u8>; 2]) -> anyhow::Result<CertifiedKey> {
    let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>().context("tls.crt")?;
    anyhow::ensure!(!chain.is_empty(), "tls.crt holds no certificate");
    let key = PrivateKeyDer::from_pem_slice(key).context("tls.key")?;
    Ok(CertifiedKey::from_der(chain, key, &provider())?)
}

fn self_signed() -> anyhow::Result<CertifiedKey> {
    let made = rcgen::generate_simple_self_signed(NAMES.map(str::to_owned))?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    Ok(CertifiedKey::from_der(vec![made.cert.der().clone()], key, &provider())?)
}

/// Takes connections and agrees on keys with their clients, several at a time: one that is slow delays no other.
#[derive(Debug)]
pub struct TlsListener {
    address: SocketAddr,
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    /// Ends with this value.
    _accepting: JoinSet<()>,
}

impl TlsListener {
    /// Takes connections of `listener` from now on.
    ///
    /// # Errors
    /// The listener has no address, or the TLS settings are impossible.
    pub fn new(listener: TcpListener, certificate: Certificate) -> anyhow::Result<Self> {
        let address = listener.local_addr()?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certificate));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let (sender, ready) = mpsc::channel(HANDSHAKES);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), sender));
        Ok(Self { address, ready, _accepting: accepting })
    }
}

async fn accept(
    mut listener: TcpListener,
    acceptor: TlsAcceptor,
    ready: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let places = Arc::new(Semaphore::new(HANDSHAKES));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        // Waits and tries again by itself where the system refuses.
        let (stream, peer) = Listener::accept(&mut listener).await;
        let (acceptor, ready) = (acceptor.clone(), ready.clone());
        tokio::spawn(async move {
            match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let _gone = ready.send((stream, peer)).await;
                }
                Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS"),
                Err(_) => tracing::debug!(%peer, "no TLS in time"),
            }
            drop(place);
        });
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that goes with the value.
    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn folder(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("ssm-ready-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn pem(label: &str, der: &[u8]) -> String {
        use std::fmt::Write as _;
        let mut text = format!("-----BEGIN {label}-----\n");
        // base64, by hand: no dependency for one test.
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        for line in der.chunks(48) {
            for three in line.chunks(3) {
                let bits =
                    three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
                for place in 0..4 {
                    let index = usize::try_from(bits >> (18 - 6 * place) & 63).unwrap();
                    text.push(if place <= three.len() { char::from(ALPHABET[index]) } else { '=' });
                }
            }
            text.push('\n');
        }
        writeln!(text, "-----END {label}-----").unwrap();
        text
    }

    /// Writes a new certificate and returns it.
    fn write(folder: &Folder) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(["x".to_owned()]).unwrap();
        std::fs::write(folder.0.join("tls.crt"), pem("CERTIFICATE", made.cert.der())).unwrap();
        std::fs::write(folder.0.join("tls.key"), pem("PRIVATE KEY", &made.signing_key.serialize_der())).unwrap();
        made.cert.der().clone()
    }

    #[tokio::test(start_paused = true)]
    async fn files_are_read_again_when_they_change_and_bad_ones_change_nothing() {
        let folder = folder("renewal");
        let first = write(&folder);
        let certificate = Certificate::new(Some(folder.0.clone())).unwrap();
        let shown = || certificate.current().cert[0].clone();
        assert_eq!(shown(), first);
        let second = write(&folder);
        assert_ne!(first, second);
        tokio::time::advance(LOOK_AGAIN / 2).await;
        assert_eq!(shown(), first, "not looked at every time");
        tokio::time::advance(LOOK_AGAIN / 2).await;
        assert_eq!(shown(), second);
        // A half written pair: the certificate is new already, the key is not.
        let key = std::fs::read(folder.0.join("tls.key")).unwrap();
        write(&folder);
        std::fs::write(folder.0.join("tls.key"), key).unwrap();
        tokio::time::advance(LOOK_AGAIN).await;
        assert_eq!(shown(), second);
        let third = write(&folder);
        tokio::time::advance(LOOK_AGAIN).await;
        assert_eq!(shown(), third);
    }

    #[test]
    fn what_is_no_certificate_is_refused_with_the_file_s_name() {
        let folder = folder("bad");
        let error = |what: &str| {
            let error = format!("{:#}", Certificate::new(Some(folder.0.clone())).unwrap_err());
            assert!(error.contains(what), "{error}");
        };
        error("tls.crt");
        write(&folder);
        std::fs::write(folder.0.join("tls.crt"), "no certificate").unwrap();
        error("tls.crt holds no certificate");
        write(&folder);
        std::fs::write(folder.0.join("tls.key"), "no key").unwrap();
        error("tls.key");
    }
}
