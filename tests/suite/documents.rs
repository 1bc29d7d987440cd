//! The documents say what the code does: no page kind, code, parameter or right is missing in them, and none is there
//! that does not exist. What is made from code is what the code makes today.
//!
//! `CANARY_GATE_WRITE_DOCS=1 cargo test --test suite documents` writes the parts that are made.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use canary_gate::analysis::verdict::Reason;
use canary_gate::handler::life;
use canary_gate::rollout::record::PageKind;
use serde_json::{Value, json};

use crate::command_line::{err, out, run, status};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn set<T: Into<String>>(items: impl IntoIterator<Item = T>) -> BTreeSet<String> {
    items.into_iter().map(Into::into).collect()
}

/// What stands between two marks.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let start = text.find(from).unwrap_or_else(|| panic!("no {from:?}")) + from.len();
    let length = text[start..].find(to).unwrap_or_else(|| panic!("no {to:?} after {from:?}"));
    &text[start..start + length]
}

/// The names of an enum's variants, as serde lists them for whoever asks for one that is not there: derived, so that
/// none can be forgotten.
fn variants(refusal: &str) -> BTreeSet<String> {
    let listed = refusal.split("expected one of ").nth(1).unwrap_or_else(|| panic!("no list in {refusal}"));
    let names = listed.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
    assert!(names.len() > 5, "{names:?}");
    names
}

fn page_kinds() -> BTreeSet<String> {
    let refusal = serde_json::from_value::<PageKind>(json!("?")).unwrap_err().to_string();
    let names = variants(&refusal);
    for name in &names {
        let kind: PageKind = serde_json::from_value(json!(name)).unwrap();
        assert_eq!(kind.name(), name, "a kind has one name");
    }
    names
}

fn reasons() -> BTreeSet<String> {
    let refusal = serde_json::from_value::<Reason>(json!({ "code": "?" })).unwrap_err().to_string();
    let names = variants(&refusal);
    for name in &names {
        let any = json!({
            "code": name, "check": "errors", "minute": "2026-03-01T10:00:00Z", "excess": 1, "budget": 1,
            "detail": "d", "minutes": 1, "minutes_left": 1, "expected": 5.0, "observed": 9.0, "arm": "canary",
            "have": 1, "need": 2,
        });
        let reason: Reason = serde_json::from_value(any).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(reason.code(), name, "a reason has one code");
    }
    names
}

/// The texts in a piece of source that look like a name.
fn names_in(source: &str, is_name: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let texts = source.split('"').skip(1).step_by(2);
    texts.filter(|text| is_name(text)).map(str::to_owned).collect()
}

/// The stable words of errors: what the two exhaustive matches answer.
fn error_types() -> BTreeSet<String> {
    let mut names = set([life::ERROR_TYPE]);
    for file in ["src/handler/mod.rs", "src/event/mod.rs"] {
        let source = read(file);
        let body = between(&source, "pub fn error_type(&self) -> &'static str {", "\n    }\n");
        let found = names_in(body, |text| text.chars().all(char::is_alphabetic));
        assert!(found.len() > 2, "{file}: {found:?}");
        names.extend(found);
    }
    names
}

/// The codes of a standing that are no reasons.
fn standing_codes() -> BTreeSet<String> {
    let source = read("src/rollout/standing.rs");
    let code = source.split("#[cfg(test)]").next().unwrap();
    let mut found = BTreeSet::new();
    for mark in ["(Answer::Pass, \"", "(Answer::Hold, \"", "(Answer::Fail, \"", "code: \""] {
        for rest in code.split(mark).skip(1) {
            found.insert(rest.split('"').next().unwrap().to_owned());
        }
    }
    assert!(found.len() > 10, "{found:?}");
    found
}

/// The alarms of a template, by their logical names.
fn alarms() -> BTreeSet<String> {
    let template = read("infra/alarms.yaml");
    let parts: Vec<&str> = template.split("    Type: AWS::CloudWatch::Alarm").collect();
    let name = |text: &str| text.trim_end().lines().last().unwrap().trim().trim_end_matches(':').to_owned();
    let found: BTreeSet<String> = parts[..parts.len() - 1].iter().map(|part| name(part)).collect();
    assert!(found.len() > 3, "{found:?}");
    found
}

