//! Pages through SNS.

use aws_sdk_sns::operation::publish::PublishError;
use aws_sdk_sns::types::MessageAttributeValue;

use super::AwsPlatform;
use super::failure::{failure, plain};
use crate::ports::{Failure, FailureKind, Home, Message, Pager};

const PUBLISH: &str = "sns Publish";

/// Bytes of a page's text. SNS takes 256 KiB for text, subject and attributes together.
const BODY_LIMIT: usize = 250_000;
/// Characters of a subject: SNS takes fewer than 100.
const SUBJECT_LIMIT: usize = 99;
const CUT: &str = "\n[cut: the page was longer than SNS takes]";

impl Pager for AwsPlatform {
    fn home(&self) -> Home {
        let topic_arn = Some(self.settings.topic_arn.clone()).filter(|topic| !topic.is_empty());
        Home { topic_arn, log_group: self.log_group.clone(), runbook: self.runbook.clone() }
    }

    /// SNS refuses a whole page for a flaw in one of its forms or in its subject, and a page that says less is
    /// better than none: what was refused as `InvalidParameter` is sent once more as plain text, and then
    /// without its subject.
    async fn page(&self, message: &Message) -> Result<(), Failure> {
        if self.settings.topic_arn.is_empty() {
            let why = "no topic is named here; the page waits for the next tick";
            return Err(plain(PUBLISH, FailureKind::Unavailable, why));
        }
        let subject = subject(&message.subject);
        let (forms, plain) = (Text::in_forms(message), Text::plain(&message.body));
        let less = [forms.is_some().then(|| subject.clone()), subject.is_some().then_some(None)];
        let mut sent = self.publish(message, forms.as_ref().unwrap_or(&plain), subject).await;
        for subject in less.into_iter().flatten() {
            match sent {
                Err(error) if is_invalid_parameter(error.as_service_error()) => {
                    let error = failure(PUBLISH, error);
                    tracing::warn!(subject = message.subject, %error, "page refused; sending less of it");
                    sent = self.publish(message, &plain, subject).await;
                }
                _ => break,
            }
        }
        sent.map_err(|error| failure(PUBLISH, error))
    }
}

/// What is published: one text for everybody, or one for each protocol in a JSON object.
struct Text {
    text: String,
    is_structured: bool,
}

impl Text {
    fn plain(text: &str) -> Self {
        Self { text: body(text), is_structured: false }
    }

    /// The text for everybody, and the forms for those who have one. `None` if it would be more than SNS takes.
    fn in_forms(message: &Message) -> Option<Self> {
        let mut forms: serde_json::Map<String, serde_json::Value> = message
            .forms
            .iter()
            .map(|(protocol, form)| ((*protocol).to_owned(), form.as_str().into()))
            .collect();
        forms.insert("default".to_owned(), body(&message.body).into());
        let text = serde_json::Value::Object(forms).to_string();
        (!message.forms.is_empty() && text.len() <= BODY_LIMIT).then_some(Self { text, is_structured: true })
    }
}

impl AwsPlatform {
    async fn publish(
        &self,
        message: &Message,
        text: &Text,
        subject: Option<String>,
    ) -> Result<(), aws_sdk_sns::error::SdkError<PublishError>> {
        let mut publish = self
            .sns()
            .publish()
            .topic_arn(&self.settings.topic_arn)
            .set_subject(subject)
            .set_message_structure(text.is_structured.then(|| "json".to_owned()))
            .message(&text.text);
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

    fn message(forms: Vec<(&'static str, String)>) -> Message {
        let attributes = vec![("severity", "critical".to_owned())];
        Message { subject: "s".to_owned(), body: "for \"people\"".to_owned(), forms, attributes }
    }

    #[test]
    fn each_protocol_has_its_form_and_the_rest_the_text() {
        let sent = Text::in_forms(&message(vec![("sqs", r#"{"a":1}"#.to_owned())])).unwrap();
        assert!(sent.is_structured);
        let forms: serde_json::Value = serde_json::from_str(&sent.text).unwrap();
        assert_eq!(forms, serde_json::json!({ "default": "for \"people\"", "sqs": "{\"a\":1}" }));
    }

    #[test]
    fn forms_that_are_too_long_or_not_there_leave_the_plain_text() {
        assert!(Text::in_forms(&message(Vec::new())).is_none());
        assert!(Text::in_forms(&message(vec![("sqs", "\"".repeat(BODY_LIMIT / 2))])).is_none());
        let plain = Text::plain("for people");
        assert_eq!((plain.text.as_str(), plain.is_structured), ("for people", false));
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
