//! The judge on recordings of real traffic, which are read through a path and not part of this tree: the
//! folder in `CANARY_GATE_RECORDINGS`, or `../shared/data`.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::command_line::{TempFile, err, out, run};

fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("CANARY_GATE_RECORDINGS").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"));
    if folder.join("truth.json").is_file() {
        return Some(folder);
    }
    eprintln!("SKIPPED: there are no recordings in {}; set CANARY_GATE_RECORDINGS", folder.display());
    None
}

/// The plan that a case is to be judged by.
fn plan(case: &Value, first: &Value) -> Value {
    let mut plan = json!({ "min_requests": 200, "steps": [format!("{}%", first["share"])] });
    for (key, value) in case["plan"].as_object().into_iter().flatten() {
        plan[key] = value.clone();
    }
    plan
}

#[test]
fn healthy_traffic_is_never_drained_and_faults_are_found() {
    let Some(folder) = folder() else { return };
    let truth: Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("truth.json")).unwrap()).unwrap();
    let mut wrong = Vec::new();
    let mut judged = 0;
    for case in truth["cases"].as_array().unwrap() {
        let verdict = &case["truth"]["verdict"];
        judged += 1;
        let name = case["file"].as_str().unwrap();
        let path = folder.join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        let mut rows = text.lines().skip(1).map(|line| serde_json::from_str::<Value>(line).unwrap());
        let first = rows.next().unwrap();
        let plan = TempFile::new(&format!("{name}.yaml"), &plan(case, &first).to_string());
        let arguments =
            ["replay", "--plan", plan.name(), "--recording", path.to_str().unwrap(), "--format", "jsonl"];
        let output = run(&arguments);
        let printed = out(&output);
        let last = printed.lines().last().unwrap_or_else(|| panic!("{name}: {}", err(&output)));
        let summary = serde_json::from_str::<Value>(last).unwrap()["summary"].clone();
        eprintln!("{name}: {summary}");
        let outcome = summary["outcome"].as_str().unwrap();
        let fault = case["truth"]["from_minute"].as_i64().unwrap_or(0);
        let right = match verdict.as_str().unwrap() {
            "healthy" => outcome != "drained",
            "bad" if outcome == "drained" => minutes(&first["minute"], &summary["minute"]) >= fault,
            "bad" => outcome == "undecided" && may_stay_undecided(case, fault),
            _ => outcome != "promotable",
        };
        if !right {
            wrong.push(format!("{name}: {verdict} by truth, but {summary}"));
        }
    }
    assert!(judged >= 10, "only {judged} cases found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A fault that the load balancer does not show, or one that is over before `convict_minutes` are: each minute
/// may add so little to the evidence that no fewer convict, and stakes have shrunk in the healthy minutes before.
fn may_stay_undecided(case: &Value, fault: i64) -> bool {
    let convict_minutes = case["plan"]["convict_minutes"].as_i64().unwrap_or(3);
    let short = case["minutes"].as_i64().is_some_and(|minutes| minutes - fault <= convict_minutes);
    short || case["visible_at_front"] == false
}

fn minutes(from: &Value, to: &Value) -> i64 {
    let at = |text: &Value| text.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
    (at(to) - at(from)) / 60
}
