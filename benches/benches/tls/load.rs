//! The load: clients that make a full handshake each time, and clients that transfer many bytes.
//!
//! The clients accept every certificate: checking it costs a client as much as signing costs the server, and the server should be
//! the busy side.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned};

use super::PIECE;

/// The number of clients that make handshakes at a time.
const CLIENTS: u64 = 8;

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// The data of the clients.
#[derive(Clone)]
pub(crate) struct Load(Arc<ClientConfig>);

impl Load {
    pub(crate) fn new() -> Load {
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has what these versions need")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Trust))
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Load(Arc::new(config))
    }

    /// Connects, receives a byte and closes the connection, `count` times.
    pub(crate) fn handshakes(&self, address: &str, count: u64) {
        let left = AtomicU64::new(count);
        let is_left = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    while is_left().is_ok() {
                        self.visit(address);
                    }
                });
            }
        });
    }

    fn visit(&self, address: &str) {
        let mut stream = self.connect(address);
        request(&mut stream, b'd', 1);
        stream.read_exact(&mut [0]).expect("the server answers");
        stream.conn.send_close_notify();
        stream.flush().expect("the server takes a good-bye");
        // Closed by the server. The system may still have data.
        match stream.read(&mut [0]) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("there is {other:?} after the end"),
        }
    }

    /// Receives `bytes` bytes from the server.
    pub(crate) fn receive(&self, address: &str, bytes: u64) {
        let mut stream = self.connect(address);
        request(&mut stream, b'd', bytes);
        let mut piece = vec![0; PIECE];
        let mut left = bytes;
        while left > 0 {
            let count = stream.read(&mut piece).expect("the server sends");
            assert!(count > 0, "the server sends all that was asked for");
            left -= count as u64;
        }
    }

    /// Sends `bytes` bytes to the server, and waits until it has received them.
    pub(crate) fn send(&self, address: &str, bytes: u64) {
        let mut stream = self.connect(address);
        request(&mut stream, b'u', bytes);
        let piece = vec![0; PIECE];
        for _ in 0..bytes / PIECE as u64 {
            stream.write_all(&piece).expect("the server takes it");
        }
        stream.read_exact(&mut [0]).expect("the server answers");
    }

    fn connect(&self, address: &str) -> Stream {
        let socket = TcpStream::connect(address).expect("the server listens");
        socket.set_nodelay(true).expect("a new socket takes it");
        let name = ServerName::try_from("localhost").expect("a good name");
        let session = ClientConnection::new(self.0.clone(), name).expect("the configuration is complete");
        StreamOwned::new(session, socket)
    }
}

/// See `benches/guests/tls`.
fn request(stream: &mut Stream, letter: u8, bytes: u64) {
    let mut request = [letter; 9];
    request[1..].copy_from_slice(&bytes.to_le_bytes());
    stream.write_all(&request).expect("the server takes a request");
}

/// Accepts every certificate.
#[derive(Debug)]
struct Trust;

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
