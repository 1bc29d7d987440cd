//! The GitHub App of an installation: what it signs with, what GitHub signs with, and where its API is.
//!
//! What is told of a mistake never quotes a secret, or half of one.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// Where the API is, unless the installation has a GitHub of its own (`https://HOST/api/v3/`).
pub(super) const API_DEFAULT: &str = "https://api.github.com/";
/// A host's longest name, a port and the path of an API.
const API_MAX: usize = 300;
/// Characters of a webhook's secret: fewer can be guessed, and GitHub takes no more than these.
const SECRET_CHARS: [usize; 2] = [16, 255];
/// An App's id has seven digits, a client id twenty letters.
const ID_MAX: usize = 50;

/// A GitHub App that is a deployment protection rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GithubApp {
    /// The App's id, or its client id: either names the App in what it signs.
    pub id: String,
    /// What the App signs with.
    pub key: AppKey,
    /// What GitHub signs with.
    pub webhook_secret: WebhookSecret,
    /// Where the API is.
    pub api: GithubApi,
}

/// An RSA key in DER, as the PEM file had it.
#[derive(Clone, PartialEq, Eq)]
pub enum AppKey {
    /// `RSAPrivateKey`: what GitHub hands out.
    Pkcs1(Vec<u8>),
    /// `PrivateKeyInfo`: what most tools make of it.
    Pkcs8(Vec<u8>),
}

impl fmt::Debug for AppKey {
    /// Its kind alone: settings are printed when something is wrong with them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pkcs1(_) => "Pkcs1(..)",
            Self::Pkcs8(_) => "Pkcs8(..)",
        })
    }
}

/// The secret that the App's webhook and this installation share.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Vec<u8>);

impl fmt::Debug for WebhookSecret {
    /// Nothing of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(..)")
    }
}

impl WebhookSecret {
    /// The key of the signatures.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The address of a GitHub's API. It ends with a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GithubApi(String);

/// A workflow run, as a callback URL has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GithubRun<'a> {
    /// Who owns the repository.
    pub owner: &'a str,
    /// The repository's name.
    pub name: &'a str,
    /// The run.
    pub id: u64,
}

impl GithubRun<'_> {
    /// It is a run of this repository (`OWNER/NAME`).
    #[must_use]
    pub fn is_of(&self, repository: &str) -> bool {
        repository.split_once('/') == Some((self.owner, self.name))
    }
}

impl Default for GithubApi {
    fn default() -> Self {
        Self(API_DEFAULT.to_owned())
    }
}

impl fmt::Display for GithubApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl GithubApi {
    /// Reads an address: HTTPS, or plain HTTP to this very machine, for tests.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rule = "must be https://HOST/ in small letters with the API's path, such as https://github.example/api/v3/";
        let (scheme, rest) = text.split_once("://").ok_or(rule)?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        let of_host = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
        let is_port = |port: &str| port.parse::<u16>().is_ok() && port.bytes().all(|b| b.is_ascii_digit());
        let plain = !host.is_empty()
            && host.bytes().all(of_host)
            && port.is_none_or(is_port)
            && (path.is_empty() || path.strip_suffix('/').unwrap_or(path).split('/').all(is_plain))
            && text.len() <= API_MAX;
        let here = matches!(host, "127.0.0.1" | "localhost");
        match scheme {
            "https" if plain => {}
            "http" if plain && here => {}
            "http" if plain => {
                return Err("must be https: plain http is for tests at 127.0.0.1".to_owned());
            }
            _ => return Err(rule.to_owned()),
        }
        Ok(Self(format!("{}/", text.strip_suffix('/').unwrap_or(text))))
    }

    /// The address, with its slash at the end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Nobody listens on the way: plain HTTP is for this very machine.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// The run of a callback URL, which must be just what GitHub writes; `None` of any other, for whoever could
    /// choose the URL would be sent an App's token.
    #[must_use]
    pub fn run_of<'u>(&self, url: &'u str) -> Option<GithubRun<'u>> {
        let rest = url.strip_prefix(self.as_str())?.strip_prefix("repos/")?;
        let mut parts = rest.strip_suffix("/deployment_protection_rule")?.split('/');
        let (owner, name) = (parts.next().filter(|p| is_plain(p))?, parts.next().filter(|p| is_plain(p))?);
        if [parts.next(), parts.next()] != [Some("actions"), Some("runs")] {
            return None;
        }
        let id = parts.next().filter(|id| id.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?;
        parts.next().is_none().then_some(GithubRun { owner, name, id })
    }
}

