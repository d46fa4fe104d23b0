//! The `/tls/1.0.0` security upgrade, wire-compatible with the stock one, with the cipher order of this machine's CPU.
//!
//! libp2p's own upgrade always prefers ChaCha20. Where the CPU has AES instructions AES-GCM moves 1.7 times the bytes
//! per second, and the dialler's order decides. Certificates and their meaning are libp2p's; only the order is ours, and whose
//! AES it is.
//! Spec: <https://github.com/libp2p/specs/blob/master/tls/tls.md>.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{AsyncRead, AsyncWrite, FutureExt};
use futures_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use libp2p::tls::certificate;
use libp2p::{PeerId, identity};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::cipher_suite::{
    TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme, SupportedCipherSuite,
};

use super::read_ahead::ReadAhead;

/// Why this device cannot speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate could not be made.
    #[error("cannot make a TLS certificate")]
    Certificate(#[from] certificate::GenError),
    /// The TLS library refused our configuration.
    #[error("cannot configure TLS")]
    Config(#[from] rustls::Error),
}

/// The upgrade. Cheap to clone.
#[derive(Clone)]
pub(super) struct Tls {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

impl Tls {
    /// Makes a fresh certificate that binds a new TLS key to the device's key.
    ///
    /// # Errors
    /// [`TlsError`], all of it inside this machine.
    pub(super) fn new(keypair: &identity::Keypair) -> Result<Self, TlsError> {
        Self::with_suites(keypair, preferred_suites(cpu_has_aes()))
    }

    fn with_suites(keypair: &identity::Keypair, suites: [SupportedCipherSuite; 3]) -> Result<Self, TlsError> {
        let provider = Arc::new(CryptoProvider { cipher_suites: suites.to_vec(), ..aws_lc_rs::default_provider() });
        let (certificate, key) = certificate::generate(keypair)?;
        let key = provider.key_provider.load_private_key(key)?;
        let ours = Arc::new(SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key)));

        let mut server = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(Verifier))
            .with_cert_resolver(ours.clone());
        server.alpn_protocols = vec![ALPN.to_vec()];
        // No resumption: every connection proves its key anew, and no ticket links two connections.
        server.send_tls13_tickets = 0;

        let mut client = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier))
            .with_client_cert_resolver(ours);
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.resumption = rustls::client::Resumption::disabled();

        Ok(Self { acceptor: Arc::new(server).into(), connector: Arc::new(client).into() })
    }
}

/// Gathers the entropy of the process's first random bytes, 80 ms of a core, before the first handshake needs it.
/// Blocks.
pub(super) fn warm_up() {
    // An error shows again, and is reported, at the first handshake.
    let _ = aws_lc_rs::default_provider().secure_random.fill(&mut [0; 32]);
}

/// Spec: "the ALPN extension" names `libp2p`, without early muxer negotiation.
const ALPN: &[u8] = b"libp2p";

/// The cipher suites of TLS 1.3, fastest on this machine first.
fn preferred_suites(has_aes: bool) -> [SupportedCipherSuite; 3] {
    if has_aes {
        [aes_128_gcm(), TLS13_CHACHA20_POLY1305_SHA256, TLS13_AES_256_GCM_SHA384]
    } else {
        [TLS13_CHACHA20_POLY1305_SHA256, aes_128_gcm(), TLS13_AES_256_GCM_SHA384]
    }
}

/// AES-128-GCM by the library that is fastest at it here. AWS-LC has four blocks in an instruction with AVX-512 and else one;
/// ring has two with AVX2, which is what many players' CPUs have.
fn aes_128_gcm() -> SupportedCipherSuite {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("vaes") && is_x86_feature_detected!("avx2") && !is_x86_feature_detected!("avx512bw") {
        return rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    }
    TLS13_AES_128_GCM_SHA256
}

/// Whether the CPU has AES instructions; unknown CPUs are taken to have none.
fn cpu_has_aes() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

impl UpgradeInfo for Tls {
    type Info = &'static str;
    type InfoIter = std::iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once("/tls/1.0.0")
    }
}

impl<C> InboundConnectionUpgrade<C> for Tls
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = (PeerId, TlsStream<ReadAhead<C>>);
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Output>>;

    fn upgrade_inbound(self, socket: C, _: Self::Info) -> Self::Future {
        async move { identified(self.acceptor.accept(ReadAhead::new(socket)).await?.into()) }.boxed()
    }
}

