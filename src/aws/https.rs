//! HTTPS of all clients: one pool of connections, and Amazon's own root certificates first.
//!
//! By default each of the SDK's clients reads and parses all certificates that the system trusts, which is most of a
//! cold start. AWS's endpoints are certified by a handful of roots of Amazon's, which are part of the program. Whose
//! certificate none of them vouches for (another partition's endpoint, a proxy that looks into the traffic) is asked
//! again with the system's certificates, which are read then and only then.

use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, ConnectorBuilder};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use rustls::CertificateError;

/// Amazon Root CA 1 to 4 and Starfield Services Root CA G2, from <https://www.amazontrust.com/repository/>.
const AMAZON_ROOTS: &str = include_str!("amazon-roots.pem");
/// Who sets one of these wants just those certificates to be trusted.
const CHOSEN_ROOTS: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// What all clients send with.
pub(super) fn client() -> SharedHttpClient {
    if CHOSEN_ROOTS.iter().any(|name| std::env::var_os(name).is_some_and(|chosen| !chosen.is_empty())) {
        return system();
    }
    let amazon = TrustStore::empty().with_pem_certificate(AMAZON_ROOTS);
    SharedHttpClient::new(Https::new(trusting(&amazon), system))
}

fn system() -> SharedHttpClient {
    trusting(&TrustStore::default())
}

/// As the SDK's default client is, but for the certificates.
fn trusting(roots: &TrustStore) -> SharedHttpClient {
    let tls =
        TlsContext::builder().with_trust_store(roots.clone()).build().expect("roots alone are no conflict");
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = ConnectorBuilder::default()
            .tls_provider(Provider::rustls(CryptoMode::AwsLc))
            .tls_context(tls.clone());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector.set_proxy_config(Some(ProxyConfig::from_env()));
        connector.build()
    })
}

#[derive(Debug, Clone)]
struct Https(Arc<Clients>);

#[derive(Debug)]
struct Clients {
    amazon: SharedHttpClient,
    system: OnceLock<SharedHttpClient>,
    make_system: fn() -> SharedHttpClient,
    /// Some endpoint is not certified by Amazon.
    needs_system: AtomicBool,
}

impl Https {
    fn new(amazon: SharedHttpClient, make_system: fn() -> SharedHttpClient) -> Self {
        let (system, needs_system) = (OnceLock::new(), AtomicBool::new(false));
        Self(Arc::new(Clients { amazon, system, make_system, needs_system }))
    }
}

impl HttpClient for Https {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Connection {
            clients: Arc::clone(&self.0),
            settings: settings.clone(),
            components: components.clone(),
        })
    }
}

#[derive(Debug, Clone)]
struct Connection {
    clients: Arc<Clients>,
    settings: HttpConnectorSettings,
    components: RuntimeComponents,
}

impl Connection {
    /// The clients keep their connectors, by the settings.
    fn by(&self, client: &SharedHttpClient) -> SharedHttpConnector {
        client.http_connector(&self.settings, &self.components)
    }

    fn by_system(&self) -> SharedHttpConnector {
        self.by(self.clients.system.get_or_init(self.clients.make_system))
    }
}

impl HttpConnector for Connection {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        if self.clients.needs_system.load(Ordering::Relaxed) {
            return self.by_system().call(request);
        }
        let again = request.try_clone();
        let connection = self.clone();
        HttpConnectorFuture::new(async move {
            match (connection.by(&connection.clients.amazon).call(request).await, again) {
                // Nothing was sent: the handshake comes before the request.
                (Err(error), Some(again)) if is_unknown_issuer(&error) => {
                    tracing::debug!("a certificate is not Amazon's; the system's are read");
                    connection.clients.needs_system.store(true, Ordering::Relaxed);
                    connection.by_system().call(again).await
                }
                (answered, _) => answered,
            }
        })
    }
}