/// One part of a path that means itself.
fn is_plain(part: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !part.is_empty() && part != "." && part != ".." && part.bytes().all(fits)
}

/// Reads an App's id, or its client id.
pub(super) fn app_id(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'.';
    match text.len() <= ID_MAX && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err("must be the GitHub App's id (digits) or its client id".to_owned()),
    }
}

/// Reads a webhook's secret.
pub(crate) fn webhook_secret(text: &str) -> Result<WebhookSecret, String> {
    let [least, most] = SECRET_CHARS;
    if text != text.trim() {
        return Err("must not begin or end with white space".to_owned());
    }
    match (least..=most).contains(&text.chars().count()) {
        true => Ok(WebhookSecret(text.as_bytes().to_vec())),
        false => Err(format!("must have {least} to {most} characters, by chance")),
    }
}

/// Reads a PEM file. Its line ends may be lost, or written as `\n`: an environment has no lines.
pub(super) fn app_key(text: &str) -> Result<AppKey, String> {
    let rule = "must be the App's private key as GitHub hands it out: a PEM file with one RSA PRIVATE KEY, or one \
                PRIVATE KEY, without a password";
    let text = text.replace("\\n", "\n");
    let der = |label: &str| {
        let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
        let body = text.trim().strip_prefix(&begin)?.strip_suffix(&end)?;
        let body: String = body.chars().filter(|c| !c.is_whitespace()).collect();
        // Every key is an ASN.1 sequence.
        BASE64_STANDARD.decode(body).ok().filter(|der| der.first() == Some(&0x30))
    };
    let pkcs1 = || der("RSA PRIVATE KEY").map(AppKey::Pkcs1);
    pkcs1().or_else(|| der("PRIVATE KEY").map(AppKey::Pkcs8)).ok_or_else(|| rule.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAIL: &str = "repos/octo/shop/actions/runs/5413/deployment_protection_rule";

    #[test]
    fn the_api_is_reached_by_https_or_on_this_very_machine() {
        for (text, read) in [
            ("https://api.github.com", "https://api.github.com/"),
            ("https://api.github.com/", "https://api.github.com/"),
            ("https://github.shop.example:8443/api/v3", "https://github.shop.example:8443/api/v3/"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/"),
            ("http://localhost/api/v3/", "http://localhost/api/v3/"),
        ] {
            assert_eq!(GithubApi::parse(text).unwrap().as_str(), read);
        }
        for text in [
            "",
            "api.github.com",
            "https://",
            "https:///api/v3/",
            "https://api.github.com//",
            "https://API.github.com/",
            "https://api.github.com/?a=b",
            "https://api.github.com/#",
            "https://ana:secret@api.github.com/",
            "https://api.github.com:port/",
            "https://api.github.com:+1/",
            "https://api.github.com/../",
            "https://api.github.com/ ",
            "ftp://127.0.0.1/",
            "http://api.github.com/",
            "http://127.0.0.1.evil.example/",
            "http://localhost@evil.example/",
            "http://169.254.169.254/",
            "http://10.0.0.1/",
        ] {
            assert!(GithubApi::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_callback_url_is_the_api_s_for_one_run_and_nothing_else() {
        let api = GithubApi::default();
        let url = format!("https://api.github.com/{TAIL}");
        let run = api.run_of(&url).unwrap();
        assert_eq!((run.owner, run.name, run.id), ("octo", "shop", 5413));
        assert!(run.is_of("octo/shop"));
        for repository in ["octo/other", "octo", "octo/shop/x", "octo/", "/shop", "octoshop"] {
            assert!(!run.is_of(repository), "{repository}");
        }
        for url in [
            format!("https://evil.example/{TAIL}"),
            format!("https://api.github.com.evil.example/{TAIL}"),
            format!("https://api.github.com@evil.example/{TAIL}"),
            format!("http://api.github.com/{TAIL}"),
            format!("HTTPS://api.github.com/{TAIL}"),
            format!("https://api.github.com/{TAIL}?to=https://evil.example"),
            format!("https://api.github.com/{TAIL}#"),
            format!("https://api.github.com/{TAIL}/x"),
            format!("https://api.github.com/x/../{TAIL}"),
            "https://api.github.com/repos/octo/shop/actions/runs/54/../13/deployment_protection_rule"
                .to_owned(),
            "https://api.github.com/repos/octo/../actions/runs/13/deployment_protection_rule".to_owned(),
            "https://api.github.com/repos/octo/shop/actions/runs//deployment_protection_rule".to_owned(),
            "https://api.github.com/repos/octo/shop/actions/runs/+5/deployment_protection_rule".to_owned(),
            "https://api.github.com/repos/octo/sh%2fop/actions/runs/5/deployment_protection_rule".to_owned(),
            "https://api.github.com/repos/octo/shop/actions/jobs/5/deployment_protection_rule".to_owned(),
            "https://169.254.169.254/latest/meta-data".to_owned(),
        ] {
            assert_eq!(api.run_of(&url), None, "{url}");
        }
    }

    #[test]
    fn a_github_of_one_s_own_has_its_api_elsewhere() {
        let api = GithubApi::parse("https://github.shop.example/api/v3/").unwrap();
        let url = format!("https://github.shop.example/api/v3/{TAIL}");
        assert_eq!(api.run_of(&url).map(|run| run.id), Some(5413));
        assert_eq!(api.run_of(&format!("https://api.github.com/{TAIL}")), None);
        assert_eq!(GithubApi::default().run_of(&url), None);
    }

    #[test]
    fn a_key_is_read_from_pem_whatever_became_of_its_lines() {
        let der = [vec![0x30, 0x82], vec![7; 90]].concat();
        let body = BASE64_STANDARD.encode(&der);
        let (first, second) = body.split_at(64);
        for lines in ["\n", "\r\n", "\\n", " ", ""] {
            let pem = |label: &str| {
                let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
                [begin.as_str(), first, second, &end, ""].join(lines)
            };
            assert_eq!(app_key(&pem("RSA PRIVATE KEY")), Ok(AppKey::Pkcs1(der.clone())));
            assert_eq!(app_key(&pem("PRIVATE KEY")), Ok(AppKey::Pkcs8(der.clone())));
            for other in ["PUBLIC KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "CERTIFICATE"] {
                assert!(app_key(&pem(other)).is_err(), "{other}");
            }
        }
        for text in [
            body.clone(),
            format!("-----BEGIN PRIVATE KEY-----{body}"),
            format!("-----BEGIN PRIVATE KEY-----{body}-----END RSA PRIVATE KEY-----"),
            format!(
                "-----BEGIN RSA PRIVATE KEY-----Proc-Type: 4,ENCRYPTED {body}-----END RSA PRIVATE KEY-----"
            ),
            format!("-----BEGIN PRIVATE KEY-----{}-----END PRIVATE KEY-----", &body[4..]),
        ] {
            let told = app_key(&text).unwrap_err();
            assert!(!told.contains(first), "{told}");
        }
    }

    #[test]
    fn a_secret_is_long_enough_and_nothing_prints_it() {
        for text in ["It's a Secret to Everybody", &"x".repeat(16), &"x".repeat(255)] {
            let secret = webhook_secret(text).unwrap();
            assert_eq!(secret.bytes(), text.as_bytes());
            assert_eq!(format!("{secret:?}"), "WebhookSecret(..)");
        }
        for text in ["", "short", &"x".repeat(15), &"x".repeat(256), "a secret with a line end\n"] {
            assert!(webhook_secret(text).is_err(), "{text}");
        }
        let key = AppKey::Pkcs8(vec![0x30, 77]);
        assert_eq!(format!("{key:?}"), "Pkcs8(..)");
        assert!(
            app_id("1234567").is_ok()
                && app_id("Iv23liAbCdEf").is_ok()
                && app_id("Iv1.8a61f9b3a7aba766").is_ok()
        );
        assert!(app_id("my app").is_err() && app_id("\"}").is_err() && app_id(&"1".repeat(51)).is_err());
    }
}
