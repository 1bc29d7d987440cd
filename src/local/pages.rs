//! Pages without SNS. A page that was not taken stays in its record's outbox, and the next tick tries again.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::ports::{Failure, FailureKind, Message};

const STDERR: &str = "page to standard error";
const COMMAND: &str = "page to a command";
/// A tick has other things to do; as long as a call of AWS may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(12);
/// Bytes of what a command that failed said.
const SAID_MAX: usize = 300;

/// Where pages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pages {
    /// The cloud's pager.
    Cloud,
    /// One JSON object a line on standard error: somebody must watch that.
    Stderr,
    /// A shell command, started for each page with the JSON object on its standard input. It has taken the page if
    /// it ends with status 0.
    Command(String),
}

/// A page as one line of JSON, with the numbers as machines get them (infra/page.schema.json).
fn line(message: &Message) -> String {
    let attributes: BTreeMap<&str, &str> =
        message.attributes.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let numbers = message.forms.iter().find(|(protocol, _)| *protocol == "sqs");
    let numbers = numbers.and_then(|(_, text)| serde_json::from_str::<Value>(text).ok());
    let page = json!({
        "subject": message.subject,
        "body": message.body,
        "attributes": attributes,
        "numbers": numbers,
    });
    format!("{page}\n")
}

fn failure(
    operation: &'static str,
    kind: FailureKind,
    detail: String,
    source: Option<std::io::Error>,
) -> Failure {
    Failure { operation, kind, detail, source: source.map(Into::into) }
}

pub(super) fn write(message: &Message) -> Result<(), Failure> {
    let mut out = std::io::stderr().lock();
    let written = out.write_all(line(message).as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| failure(STDERR, FailureKind::Unavailable, error.to_string(), Some(error)))
}

pub(super) async fn hand_to(command: &str, message: &Message, patience: Duration) -> Result<(), Failure> {
    match tokio::time::timeout(patience, carry_out(command, &line(message))).await {
        Ok(done) => done,
        Err(_) => {
            let detail = format!("the command did not end within {} s and was killed", patience.as_secs());
            Err(failure(COMMAND, FailureKind::TimedOut, detail, None))
        }
    }
}

async fn carry_out(command: &str, page: &str) -> Result<(), Failure> {
    let broken = |what: &str, error: std::io::Error| {
        failure(COMMAND, FailureKind::Unavailable, format!("{what}: {error}"), Some(error))
    };
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| broken("sh can't be started", error))?;
    let mut input = child.stdin.take();
    let give = async {
        // A command that does not read its input may have ended already; its status says what it made of the page.
        if let Some(mut input) = input.take() {
            let _ = input.write_all(page.as_bytes()).await;
        }
    };
    let (output, ()) = futures_util::future::join(child.wait_with_output(), give).await;
    let output = output.map_err(|error| broken("the command can't be waited for", error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: String = said.trim().chars().take(SAID_MAX).collect();
    let detail = format!("the command ended with {}: {said}", output.status);
    Err(failure(COMMAND, FailureKind::Unavailable, detail, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message {
            subject: "checkout: drained".to_owned(),
            body: "Errors 2.1 %\nagainst 0.3 %".to_owned(),
            forms: vec![("sms", "drained".to_owned()), ("sqs", r#"{"event":"drained"}"#.to_owned())],
            attributes: vec![("event", "drained".to_owned())],
        }
    }

    #[test]
    fn a_page_is_one_line_with_all_of_it() {
        let line = line(&message());
        assert_eq!(line.lines().count(), 1);
        let page: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(page["body"], json!("Errors 2.1 %\nagainst 0.3 %"));
        assert_eq!(page["attributes"]["event"], json!("drained"));
        assert_eq!(page["numbers"]["event"], json!("drained"));
    }

    #[cfg(unix)]
    mod commands {
        use super::*;

        #[tokio::test]
        async fn a_command_gets_the_page_and_says_whether_it_took_it() {
            let file = std::env::temp_dir().join(format!("canary-gate-page-{}", std::process::id()));
            hand_to(&format!("cat > '{}'", file.display()), &message(), PATIENCE).await.unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), line(&message()));
            std::fs::remove_file(&file).unwrap();
            hand_to("exit 0", &message(), PATIENCE).await.expect("it need not read it");
            let failed = hand_to("echo no network >&2; exit 3", &message(), PATIENCE).await.unwrap_err();
            assert_eq!(failed.kind, FailureKind::Unavailable);
            assert!(failed.detail.contains("no network") && failed.detail.contains('3'), "{failed}");
            let failed = hand_to("canary-gate-no-such-command", &message(), PATIENCE).await.unwrap_err();
            assert!(failed.detail.contains("127"), "{failed}");
        }

        #[tokio::test]
        async fn a_command_that_hangs_is_killed() {
            let failed = hand_to("exec sleep 600", &message(), Duration::from_millis(50)).await.unwrap_err();
            assert_eq!(failed.kind, FailureKind::TimedOut);
        }
    }
}
