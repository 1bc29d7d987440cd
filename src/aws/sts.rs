//! Roles of other accounts: each is assumed once for all that is done with it, and kept until it is about to expire.
//!
//! Nothing in here is made or sent while no rollout has a role.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_sdk_sts::config::{Credentials, SharedCredentialsProvider};
use futures_util::lock::Mutex;

use super::cloudwatch::CloudWatch;
use super::elb::Balancers;
use super::failure::{again, failure, plain};
use crate::ports::{Failure, FailureKind};
use crate::rollout::plan::Targets;

/// What is called, as its failures name it.
pub(super) const ASSUME_ROLE: &str = "sts AssumeRole";
/// Credentials are renewed so long before they expire: if the first tries fail, others come before it is too late.
const RENEWED_BEFORE: Duration = Duration::from_secs(5 * 60);
/// Too short a rest for one more call with all its attempts ([`super::OPERATION_TIMEOUT`]).
const LEAST_LEFT: Duration = Duration::from_secs(30);
/// For so long a role that could not be assumed is not asked for again: all that one tick reads and writes with it fails
/// at once, and the next tick asks anew.
const REFUSED_FOR: Duration = Duration::from_secs(20);
/// Characters of a session's name, by AWS's limit.
const SESSION_CHARS: usize = 64;

/// The roles of one installation, and what it is called in the other accounts' logs.
#[derive(Debug, Clone)]
pub(super) struct Roles {
    base: SdkConfig,
    session: String,
    known: Arc<Lock<HashMap<String, Role>>>,
}

/// What is known of a role, which one at a time finds out.
type Role = Arc<Mutex<Assumed<Clients>>>;

/// What acts by a role, or by the function's own rights.
#[derive(Debug, Clone)]
pub(super) struct Clients {
    /// What they were made from; `None` for the function's own rights.
    pub(super) config: Option<SdkConfig>,
    /// Reads metrics.
    pub(super) cloudwatch: CloudWatch,
    /// Reads and writes weights.
    pub(super) balancers: Balancers,
}

/// What is known of a role.
#[derive(Debug)]
struct Assumed<T> {
    /// What acts by it, and until when its credentials are good.
    good: Option<(T, SystemTime)>,
    /// Why it could not be assumed, and when that was.
    refused: Option<(Failure, SystemTime)>,
}

impl<T> Default for Assumed<T> {
    fn default() -> Self {
        Self { good: None, refused: None }
    }
}

impl Roles {
    /// Nothing is sent.
    pub(super) fn new(base: &SdkConfig, table: &str) -> Self {
        let session = ["canary-gate", table].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
        let session = session.join("-").chars().take(SESSION_CHARS).collect();
        Self { base: base.clone(), session, known: Arc::default() }
    }

    /// What acts by a role. Of all who ask at the same time, one assumes it and the others wait.
    pub(super) async fn assume(&self, role_arn: &str) -> Result<Clients, Failure> {
        let role = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(known.entry(role_arn.to_owned()).or_default())
        };
        let mut role = role.lock().await;
        let now = SystemTime::now();
        if let Some(answer) = role.known(now) {
            return answer;
        }
        match self.ask(role_arn).await {
            Ok((credentials, until)) => {
                let provider = SharedCredentialsProvider::new(credentials);
                let config = self.base.to_builder().credentials_provider(provider).build();
                let clients = Clients {
                    cloudwatch: CloudWatch::new(&config),
                    balancers: Balancers::new(&config),
                    config: Some(config),
                };
                *role = Assumed { good: Some((clients.clone(), until)), refused: None };
                Ok(clients)
            }
            Err(failure) => {
                role.refused = Some((again(&failure), now));
                match &role.good {
                    Some((clients, until)) if *until > now + LEAST_LEFT => {
                        tracing::warn!(role_arn, error = %failure, "credentials not renewed; the old ones still do");
                        Ok(clients.clone())
                    }
                    _ => Err(failure),
                }
            }
        }
    }

    /// Credentials, and until when they are good.
    async fn ask(&self, role_arn: &str) -> Result<(Credentials, SystemTime), Failure> {
        let sts = aws_sdk_sts::Client::new(&self.base);
        let asked = sts.assume_role().role_arn(role_arn).role_session_name(&self.session).send().await;
        let answer = asked.map_err(|error| explained(failure(ASSUME_ROLE, error), role_arn))?;
        let malformed =
            |what: &str| plain(ASSUME_ROLE, FailureKind::Malformed, format!("{what} for {role_arn}"));
        let found = answer.credentials.ok_or_else(|| malformed("no credentials in the answer"))?;
        let until = SystemTime::try_from(found.expiration)
            .map_err(|error| malformed(&format!("no expiry that makes sense ({error})")))?;
        let (id, secret, token) = (found.access_key_id, found.secret_access_key, found.session_token);
        Ok((Credentials::new(id, secret, Some(token), Some(until), "AssumeRole"), until))
    }
}

impl<T: Clone> Assumed<T> {
    /// What is to be answered without asking.
    fn known(&self, now: SystemTime) -> Option<Result<T, Failure>> {
        let recently = |at: SystemTime| now.duration_since(at).is_ok_and(|since| since < REFUSED_FOR);
        let refused = self.refused.as_ref().filter(|(_, at)| recently(*at));
        match &self.good {
            Some((it, until)) if *until > now + RENEWED_BEFORE => Some(Ok(it.clone())),
            // To renew it has just failed.
            Some((it, until)) if refused.is_some() && *until > now + LEAST_LEFT => Some(Ok(it.clone())),
            _ => refused.map(|(failure, _)| Err(again(failure))),
        }
    }
}