/// The headings below a chapter, each with its section.
fn sections<'a>(text: &'a str, chapter: &str) -> Vec<(&'a str, &'a str)> {
    let chapter =
        text.split("\n## ").find(|part| part.starts_with(chapter)).unwrap_or_else(|| panic!("no {chapter}"));
    chapter.split("\n### ").skip(1).map(|section| section.split_once('\n').unwrap()).collect()
}

fn assert_same(what: &str, in_document: &BTreeSet<String>, in_code: &BTreeSet<String>) {
    let missing: Vec<_> = in_code.difference(in_document).collect();
    let unknown: Vec<_> = in_document.difference(in_code).collect();
    assert!(missing.is_empty(), "{what}: not in the document: {missing:?}");
    assert!(unknown.is_empty(), "{what}: in the document alone: {unknown:?}");
}

#[test]
fn the_runbook_has_every_page_reason_error_and_alarm_and_no_other() {
    let runbook = read("docs/runbook.md");
    let chapters: [(&str, &str, BTreeSet<String>); 4] = [
        ("Pages", "", page_kinds()),
        ("Reasons", "reason ", reasons()),
        ("Errors", "error ", error_types()),
        ("Alarms", "alarm ", alarms()),
    ];
    for (chapter, prefix, in_code) in chapters {
        let sections = sections(&runbook, chapter);
        let name = |(heading, _): &(&str, &str)| heading.strip_prefix(prefix).unwrap_or(heading).to_owned();
        let headings: Vec<String> = sections.iter().map(name).collect();
        assert_eq!(headings.len(), set(headings.clone()).len(), "{chapter}: a heading stands there twice");
        assert_same(chapter, &set(headings), &in_code);
        for (heading, section) in sections {
            for part in ["**Means.**", "**Done.**", "**Do.**", "**Prevent.**"] {
                assert_eq!(section.matches(part).count(), 1, "{heading}: {part}");
            }
        }
    }
    let answers = between(&runbook, "\n## Answers", "\n## ");
    let rows = answers.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    assert_same("Answers", &set(rows), &standing_codes());
}

#[test]
fn a_page_that_wakes_somebody_says_what_to_type() {
    let runbook = read("docs/runbook.md");
    for (heading, section) in sections(&runbook, "Pages") {
        let to_do = between(section, "**Do.**", "**Prevent.**");
        let kind: PageKind = serde_json::from_value(json!(heading)).unwrap();
        let says = ["canary-gate ", "aws ", "](#"].iter().any(|word| to_do.contains(word));
        assert!(says || kind == PageKind::GroupTakenOut, "{heading} names no command: {to_do}");
    }
}

/// Compares a made text with the document's, or writes it.
fn made(name: &str, now: &str) {
    if std::env::var_os("CANARY_GATE_WRITE_DOCS").is_some() {
        fs::write(path(name), now).unwrap();
    }
    let how = "CANARY_GATE_WRITE_DOCS=1 cargo test --test suite documents";
    assert!(fs::read_to_string(path(name)).is_ok_and(|there| there == now), "{name} is not today's: {how}");
}

#[test]
fn the_plans_reference_and_schema_are_what_the_code_makes() {
    made("docs/plan.md", &out(&run(&["schema", "--format", "markdown"])));
    made("infra/plan.schema.json", &out(&run(&["schema"])));
}

#[test]
fn the_cost_tables_are_what_the_command_answers() {
    let mut text = read("docs/cost.md");
    for region in ["us-east-1", "eu-west-1"] {
        let answer = run(&["cost", "--region", region]);
        assert_eq!(status(&answer), 0, "{}", err(&answer));
        let mark = format!("<!-- cost: {region} -->\n");
        let before = format!("{mark}{}<!-- end -->", between(&text, &mark, "<!-- end -->"));
        text = text.replace(&before, &format!("{mark}```text\n{}```\n<!-- end -->", out(&answer)));
    }
    made("docs/cost.md", &text);
}

/// The first column of a document's table between two marks, without the quotes.
fn column(text: &str, from: &str, to: &str) -> BTreeSet<String> {
    let rows = between(text, from, to).lines();
    set(rows.filter_map(|line| line.strip_prefix("| `")?.split('`').next()))
}

