//! Who may call over HTTP without a signature of AWS: names, rights and secrets, as the environment has them.
//!
//! What is told of a mistake never quotes what was written: it may be a secret, or half of one.

use std::fmt;

use serde_json::{Map, Value};

/// More fit into no environment of a Lambda function (4 KB for all variables).
const CALLERS_MAX: usize = 50;
/// A name goes into audits, logs and pages.
const NAME_MAX: usize = 40;
/// Bytes of an HMAC key: as many as its hash has, to as many as its hash takes in at once.
const KEY_BYTES: [usize; 2] = [32, 64];
/// Bytes of a SHA-256 hash.
const HASH_BYTES: usize = 32;

/// What a caller proves itself with.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The SHA-256 of a token that it sends along.
    TokenHash([u8; HASH_BYTES]),
    /// A key that it signs its requests with (HMAC-SHA256).
    SigningKey(Vec<u8>),
}

impl fmt::Debug for Secret {
    /// Its kind alone: settings are printed when something is wrong with them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TokenHash(_) => "TokenHash(..)",
            Self::SigningKey(_) => "SigningKey(..)",
        })
    }
}

/// A caller that the installation knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownCaller {
    /// For audits.
    pub name: String,
    /// May give commands; else it may only ask.
    pub may_act: bool,
    /// What it proves itself with.
    pub secret: Secret,
}

/// Reads all callers: a JSON list of `{"name", "may", "sha256" or "hmac"}`, or `name:may:sha256=HEX` and
/// `name:may:hmac=HEX` with commas between them.
///
/// # Errors
/// Every rule that is broken, by the entry's number.
pub(super) fn callers(text: &str) -> Result<Vec<KnownCaller>, Vec<String>> {
    let read = match text.trim_start().starts_with('[') {
        true => from_json(text)?,
        false => text.split(',').map(from_words).collect(),
    };
    if read.len() > CALLERS_MAX {
        return Err(vec![format!("must have at most {CALLERS_MAX} callers, not {}", read.len())]);
    }
    let mut callers: Vec<KnownCaller> = Vec::new();
    let mut rules = Vec::new();
    for (number, entry) in read.into_iter().enumerate() {
        let place = format!("entry {}", number + 1);
        match entry {
            Ok(caller) if callers.iter().any(|known| known.name == caller.name) => {
                rules.push(format!(
                    "{place} has the name of an earlier one: audits could not tell them apart"
                ));
            }
            Ok(caller) if callers.iter().any(|known| known.secret == caller.secret) => {
                rules.push(format!("{place} has the secret of an earlier one: each caller needs its own"));
            }
            Ok(caller) => callers.push(caller),
            Err(wrong) => rules.extend(wrong.into_iter().map(|rule| format!("{place}: {rule}"))),
        }
    }
    if rules.is_empty() { Ok(callers) } else { Err(rules) }
}

type Entry = Result<KnownCaller, Vec<String>>;

fn from_json(text: &str) -> Result<Vec<Entry>, Vec<String>> {
    let list = serde_json::from_str::<Vec<Value>>(text).map_err(|_| {
        vec!["must be a JSON list of callers, or name:may:sha256=HEX with commas between them".to_owned()]
    })?;
    Ok(list.iter().map(from_value).collect())
}

fn from_value(value: &Value) -> Entry {
    let Value::Object(map) = value else {
        return Err(vec!["must be an object with name, may, and sha256 or hmac".to_owned()]);
    };
    let unknown = map.keys().filter(|key| !["name", "may", "sha256", "hmac"].contains(&key.as_str())).count();
    let secret = match (text(map, "sha256"), text(map, "hmac")) {
        (Some(hash), None) => Some(("sha256", hash)),
        (None, Some(key)) => Some(("hmac", key)),
        _ => None,
    };
    let mut entry = entry(text(map, "name"), text(map, "may"), secret);
    if unknown > 0 {
        let rule = format!("has {unknown} unknown keys: known are name, may, sha256 and hmac");
        entry = Err([entry.err().unwrap_or_default(), vec![rule]].concat());
    }
    entry
}

fn text<'v>(map: &'v Map<String, Value>, key: &str) -> Option<&'v str> {
    map.get(key).and_then(Value::as_str)
}

fn from_words(words: &str) -> Entry {
    let mut parts = words.trim().splitn(3, ':');
    let (name, may) = (parts.next(), parts.next());
    entry(name, may, parts.next().and_then(|secret| secret.split_once('=')))
}

fn entry(name: Option<&str>, may: Option<&str>, secret: Option<(&str, &str)>) -> Entry {
    let mut rules = Vec::new();
    let name = name.filter(|name| is_name(name)).map(str::to_owned);
    if name.is_none() {
        rules.push(format!("name must be 1 to {NAME_MAX} of A-Z, a-z, 0-9, _, - and ."));
    }
    let may_act = match may {
        Some("ask") => Some(false),
        Some("act") => Some(true),
        _ => None,
    };
    if may_act.is_none() {
        rules.push("may must be ask (verdicts) or act (commands, too)".to_owned());
    }
    let secret = secret.ok_or_else(|| "needs one secret: sha256=HEX or hmac=HEX".to_owned());
    let secret = secret.and_then(|(kind, hex)| self::secret(kind, hex)).map_err(|rule| rules.push(rule));
    match (name, may_act, secret) {
        (Some(name), Some(may_act), Ok(secret)) => Ok(KnownCaller { name, may_act, secret }),
        _ => Err(rules),
    }
}

fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(plain)
}

fn secret(kind: &str, hex: &str) -> Result<Secret, String> {
    let bytes = from_hex(hex);
    match kind {
        "sha256" => {
            let hash = bytes.and_then(|bytes| <[u8; HASH_BYTES]>::try_from(bytes).ok());
            let rule = "sha256 must be the 64 hex digits of the token's SHA-256 hash";
            hash.map(Secret::TokenHash).ok_or_else(|| rule.to_owned())
        }
        "hmac" => {
            let [least, most] = KEY_BYTES;
            let key = bytes.filter(|bytes| (least..=most).contains(&bytes.len()));
            let rule = || format!("hmac must be a key of {} to {} hex digits", 2 * least, 2 * most);
            key.map(Secret::SigningKey).ok_or_else(rule)
        }
        _ => Err("needs one secret: sha256=HEX or hmac=HEX".to_owned()),
    }
}

/// Bytes from hex digits; `None` if it is no such text.
pub(crate) fn from_hex(hex: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    #[test]
    fn callers_are_the_same_as_words_and_as_json() {
        let words = format!("flagger:ask:sha256={HASH}, ci:act:hmac={KEY}");
        let json = format!(
            r#"[{{"name":"flagger","may":"ask","sha256":"{HASH}"}},{{"name":"ci","may":"act","hmac":"{KEY}"}}]"#
        );
        let read = callers(&words).unwrap();
        assert_eq!(read, callers(&json).unwrap());
        assert_eq!((read[0].name.as_str(), read[0].may_act), ("flagger", false));
        assert!(matches!(&read[0].secret, Secret::TokenHash(hash) if hash[..2] == [0x9f, 0x86]));
        assert_eq!((read[1].may_act, &read[1].secret), (true, &Secret::SigningKey((0..32).collect())));
    }

    #[test]
    fn every_broken_rule_is_told_at_once_and_no_secret_is_quoted() {
        let text =
            format!("a b:ask:sha256={HASH},ci:write:hmac=beef,x:act:sha256={HASH}0,y:ask,,z:ask:md5=1");
        let rules = callers(&text).unwrap_err();
        let told = rules.join("\n");
        for word in ["entry 1: name", "entry 2: may", "entry 2: hmac", "entry 3: sha256", "entry 4: needs"] {
            assert!(told.contains(word), "{word}: {told}");
        }
        assert!(told.contains("entry 5") && told.contains("entry 6: needs"), "{told}");
        assert!(!told.contains("beef") && !told.contains(&HASH[..8]), "{told}");
    }

    #[test]
    fn names_and_secrets_are_each_callers_own() {
        let twice = format!("a:ask:sha256={HASH},a:act:hmac={KEY},b:act:sha256={HASH}");
        let rules = callers(&twice).unwrap_err();
        assert!(rules[0].contains("entry 2 has the name") && rules[1].contains("entry 3 has the secret"));
    }

    #[test]
    fn json_that_is_no_list_of_callers_is_refused() {
        for text in ["[", "[1]", r#"[{"name":"a","may":"ask"}]"#, r#"[{"name":1}]"#] {
            assert!(callers(text).is_err(), "{text}");
        }
        let both = format!(r#"[{{"name":"a","may":"ask","sha256":"{HASH}","hmac":"{KEY}"}}]"#);
        assert!(callers(&both).is_err());
        let more = format!(r#"[{{"name":"a","may":"ask","sha256":"{HASH}","token":"s3cret"}}]"#);
        let rules = callers(&more).unwrap_err();
        assert!(rules[0].contains("unknown keys") && !rules[0].contains("s3cret"), "{rules:?}");
        let many = vec![format!("a:ask:sha256={HASH}"); CALLERS_MAX + 1].join(",");
        assert!(callers(&many).unwrap_err()[0].contains("at most"));
    }

    #[test]
    fn a_secret_prints_its_kind_alone() {
        let printed = format!("{:?}", callers(&format!("ci:act:hmac={KEY},f:ask:sha256={HASH}")).unwrap());
        assert!(printed.contains("SigningKey(..)") && printed.contains("TokenHash(..)"), "{printed}");
        assert!(!printed.contains("159") && !printed.contains("31"), "{printed}");
    }

    #[test]
    fn hex_is_read_in_both_cases_and_nothing_else() {
        assert_eq!(from_hex("00fFa1"), Some(vec![0, 255, 161]));
        assert_eq!(from_hex(""), Some(vec![]));
        for wrong in ["0", "0g", "+1", "é", " 0"] {
            assert_eq!(from_hex(wrong), None, "{wrong}");
        }
    }
}