/// Items of one role, by their places among all.
pub(super) struct OfRole<'a> {
    /// The role; `None` for the function's own rights.
    pub(super) role: Option<&'a str>,
    /// In rising order.
    places: Vec<usize>,
}

impl OfRole<'_> {
    /// The items.
    pub(super) fn of<'i, T>(&self, items: &'i [T]) -> Vec<&'i T> {
        self.places.iter().map(|at| &items[*at]).collect()
    }
}

/// What is asked for together: never by two roles, and by one role all at once.
pub(super) fn by_role<'a>(targets: impl Iterator<Item = &'a Targets>) -> Vec<OfRole<'a>> {
    let mut of_roles: BTreeMap<Option<&str>, Vec<usize>> = BTreeMap::new();
    for (at, targets) in targets.enumerate() {
        of_roles.entry(targets.role_arn.as_deref()).or_default().push(at);
    }
    of_roles.into_iter().map(|(role, places)| OfRole { role, places }).collect()
}

/// The answers, in the order of the items.
pub(super) fn in_order<A>(of_roles: &[OfRole<'_>], answers: Vec<Vec<A>>) -> Vec<A> {
    let places = of_roles.iter().flat_map(|of_role| &of_role.places);
    let mut placed: Vec<(&usize, A)> = places.zip(answers.into_iter().flatten()).collect();
    placed.sort_by_key(|(at, _)| **at);
    placed.into_iter().map(|(_, answer)| answer).collect()
}

/// Which role it was, and what to do about it. AWS says the same of a role that does not exist, that does not trust the
/// caller, and that the caller may not assume.
fn explained(failed: Failure, role_arn: &str) -> Failure {
    let what = match failed.kind {
        FailureKind::Denied => {
            "; the role must exist and trust who asks, who must be allowed sts:AssumeRole on it (docs/iam.md)"
        }
        _ => "",
    };
    Failure { detail: format!("{role_arn}: {}{what}", failed.detail), ..failed }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: &str = "arn:aws:iam::123456789012:role/canary-gate";

    fn config() -> SdkConfig {
        SdkConfig::builder().behavior_version(aws_config::BehaviorVersion::v2026_01_12()).build()
    }

    #[test]
    fn a_session_is_named_after_its_installation_and_never_too_long() {
        let session = |table: &str| Roles::new(&config(), table).session;
        assert_eq!((session("").as_str(), session("gate").as_str()), ("canary-gate", "canary-gate-gate"));
        assert_eq!(session(&"x".repeat(255)).len(), SESSION_CHARS);
    }

    #[test]
    fn credentials_are_renewed_in_time_and_kept_while_that_fails() {
        let now = SystemTime::now();
        let refused = |ago: u64| {
            let failure = plain(ASSUME_ROLE, FailureKind::Throttled, "Throttling");
            Some((failure, now - Duration::from_secs(ago)))
        };
        let good = |left: u64| Some(((), now + Duration::from_secs(left)));
        let known = |good, refused| Assumed { good, refused }.known(now).map(|answer| answer.is_ok());
        assert_eq!(known(None, None), None, "nothing is known: ask");
        assert_eq!(known(good(3_600), None), Some(true));
        assert_eq!(known(good(301), None), Some(true));
        assert_eq!(known(good(300), None), None, "renewed five minutes before");
        assert_eq!(known(good(300), refused(5)), Some(true), "the old ones still do");
        assert_eq!(known(good(300), refused(20)), None, "asked again");
        assert_eq!(known(good(30), refused(5)), Some(false), "too late");
        assert_eq!(known(None, refused(19)), Some(false));
        assert_eq!(known(None, refused(20)), None);
    }

    #[test]
    fn roles_are_asked_for_apart_and_answers_come_back_in_order() {
        let of = |role: Option<&str>| Targets {
            role_arn: role.map(str::to_owned),
            ..Targets::of_function("pay", "live", "1", "2")
        };
        let targets = [of(Some("b")), of(None), of(Some("a")), of(Some("b")), of(None)];
        let of_roles = by_role(targets.iter());
        assert_eq!(of_roles.iter().map(|one| one.role).collect::<Vec<_>>(), [None, Some("a"), Some("b")]);
        let places: Vec<usize> = (0..targets.len()).collect();
        let answers = of_roles.iter().map(|one| one.of(&places)).collect();
        assert_eq!(in_order(&of_roles, answers), places.iter().collect::<Vec<_>>());
        assert!(by_role([].iter()).is_empty());
    }

    #[test]
    fn a_refusal_names_the_role_and_says_what_to_do() {
        let denied = explained(plain(ASSUME_ROLE, FailureKind::Denied, "AccessDenied: no"), ROLE).to_string();
        assert!(
            denied.starts_with(&format!(
                "sts AssumeRole: denied: {ROLE}: AccessDenied: no; the role must exist"
            ))
        );
        let slow = explained(plain(ASSUME_ROLE, FailureKind::TimedOut, "too slow"), ROLE).to_string();
        assert_eq!(slow, format!("sts AssumeRole: timed out: {ROLE}: too slow"));
    }
}