#[test]
fn every_parameter_of_the_template_is_explained_with_its_default() {
    let template = read("infra/template.yaml");
    let text = read("docs/deploy.md");
    let parameters = between(&template, "\nParameters:\n", "\nConditions:\n");
    let is_name = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    let names = set(parameters.lines().filter(is_name).map(|line| line.trim().trim_end_matches(':')));
    assert!(names.len() > 15, "{names:?}");
    assert_same("parameters", &column(&text, "<!-- parameters -->", "<!-- end of parameters -->"), &names);
    for name in &names {
        let own = lines_of(parameters, name);
        let default =
            own.lines().find_map(|line| line.trim().strip_prefix("Default: ")).expect("all have one");
        let said = text.lines().find(|line| line.starts_with(&format!("| `{name}` |"))).unwrap();
        let said = said.split('|').nth(2).unwrap().trim().trim_matches('`');
        let default = match default.trim_matches('\'') {
            "" => "empty",
            default => default,
        };
        assert_eq!(said, default, "the default of {name}");
    }
}

/// The lines of a parameter.
fn lines_of(parameters: &str, name: &str) -> String {
    let after = parameters.split(&format!("  {name}:\n")).nth(1).unwrap();
    after.lines().take_while(|line| line.starts_with("    ")).map(|line| format!("{line}\n")).collect()
}

/// All actions in a text, such as `sns:Publish`.
fn actions(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != ':' && c != '-');
    let is_action = |word: &&str| {
        word.split_once(':').is_some_and(|(service, action)| {
            let lower = |c: char| c.is_ascii_lowercase();
            service.len() > 2
                && service.chars().all(lower)
                && action.starts_with(|c: char| c.is_ascii_uppercase())
        })
    };
    set(words.filter(is_action))
}

/// What `doctor` looks at and the function does not.
const OF_DOCTOR: &str = "sns:GetTopicAttributes";

#[test]
fn every_right_of_the_role_is_explained_and_people_need_no_other() {
    let template = read("infra/template.yaml");
    let text = read("docs/iam.md");
    let role = between(&template, "PolicyName: canary-gate", "\n  Function:\n");
    let table = between(&text, "<!-- statements -->", "<!-- end of statements -->");
    let granted = actions(role);
    assert!(granted.len() > 10, "{granted:?}");
    assert_same("rights", &actions(table), &granted);
    let statements = set(role.split("Sid: ").skip(1).map(|rest| rest.lines().next().unwrap()));
    assert_same(
        "statements",
        &column(&text, "<!-- statements -->", "<!-- end of statements -->"),
        &statements,
    );
    // Each action in the row of its own statement.
    for statement in role.split("Sid: ").skip(1) {
        let sid = statement.lines().next().unwrap();
        let row = table.lines().find(|line| line.starts_with(&format!("| `{sid}` |"))).unwrap();
        let own = statement.split("Resource:").next().unwrap();
        assert_same(sid, &actions(row.split('|').nth(2).unwrap()), &actions(own));
    }
    let policies: Vec<Value> = text
        .split("```json\n")
        .skip(1)
        .map(|block| serde_json::from_str(block.split("```").next().unwrap()).unwrap())
        .collect();
    assert_eq!(policies.len(), 5);
    // The first is for callers of the URL, two for people, and then come trust and rights of a role of another account.
    assert_may_call_the_url_alone(&policies[0]);
    assert_eq!(actions(&policies[3].to_string()), set(["sts:AssumeRole"].into_iter()));
    let there = ["ReadMetrics", "ReadTraffic", "WriteRules"];
    let own = role.split("Sid: ").filter(|own| there.contains(&own.lines().next().unwrap()));
    let wanted = own.flat_map(|own| actions(own.split("Resource:").next().unwrap())).collect();
    assert_same("the role of another account", &actions(&policies[4].to_string()), &wanted);
    for policy in [&policies[1], &policies[2], &policies[4]] {
        let asked = actions(&policy.to_string());
        assert!(asked.len() > 1, "{asked:?}");
        let more: Vec<_> = asked.difference(&granted).filter(|action| *action != OF_DOCTOR).collect();
        assert!(more.is_empty(), "{more:?}");
    }
}

/// A URL needs both rights, and `InvokeFunction` without its condition would let them forge events.
fn assert_may_call_the_url_alone(policy: &Value) {
    let statements = policy["Statement"].as_array().unwrap();
    let asked: Vec<_> = statements.iter().map(|statement| statement["Action"].as_str().unwrap()).collect();
    assert_eq!(asked, ["lambda:InvokeFunctionUrl", "lambda:InvokeFunction"]);
    let by_the_url = json!({ "Bool": { "lambda:InvokedViaFunctionUrl": "true" } });
    assert_eq!(statements[1]["Condition"], by_the_url);
    for statement in statements {
        assert_eq!(statement["Effect"], "Allow");
        assert_eq!(statement["Resource"], "arn:aws:lambda:eu-west-1:123456789012:function:canary-gate");
    }
}

