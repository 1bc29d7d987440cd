//! For chat: Amazon Q Developer's custom notification, which it shows in Slack and Teams.
//!
//! It is read over HTTPS, so it also is what other subscribers of that protocol get: those find the numbers in
//! `metadata.additionalContext`, which nobody sees in chat and which custom actions can use.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{COMPARED_MAX, Facts, NAME_MAX, clipped, text, words};

/// Slack shows no longer texts.
const DESCRIPTION_MAX: usize = 2_800;
const TITLE_MAX: usize = 200;
const STEP_MAX: usize = 600;
/// Checks that a reader of chat is told of.
const CHECKS_TOLD: usize = 4;
/// Values of a custom action's variables at most.
const CONTEXT_MAX: usize = 1_000;

pub(super) fn notification(facts: &Facts<'_>) -> Value {
    let (record, page) = (facts.record, facts.page);
    let targets = &record.plan.targets;
    let mut steps = vec![facts.to_do()];
    steps.extend(words::commands(record, page.kind).iter().map(|command| format!("`{command}`")));
    steps.push(format!("Runbook: {}", facts.runbook()));
    let steps: Vec<String> = steps.iter().map(|step| clipped(&escaped(step), STEP_MAX)).collect();
    let resources: Vec<&String> = [&targets.listener_rule, &targets.stable, &targets.canary]
        .into_iter()
        .filter(|name| name.starts_with("arn:"))
        .collect();
    json!({
        "version": "1.0",
        "source": "custom",
        "id": page.key,
        "content": {
            "textType": "client-markdown",
            "title": clipped(&escaped(&facts.title()), TITLE_MAX),
            "description": description(facts),
            "nextSteps": steps,
            "keywords": [page.severity.name(), page.kind.name(), record.id()],
        },
        "metadata": {
            // One thread for each rollout, reminders and its end included.
            "threadId": format!("{}/{}", record.id(), record.started.at),
            "summary": facts.subject(),
            "eventType": page.kind.name(),
            "relatedResources": resources,
            "additionalContext": context(facts),
            "enableCustomActions": true,
        },
    })
}

/// `&`, `<` and `>` make links and mentions in Slack; an error of another system must not call the whole channel.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn description(facts: &Facts<'_>) -> String {
    let mut said = format!("*{}*\n", clipped(&escaped(&facts.why()), 800));
    let _ = writeln!(said, "{}", escaped(&facts.done()));
    if let Some(judgement) = &facts.page.judgement {
        let (checks, _) = facts.checks();
        for check in checks.iter().take(CHECKS_TOLD) {
            let _ = writeln!(said, "\u{2022} {}", escaped(&clipped(&check.compared(), COMPARED_MAX)));
        }
        let _ = writeln!(said, "\u{2022} evidence: {}", text::evidence(facts, judgement));
        let _ = writeln!(said, "\u{2022} exposure: {}", text::exposure(judgement));
    }
    // A part is left out whole: half a code block or link would spoil the rest.
    let mut add = |part: String| {
        if said.chars().count() + part.chars().count() <= DESCRIPTION_MAX {
            said += &part;
        }
    };
    for chart in facts.charts() {
        add(format!("{}\n```\n{}\n```\n", escaped(&chart.title), chart.lines.join("\n")));
    }
    for link in facts.first_links() {
        add(format!("{}: {}\n", link.name, link.url));
    }
    let end = said.char_indices().nth(DESCRIPTION_MAX).map_or(said.len(), |(end, _)| end);
    said[..end].trim_end().to_owned()
}

/// The numbers, flat and as text: the schema allows nothing else.
fn context(facts: &Facts<'_>) -> Value {
    let (record, page) = (facts.record, facts.page);
    let mut context = Map::new();
    let mut put = |key: &str, value: String| {
        context.insert(key.to_owned(), json!(clipped(&value, CONTEXT_MAX)));
    };
    put("key", page.key.clone());
    put("rollout", record.id().to_owned());
    put("event", page.kind.name().to_owned());
    put("severity", page.severity.name().to_owned());
    put("reminder", page.reminder.to_string());
    put("at", page.at.to_string());
    put("why", facts.why());
    put("mode", facts.mode().to_owned());
    put("phase", record.phase.name().to_owned());
    put("share_percent", page.share.percent().to_string());
    put("runbook", facts.runbook());
    if let Some(cause) = facts.cause() {
        put("cause", cause.to_owned());
    }
    if let Some(judgement) = &page.judgement {
        put("verdict", judgement.verdict.name().to_owned());
        put("reason", judgement.reason.code().to_owned());
        put("log_e_harm", format!("{:.4}", judgement.log_e_harm));
        put("log_e_convicts", format!("{:.4}", record.plan.rules.ln_convict()));
        put("exposure_minutes", judgement.blast.minutes.to_string());
        put("exposure_requests", judgement.blast.requests.to_string());
        put("exposure_excess_errors", format!("{:.1}", judgement.blast.excess_bad));
        let (checks, _) = facts.checks();
        for (place, check) in (1..).zip(checks.iter().take(CHECKS_TOLD)) {
            put(&format!("check_{place}"), clipped(&check.name, NAME_MAX));
            for (arm, tally) in [("canary", check.canary), ("stable", check.stable)] {
                put(&format!("check_{place}_{arm}_bad"), tally.bad.to_string());
                put(&format!("check_{place}_{arm}_total"), tally.total.to_string());
                put(&format!("check_{place}_{arm}_percent"), format!("{:.4}", tally.rate() * 100.0));
            }
        }
    }
    Value::Object(context)
}
