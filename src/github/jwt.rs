//! What an App proves itself with: a JSON web token, signed with its key (RFC 7519, RS256).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::config::AppKey;

/// GitHub's clock may be behind ours.
const ISSUED_BEFORE: SignedDuration = SignedDuration::from_mins(1);
/// GitHub takes ten minutes at most, by its own clock. It is used at once.
const EXPIRES_AFTER: SignedDuration = SignedDuration::from_mins(5);

/// The App's key is no RSA key of 2048 to 8192 bits.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("CANARY_GATE_GITHUB_PRIVATE_KEY: must be an RSA key of 2048 bits or more, as GitHub hands it out")]
pub struct KeyRejected;

/// Signs for an App.
pub(super) struct Signer(RsaKeyPair);

impl Signer {
    pub(super) fn new(key: &AppKey) -> Result<Self, KeyRejected> {
        let pair = match key {
            AppKey::Pkcs1(der) => RsaKeyPair::from_der(der),
            AppKey::Pkcs8(der) => RsaKeyPair::from_pkcs8(der),
        };
        pair.map(Self).map_err(|_| KeyRejected)
    }

    /// A token that says who the App is, for the next minutes.
    pub(super) fn jwt(&self, app: &str, now: Timestamp) -> Result<String, &'static str> {
        let claims = json!({
            "iat": (now - ISSUED_BEFORE).as_second(),
            "exp": (now + EXPIRES_AFTER).as_second(),
            "iss": app,
        });
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&json!({ "alg": "RS256", "typ": "JWT" })), part(&claims));
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| "the App's key does not sign")?;
        Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer as _;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    use super::super::tests::keys;
    use super::*;

    fn decoded(part: &str) -> Value {
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn a_token_says_who_and_until_when_and_the_public_key_verifies_it() {
        let (pair, both) = keys();
        let now: Timestamp = "2026-03-01T10:42:00Z".parse().unwrap();
        for key in &both {
            let token = Signer::new(key).unwrap().jwt("1234567", now).unwrap();
            let parts: Vec<&str> = token.split('.').collect();
            assert_eq!(decoded(parts[0]), json!({ "alg": "RS256", "typ": "JWT" }));
            let expected = json!({ "iat": 1_772_361_660, "exp": 1_772_362_020, "iss": "1234567" });
            assert_eq!(decoded(parts[1]), expected);
            let signature = BASE64_URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
            let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref());
            let signed = format!("{}.{}", parts[0], parts[1]);
            assert!(public.verify(signed.as_bytes(), &signature).is_ok());
            assert!(public.verify(parts[1].as_bytes(), &signature).is_err());
        }
    }

    #[test]
    fn what_is_no_key_is_refused_without_a_word_of_it() {
        let (_, [pkcs1, pkcs8]) = keys();
        let (AppKey::Pkcs1(pkcs1), AppKey::Pkcs8(pkcs8)) = (pkcs1, pkcs8) else { panic!("another order") };
        for wrong in [
            AppKey::Pkcs8(pkcs1.clone()),
            AppKey::Pkcs1(pkcs8),
            AppKey::Pkcs1(pkcs1[..pkcs1.len() - 1].to_vec()),
            AppKey::Pkcs1(vec![0x30, 0]),
        ] {
            assert_eq!(Signer::new(&wrong).err(), Some(KeyRejected));
        }
        let longer = RsaKeyPair::generate(KeySize::Rsa3072).unwrap();
        let longer = longer.as_der().unwrap().as_ref().to_vec();
        assert!(Signer::new(&AppKey::Pkcs8(longer)).is_ok());
    }
}