fn documents() -> Vec<(String, String)> {
    let mut all: Vec<String> = fs::read_dir(path("docs"))
        .unwrap()
        .map(|entry| format!("docs/{}", entry.unwrap().file_name().to_string_lossy()))
        .filter(|name| name.ends_with(".md"))
        .collect();
    all.push("README.md".to_owned());
    all.sort();
    assert!(all.len() > 8, "{all:?}");
    all.into_iter().map(|name| (name.clone(), read(&name))).collect()
}

/// A heading's anchor, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let mut in_code = false;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        in_code ^= line.starts_with("```");
        if line.starts_with('#') && !in_code {
            found.insert(anchor(line.trim_start_matches('#')));
        }
    }
    found
}

#[test]
fn links_between_documents_lead_somewhere() {
    let documents = documents();
    let mut broken = Vec::new();
    let mut links = 0;
    for (name, text) in &documents {
        let dir = path(name).parent().unwrap().to_owned();
        for rest in text.split("](").skip(1) {
            let target = rest.split(')').next().unwrap();
            if target.contains("://") || target.contains(char::is_whitespace) {
                continue;
            }
            links += 1;
            let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
            let found = if file.is_empty() { path(name) } else { dir.join(file) };
            let leads = found.exists()
                && (fragment.is_empty() || anchors(&fs::read_to_string(&found).unwrap()).contains(fragment));
            if !leads {
                broken.push(format!("{name}: {target}"));
            }
        }
    }
    assert!(links > 60, "only {links} links found");
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The command lines in a document's code: `canary-gate WORD ...`, up to the end of the code.
fn command_lines(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        in_block ^= line.starts_with("```");
        let code: Vec<&str> = if in_block || line.starts_with("    ") {
            vec![line.split(" #").next().unwrap()]
        } else {
            line.split('`').skip(1).step_by(2).collect()
        };
        for code in code {
            for part in code.split(['|', ';', '&']) {
                if let Some(rest) = part.trim().strip_prefix("canary-gate ") {
                    found.push(rest.trim().to_owned());
                }
            }
        }
    }
    found
}

#[test]
fn commands_and_options_in_the_documents_exist() {
    let help = out(&run(&["--help"]));
    let exists = |word: &str| help.lines().any(|line| line.trim_start().split(' ').next() == Some(word));
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (name, text) in documents() {
        for line in command_lines(&text) {
            seen += 1;
            let mut words = line.split_whitespace();
            let Some(command) =
                words.next().filter(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
            else {
                continue;
            };
            if command.starts_with("--") {
                continue;
            }
            if !exists(command) {
                wrong.push(format!("{name}: {command} in {line:?}"));
                continue;
            }
            let own = out(&run(&[command, "--help"]));
            let options =
                words.filter_map(|word| word.strip_prefix("--")).map(|word| word.split('=').next().unwrap());
            for option in options {
                let plain: String =
                    option.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
                if !own.contains(&format!("--{plain}")) {
                    wrong.push(format!("{name}: --{plain} in {line:?}"));
                }
            }
        }
    }
    assert!(seen > 80, "only {seen} command lines found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What the quick start says to do before AWS is done, in a directory of its own.
#[test]
fn the_quick_start_works_up_to_the_deployment() {
    let text = read("docs/deploy.md");
    let before = between(&text, "\n## Before AWS\n", "\n## Deploy\n");
    let dir = std::env::temp_dir().join(format!("canary-gate-quick-start-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("plan.yaml"), between(before, "```yaml\n", "```")).unwrap();
    let lines: Vec<_> = command_lines(before).into_iter().filter(|line| !line.contains("...")).collect();
    assert!(lines.len() >= 4, "{lines:?}");
    for line in &lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let done =
            Command::new(env!("CARGO_BIN_EXE_canary-gate")).args(&words).current_dir(&dir).output().unwrap();
        assert_eq!(status(&done), 0, "{line}: {}", err(&done));
        assert!(!done.stdout.is_empty(), "{line} says nothing");
    }
    fs::remove_dir_all(&dir).unwrap();
    // Options of cargo and the template's name, as the template itself has them.
    let build =
        "cargo lambda build --profile lambda --arm64 --no-default-features --features aws --bin bootstrap";
    assert!(before.contains(build) && read("infra/template.yaml").contains(build));
}
