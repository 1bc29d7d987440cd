//! From the SDK's errors to [`Failure`]. An SDK error's `Display` is just "service error": the code, the
//! message and the request id are taken out of it here, once for all services.
//!
//! The kind follows from the modelled error code, never from the message, whose text AWS may change.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::RequestId;

use crate::ports::{Failure, FailureKind};

/// Characters of [`Failure::detail`]: a line in a log or a page, not a dump.
const DETAIL_LIMIT: usize = 300;

/// A failed call of the SDK.
pub(super) fn failure<E>(operation: &'static str, error: SdkError<E>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let kind = kind_of(&error);
    let detail = detail_of(&error);
    Failure { operation, kind, detail, source: Some(Box::new(error)) }
}

/// A failure that no SDK error stands behind.
pub(super) fn plain(operation: &'static str, kind: FailureKind, detail: impl AsRef<str>) -> Failure {
    Failure { operation, kind, detail: one_line(detail.as_ref(), DETAIL_LIMIT), source: None }
}

/// The same failure for another request of the same call. The cause stays with the original; its text is
/// in the detail.
pub(super) fn again(failure: &Failure) -> Failure {
    Failure { detail: failure.detail.clone(), source: None, ..*failure }
}

fn kind_of<E: ProvideErrorMetadata>(error: &SdkError<E>) -> FailureKind {
    match error {
        SdkError::TimeoutError(_) => FailureKind::TimedOut,
        SdkError::DispatchFailure(dispatch) if dispatch.is_timeout() => FailureKind::TimedOut,
        SdkError::DispatchFailure(dispatch) if dispatch.is_user() => FailureKind::Malformed,
        SdkError::ConstructionFailure(_) | SdkError::ResponseError(_) => FailureKind::Malformed,
        SdkError::ServiceError(service) => {
            classify(service.err().code().unwrap_or_default(), service.raw().status().as_u16())
        }
        _ => FailureKind::Unavailable,
    }
}

/// Codes that mean "not allowed" and do not begin with one of [`DENIED_PREFIXES`].
const DENIED: [&str; 13] = [
    "AuthFailure",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "OperationNotPermitted",
    "OptInRequired",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];
const DENIED_PREFIXES: [&str; 7] = [
    "AccessDenied",
    "AuthorizationError",
    "ExpiredToken",
    "KMSAccessDenied",
    "KMSOptIn",
    "NotAuthorized",
    "Unauthorized",
];
const THROTTLED_PREFIXES: [&str; 6] = [
    "BandwidthLimitExceeded",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceeded",
    "RequestLimitExceeded",
    "SlowDown",
    "TooManyRequests",
];
const CONFLICT_PREFIXES: [&str; 3] =
    ["ConditionalCheckFailed", "ReplicatedWriteConflict", "TransactionConflict"];
/// The request can never succeed as it is.
const MALFORMED_PREFIXES: [&str; 12] = [
    "IncompatibleProtocols",
    "Invalid",
    "ItemCollectionSizeLimitExceeded",
    "Malformed",
    "Missing",
    "Serialization",
    "TargetGroupAssociationLimit",
    // Throttling, too, begins with "TooMany", and is asked for before.
    "TooMany",
    "UnknownOperation",
    "Unsupported",
    "Validation",
    "AlpnPolicyNotSupported",
];

/// The kind that an error code stands for; the HTTP status decides where AWS sent none.
fn classify(code: &str, status: u16) -> FailureKind {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| code.starts_with(prefix));
    if code.contains("Throttl") || begins(&THROTTLED_PREFIXES) {
        FailureKind::Throttled
    } else if DENIED.contains(&code) || begins(&DENIED_PREFIXES) {
        FailureKind::Denied
    } else if code.ends_with("NotFound") || code.ends_with("NotFoundException") {
        FailureKind::NotFound
    } else if begins(&CONFLICT_PREFIXES) {
        FailureKind::Conflict
    } else if code.starts_with("RequestTimeout") {
        FailureKind::TimedOut
    } else if begins(&MALFORMED_PREFIXES) {
        FailureKind::Malformed
    } else {
        match status {
            401 | 403 => FailureKind::Denied,
            408 => FailureKind::TimedOut,
            429 => FailureKind::Throttled,
            _ => FailureKind::Unavailable,
        }
    }
}

/// Code and message if the service spoke, the chain of causes if nobody did.
fn detail_of<E>(error: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let text = match error {
        SdkError::ServiceError(service) => match (service.err().code(), service.err().message()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(code), None) => code.to_owned(),
            (None, message) => {
                format!("HTTP {}: {}", service.raw().status().as_u16(), message.unwrap_or("no message"))
            }
        },
        other => chain(other),
    };
    let in_meta = |e: &E| e.meta().request_id().map(str::to_owned);
    let id = error.request_id().map(str::to_owned).or_else(|| error.as_service_error().and_then(in_meta));
    // The request id is what AWS support asks for first: it is never cut off.
    let id = id.map(|id| format!(" (request id {id})")).unwrap_or_default();
    one_line(&text, DETAIL_LIMIT.saturating_sub(id.chars().count())) + &id
}

