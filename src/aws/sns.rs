//! Pages through SNS.

use aws_sdk_sns::operation::publish::PublishError;
use aws_sdk_sns::types::MessageAttributeValue;

use super::AwsPlatform;
use super::failure::failure;
use crate::ports::{Failure, Message, Pager};

/// Bytes of a page's text. SNS takes 256 KiB for text, subject and attributes together.
const BODY_LIMIT: usize = 250_000;
/// Characters of a subject: SNS takes fewer than 100.
const SUBJECT_LIMIT: usize = 99;
const CUT: &str = "\n[cut: the page was longer than SNS takes]";

impl Pager for AwsPlatform {
    /// SNS refuses a whole page for a flaw in its subject, and a page without a subject is better than none:
    /// what was refused as `InvalidParameter` is sent once more without it.
    async fn page(&self, message: &Message) -> Result<(), Failure> {
        let subject = subject(&message.subject);
        match self.publish(message, subject.clone()).await {
            Err(error) if subject.is_some() && is_invalid_parameter(error.as_service_error()) => {
                tracing::warn!(subject, "page refused; sending it without its subject");
                self.publish(message, None).await
            }
            sent => sent,
        }
        .map_err(|error| failure("sns Publish", error))
    }
}

impl AwsPlatform {
    async fn publish(
        &self,
        message: &Message,
        subject: Option<String>,
    ) -> Result<(), aws_sdk_sns::error::SdkError<PublishError>> {
        let mut publish = self
            .sns
            .publish()
            .topic_arn(&self.settings.topic_arn)
            .set_subject(subject)
            .message(body(&message.body));
        // SNS refuses empty attribute values.
        for (name, value) in message.attributes.iter().filter(|(_, value)| !value.is_empty()) {
            let value = MessageAttributeValue::builder().data_type("String").string_value(value).build();
            match value {
                Ok(value) => publish = publish.message_attributes(*name, value),
                Err(error) => return Err(aws_sdk_sns::error::SdkError::construction_failure(error)),
            }
        }
        publish.send().await.map(|_| ())
    }
}

fn is_invalid_parameter(error: Option<&PublishError>) -> bool {
    matches!(
        error,
        Some(PublishError::InvalidParameterException(_) | PublishError::InvalidParameterValueException(_))
    )
}

/// Printable ASCII that begins with no blank and is short enough; `None` if nothing is left.
fn subject(text: &str) -> Option<String> {
    let ascii = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    let line: String = text.trim().chars().map(ascii).take(SUBJECT_LIMIT).collect();
    (!line.is_empty()).then_some(line)
}

/// The text, cut at a character's border if it is too long. SNS refuses an empty one.
fn body(text: &str) -> String {
    if text.is_empty() {
        return "(no text)".to_owned();
    }
    if text.len() <= BODY_LIMIT {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(BODY_LIMIT - CUT.len());
    format!("{}{CUT}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_made_fit_for_sns() {
        assert_eq!(subject("  [critical] api: drained\n").as_deref(), Some("[critical] api: drained"));
        assert_eq!(subject("a\tb\u{e9}\nc").as_deref(), Some("a?b??c"));
        assert_eq!(subject(&"x".repeat(300)).map(|s| s.len()), Some(99));
        assert_eq!(subject(" \n"), None);
    }

    #[test]
    fn long_bodies_are_cut_between_characters() {
        let long = "\u{20ac}".repeat(100_000);
        let sent = body(&long);
        assert!(sent.len() <= BODY_LIMIT && sent.len() > BODY_LIMIT - 4);
        assert!(sent.ends_with(CUT));
        assert_eq!(body("short"), "short");
        assert!(!body("").is_empty());
    }

    #[test]
    fn only_a_refused_parameter_is_tried_again() {
        use aws_sdk_sns::types::error::{InvalidParameterException, NotFoundException};
        let refused = PublishError::InvalidParameterException(InvalidParameterException::builder().build());
        assert!(is_invalid_parameter(Some(&refused)));
        let missing = PublishError::NotFoundException(NotFoundException::builder().build());
        assert!(!is_invalid_parameter(Some(&missing)));
        assert!(!is_invalid_parameter(None));
    }
}