fn is_unknown_issuer(error: &ConnectorError) -> bool {
    let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<rustls::Error>() == Some(&unknown) {
            return true;
        }
        // The source of an input error is that of what it wraps, which would be skipped.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped as _),
            None => error.source(),
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    use aws_config::retry::RetryConfig;
    use aws_config::{BehaviorVersion, Region};
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
    use aws_sdk_sns::config::Credentials;
    use aws_sdk_sns::error::DisplayErrorContext;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, IsCa, Issuer, PKCS_ECDSA_P256_SHA256, PublicKeyData,
        SerialNumber, SignatureAlgorithm, SigningKey,
    };
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
    use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
    use sha2::{Digest as _, Sha256};

    use super::*;

    struct Key {
        pkcs8: Vec<u8>,
        pair: EcdsaKeyPair,
    }

    impl Key {
        fn new() -> Self {
            let way = &ECDSA_P256_SHA256_ASN1_SIGNING;
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(way, &SystemRandom::new()).unwrap().as_ref().to_vec();
            Self { pair: EcdsaKeyPair::from_pkcs8(way, &pkcs8).unwrap(), pkcs8 }
        }
    }

    impl PublicKeyData for Key {
        fn der_bytes(&self) -> &[u8] {
            self.pair.public_key().as_ref()
        }

        fn algorithm(&self) -> &'static SignatureAlgorithm {
            &PKCS_ECDSA_P256_SHA256
        }
    }

    impl SigningKey for Key {
        fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
            let signed = self.pair.sign(&SystemRandom::new(), message);
            signed.map(|signature| signature.as_ref().to_vec()).map_err(|_| rcgen::Error::RemoteKeyError)
        }
    }

    fn params(name: &str, serial: u64) -> CertificateParams {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(serial));
        params.distinguished_name.push(DnType::CommonName, name);
        params
    }

    /// A certificate authority: its certificate in PEM, and what signs with it.
    fn authority(name: &str) -> (String, Issuer<'static, Key>) {
        let mut params = params(name, 1);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = Key::new();
        let root = params.self_signed(&key).unwrap();
        let pem = format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            STANDARD.encode(root.der())
        );
        (pem, Issuer::new(params, key))
    }

    /// A server that refuses all that it is asked, over TLS, and counts the requests and the failed handshakes.
    #[derive(Default)]
    struct Counted {
        requests: AtomicUsize,
        failed: AtomicUsize,
    }

    impl Counted {
        fn both(&self) -> (usize, usize) {
            (self.requests.load(Ordering::SeqCst), self.failed.load(Ordering::SeqCst))
        }
    }

    fn server(issuer: &Issuer<'static, Key>) -> (String, Arc<Counted>) {
        let key = Key::new();
        let certificate = params("localhost", 2).signed_by(&key, issuer).unwrap();
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.pkcs8));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config =
            config.with_no_client_auth().with_single_cert(vec![certificate.into()], private).unwrap();
        let (config, counted) = (Arc::new(config), Arc::new(Counted::default()));
        let listener = TcpListener::bind("localhost:0").unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let counts = Arc::clone(&counted);
        thread::spawn(move || {
            for socket in listener.incoming() {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = StreamOwned::new(connection, socket.unwrap());
                match stream.read(&mut [0; 4096]) {
                    Ok(1..) => {
                        counts.requests.fetch_add(1, Ordering::SeqCst);
                        let refused =
                            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                        let _ = stream.write_all(refused.as_bytes());
                        stream.conn.send_close_notify();
                        let _ = stream.flush();
                    }
                    _ => {
                        counts.failed.fetch_add(1, Ordering::SeqCst);
                    }
                }
            }
        });
        (url, counted)
    }

    /// Asks the server once; `Ok` if it answered.
    async fn ask(client: &Https, url: &str) -> Result<(), String> {
        let config = aws_sdk_sns::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .http_client(client.clone())
            .region(Region::new("eu-west-1"))
            .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .endpoint_url(url)
            .build();
        match aws_sdk_sns::Client::from_conf(config).list_topics().send().await {
            Err(error) if error.raw_response().is_some() => Ok(()),
            Err(error) => Err(DisplayErrorContext(error).to_string()),
            Ok(_) => Err("it was not refused".to_owned()),
        }
    }

    fn trusting_only(pem: &str) -> SharedHttpClient {
        trusting(&TrustStore::empty().with_pem_certificate(pem))
    }

    fn unread() -> SharedHttpClient {
        panic!("the system's certificates are not needed")
    }

    #[tokio::test]
    async fn who_is_certified_by_the_first_roots_is_asked_with_them_alone() {
        let (root, issuer) = authority("first");
        let (url, counted) = server(&issuer);
        let client = Https::new(trusting_only(&root), unread);
        for _ in 0..2 {
            ask(&client, &url).await.unwrap();
        }
        assert_eq!(counted.both(), (2, 0));
    }

    #[tokio::test]
    async fn who_is_certified_by_the_systems_roots_is_asked_once_more_and_then_at_once() {
        static SYSTEM: OnceLock<String> = OnceLock::new();
        let (root, issuer) = authority("system");
        SYSTEM.set(root).unwrap();
        let (url, counted) = server(&issuer);
        let (other, _) = authority("first");
        let client = Https::new(trusting_only(&other), || trusting_only(SYSTEM.get().unwrap()));
        for requests in 1..=3 {
            ask(&client, &url).await.unwrap();
            assert_eq!(counted.both(), (requests, 1));
        }
    }

    #[tokio::test]
    async fn who_is_certified_by_none_is_not_trusted_and_gets_no_request() {
        let (_, issuer) = authority("stranger");
        let (url, counted) = server(&issuer);
        let (first, _) = authority("first");
        let client = Https::new(trusting_only(&first), || trusting_only(&authority("system").0));
        for _ in 0..2 {
            let why = ask(&client, &url).await.unwrap_err();
            assert!(why.contains("UnknownIssuer"), "{why}");
        }
        assert_eq!(counted.requests.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn what_fails_for_another_reason_is_not_tried_with_other_certificates() {
        let (root, _) = authority("first");
        let closed = TcpListener::bind("localhost:0").unwrap().local_addr().unwrap().port();
        let client = Https::new(trusting_only(&root), unread);
        let why = ask(&client, &format!("https://localhost:{closed}")).await.unwrap_err();
        assert!(why.contains("refused"), "{why}");
    }

    #[test]
    fn the_roots_are_those_that_amazon_publishes() {
        let roots: Vec<_> =
            CertificateDer::pem_slice_iter(AMAZON_ROOTS.as_bytes()).map(Result::unwrap).collect();
        let prints = roots.iter().map(|root| {
            let hash = Sha256::digest(root);
            hash.iter().map(|byte| format!("{byte:02X}")).collect::<String>()
        });
        assert_eq!(
            prints.collect::<Vec<_>>(),
            [
                "8ECDE6884F3D87B1125BA31AC3FCB13D7016DE7F57CC904FE1CB97C6AE98196E",
                "1BA5B2AA8C65401A82960118F80BEC4F62304D83CEC4713A19C39C011EA46DB4",
                "18CE6CFE7BF14E60B2E347B8DFE868CB31D02EBB3ADA271569F50343B46DB3A4",
                "E35D28419ED02025CFA69038CD623962458DA5C695FBDEA3C22B0BFB25897092",
                "568D6905A2C88708A4B3025190EDCFEDB1974A606A13C6E5290FCB2AE63EDAB5",
            ]
        );
        let mut store = RootCertStore::empty();
        assert_eq!(store.add_parsable_certificates(roots), (5, 0));
    }
}