impl<C> OutboundConnectionUpgrade<C> for Tls
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = (PeerId, TlsStream<ReadAhead<C>>);
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Output>>;

    fn upgrade_outbound(self, socket: C, _: Self::Info) -> Self::Future {
        // Spec: clients "MUST NOT send any value in the Server Name Indication"; an IP address sends none.
        let nobody = ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into());
        async move { identified(self.connector.connect(nobody, ReadAhead::new(socket)).await?.into()) }.boxed()
    }
}

fn identified<C>(stream: TlsStream<C>) -> io::Result<(PeerId, TlsStream<C>)> {
    let Some([certificate]) = stream.get_ref().1.peer_certificates() else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the peer showed no single certificate"));
    };
    let peer = certificate::parse(certificate).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok((peer.peer_id(), stream))
}

/// Accepts exactly one self-signed certificate with the libp2p extension. Whether it is the peer we wanted is checked
/// by the swarm, which knows.
#[derive(Debug)]
struct Verifier;

impl Verifier {
    fn check(end_entity: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Result<(), rustls::Error> {
        if !intermediates.is_empty() {
            return Err(rustls::Error::General("more than one certificate".into()));
        }
        certificate::parse(end_entity).map(drop).map_err(invalid)
    }

    fn check_signature(
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let certificate = certificate::parse(certificate).map_err(invalid)?;
        certificate
            .verify_signature(signed.scheme, message, signed.signature())
            .map_err(|_| rustls::Error::InvalidCertificate(CertificateError::BadSignature))?;
        Ok(HandshakeSignatureValid::assertion())
    }

    /// What libp2p's own upgrade accepts, in its order.
    fn schemes() -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ED25519,
            SignatureScheme::RSA_PSS_SHA512,
            SignatureScheme::RSA_PSS_SHA384,
            SignatureScheme::RSA_PSS_SHA256,
        ]
    }

    /// TLS 1.2 is never negotiated; should it be, nothing of it verifies.
    fn no_tls12() -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOffered))
    }
}

fn invalid(error: certificate::ParseError) -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Self::check(end_entity, intermediates)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Self::no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Self::check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Self::schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Self::check(end_entity, intermediates)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Self::no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Self::check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Self::schemes()
    }
}

#[cfg(test)]
mod tests {
    use futures::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Two upgrades with these suites on the ends of a pipe; returns the cipher they agree on, once bytes went both ways.
    async fn talk(client: [SupportedCipherSuite; 3], server: [SupportedCipherSuite; 3]) -> rustls::CipherSuite {
        let tls = |suites| Tls::with_suites(&identity::Keypair::generate_ed25519(), suites).expect("sets up");
        let (near, far) = tokio::io::duplex(1 << 16);
        let compat = tokio_util::compat::TokioAsyncReadCompatExt::compat;
        let (client, server) = (tls(client), tls(server));
        let (dialled, accepted) = futures::join!(
            client.upgrade_outbound(compat(near), "/tls/1.0.0"),
            server.upgrade_inbound(compat(far), "/tls/1.0.0")
        );
        let suite = |stream: &TlsStream<_>| stream.get_ref().1.negotiated_cipher_suite().expect("agreed").suite();
        let ((_, mut dialled), (_, mut accepted)) = (dialled.expect("dials"), accepted.expect("accepts"));
        assert_eq!(suite(&dialled), suite(&accepted));
        // More than a record, and no whole number of them.
        let sent: Vec<u8> = (0..100_001u32).map(|n| (n % 251) as u8).collect();
        for _ in 0..2 {
            let mut got = vec![0; sent.len()];
            let (written, read) = futures::join!(
                async { dialled.write_all(&sent).await.and(dialled.flush().await) },
                accepted.read_exact(&mut got)
            );
            written.and(read).expect("passes");
            assert!(got == sent);
            std::mem::swap(&mut dialled, &mut accepted);
        }
        suite(&dialled)
    }

    async fn agree(client: bool, server: bool) -> rustls::CipherSuite {
        talk(preferred_suites(client), preferred_suites(server)).await
    }

    #[tokio::test]
    async fn the_dialler_chooses_what_its_cpu_is_fast_at() {
        assert_eq!(agree(true, true).await, rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
        assert_eq!(agree(true, false).await, rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
        assert_eq!(agree(false, true).await, rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
    }

    #[tokio::test]
    async fn either_librarys_aes_understands_the_others() {
        let (aws, ring) = (TLS13_AES_128_GCM_SHA256, rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256);
        let with = |aes| [aes, TLS13_CHACHA20_POLY1305_SHA256, TLS13_AES_256_GCM_SHA384];
        for (client, server) in [(aws, ring), (ring, aws), (ring, ring)] {
            assert_eq!(talk(with(client), with(server)).await, rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
        }
    }
}