/// An error and its causes, each told once: many layers repeat what the one below says.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = next.source();
    }
    text
}

/// One line of at most `limit` characters.
pub(super) fn one_line(text: &str, limit: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= limit {
        return line;
    }
    line.chars().take(limit.saturating_sub(3)).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_dynamodb::config::http::HttpResponse;
    use aws_sdk_dynamodb::error::{ConnectorError, ErrorMetadata};
    use aws_sdk_dynamodb::operation::query::QueryError;

    #[test]
    fn codes_are_sorted_into_kinds() {
        use FailureKind::{Conflict, Denied, Malformed, NotFound, Throttled, TimedOut, Unavailable};
        let cases = [
            ("Throttling", Throttled),
            ("ThrottlingException", Throttled),
            ("KMSThrottling", Throttled),
            ("RequestLimitExceeded", Throttled),
            ("TooManyRequestsException", Throttled),
            ("ProvisionedThroughputExceededException", Throttled),
            ("AccessDenied", Denied),
            ("AccessDeniedException", Denied),
            ("UnauthorizedOperation", Denied),
            ("ExpiredTokenException", Denied),
            ("InvalidClientTokenId", Denied),
            ("AuthorizationError", Denied),
            ("OperationNotPermitted", Denied),
            ("RuleNotFound", NotFound),
            ("TargetGroupNotFound", NotFound),
            ("ResourceNotFoundException", NotFound),
            ("NotFound", NotFound),
            ("ConditionalCheckFailedException", Conflict),
            ("TransactionConflictException", Conflict),
            ("RequestTimeout", TimedOut),
            ("ValidationError", Malformed),
            ("ValidationException", Malformed),
            ("InvalidParameter", Malformed),
            ("InvalidLoadBalancerAction", Malformed),
            ("TooManyActions", Malformed),
            ("InternalFailure", Unavailable),
            ("KMSDisabled", Unavailable),
            ("", Unavailable),
        ];
        for (code, kind) in cases {
            assert_eq!(classify(code, 400), kind, "{code}");
        }
        assert_eq!(classify("", 403), Denied);
        assert_eq!(classify("", 429), Throttled);
        assert_eq!(classify("", 503), Unavailable);
    }

    #[test]
    fn failures_before_any_answer_keep_their_cause() {
        type Error = SdkError<QueryError>;
        let silent = failure("dynamodb Query", Error::timeout_error("too slow"));
        assert_eq!(silent.kind, FailureKind::TimedOut);
        let refused = Error::dispatch_failure(ConnectorError::io("connection refused".into()));
        let refused = failure("dynamodb Query", refused);
        assert_eq!(refused.kind, FailureKind::Unavailable);
        assert!(refused.detail.contains("connection refused"), "{}", refused.detail);
        assert!(refused.source.is_some());
        let unsent = failure("dynamodb Query", Error::construction_failure("no table name"));
        assert_eq!(unsent.kind, FailureKind::Malformed);
        let slow = Error::dispatch_failure(ConnectorError::timeout("no connection".into()));
        assert_eq!(failure("dynamodb Query", slow).kind, FailureKind::TimedOut);
    }

    #[test]
    fn a_copy_says_the_same() {
        let original = plain("elbv2 DescribeRules", FailureKind::Throttled, "Rate\nexceeded");
        assert_eq!(again(&original).to_string(), original.to_string());
        assert_eq!(original.detail, "Rate exceeded");
    }

    #[test]
    fn what_the_service_said_is_told_with_its_request_id() {
        let said = |message: &str| {
            let meta = ErrorMetadata::builder().code("ThrottlingException").message(message).build();
            let mut response = HttpResponse::new(400.try_into().unwrap(), "".into());
            response.headers_mut().insert("x-amzn-requestid", "abc-1");
            failure("dynamodb Query", SdkError::service_error(QueryError::generic(meta), response))
        };
        let short = said("Rate\n exceeded");
        assert_eq!(
            short.to_string(),
            "dynamodb Query: throttled: ThrottlingException: Rate exceeded (request id abc-1)"
        );
        assert!(short.source.is_some());
        let long = said(&"x".repeat(1000));
        assert_eq!(long.detail.chars().count(), DETAIL_LIMIT);
        assert!(long.detail.ends_with("... (request id abc-1)"), "{}", long.detail);
    }
}
