//! Where the inputs begin: what the repository shows to its readers.

use std::path::Path;

/// The inputs that a target begins with. `root` is the repository.
pub fn of(target: &str, root: &Path) -> Vec<Vec<u8>> {
    match target {
        "plan" => plans(),
        "recording" => recordings(),
        "settings" => texts(&SETTINGS),
        "units" => texts(&UNITS),
        _ => events(root),
    }
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn events(root: &Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(root.join("events")).expect("events/ is in the repository");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("events/ can be listed").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("an event can be read")).collect()
}

/// The README's plan, its checks, and what else a plan can hold.
fn plans() -> Vec<Vec<u8>> {
    let readme = include_str!("../../README.md");
    let plan = readme.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a plan");
    let checks =
        readme.split("names of your choice:\n").nth(1).and_then(|rest| rest.split("`canary-gate").next());
    let checks = checks.expect("checks").replace("\n    ", "\n  ");
    let mut plans = vec![plan.to_owned(), format!("{plan}{}", checks.trim_matches('\n'))];
    plans.extend(PLANS.map(str::to_owned));
    plans.into_iter().map(String::into_bytes).collect()
}

const PLANS: [&str; 5] = [
    "steps: {start: 5%, factor: 2}\n",
    "deny_windows: [Fri 16:00 to Mon 08:00, daily 22:30 to 06:00, 2026-12-24 to 2026-12-27]\ntime_zone: Europe/Berlin\n\
     alarms: [payments-failing, 'arn:aws:cloudwatch:eu-west-1:123456789012:alarm:a b']\nrollback_window: 2h\n\
     remind_every: 0\nbad_request_budget: 500\n",
    r#"{"rollout":"checkout-v42","steps":["5%","25%","100%"],"bake":"15m","burn_in":"30m","sticky":true,"mode":"observe","checks":{"errors":{"tolerate":["1.25x","+1%"],"abort_above":false,"slo":"1.5%"},"latency":{"slower_than":"400ms","tolerate":"50ms"}}}"#,
    r#"{"listener_rule":"arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener-rule/app/web/50dc6c495c0c9188/f2f7dc8efc522ab2/9683b2d02a6cabee","stable":"arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/a/73e2d6bc24d8a067","canary":"arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/b/943f017f100becff","checks":{"x":{"ratio":{"bad":{"namespace":"A","metric":"B","dimensions":{"C":"D"}},"total":{"namespace":"A","metric":"E"}},"tolerate":"1.25x"}}}"#,
    "a: &a [5%, 50%]\nsteps: *a\nchecks:\n  errors: &e {promote_within: 2x}\n  x: {ratio: {}, <<: *e}\n",
];

fn recordings() -> Vec<Vec<u8>> {
    let header = r#"{"recording":1,"source":"a test","stable":"v41","canary":"v42"}"#;
    let row = |at: usize, share: f64| {
        format!(
            r#"{{"minute":"2026-03-01T10:{at:02}:00Z","share":{share},"stable":{{"requests":407,"http_2xx":401,"http_4xx":3,"http_5xx":3,"healthy_hosts":6,"latency":{{"count":407,"le":{{"-25":12,"-24":160,"-23":301}}}},"metrics":{{"thumbs_down":{{"bad":4,"total":60}},"prediction":{{"classes":{{"a":250,"b":157}}}},"speed":{{"count":407,"le":{{"38":200,"40":390}}}}}}}},"canary":{{"requests":45,"http_2xx":44,"http_5xx":1,"latency":{{"count":45,"le":{{"-25":1,"-24":16,"-23":31}}}},"metrics":{{"thumbs_down":{{"bad":1,"total":6}}}}}}}}"#
        )
    };
    let whole = format!("{header}\n{}\n{}\n{}\n", row(0, 0.0), row(1, 10.0), row(2, 10.0));
    let bare =
        r#"{"minute":"2026-03-01T10:03:00Z","share":10,"stable":{"requests":7,"errors":1},"canary":null}"#;
    [whole, format!("{header}\r\n\r\n{bare}\r\n"), format!("\u{feff}{header}")]
        .map(String::into_bytes)
        .to_vec()
}

const SETTINGS: [&str; 2] = [
    "CANARY_GATE_TABLE=canary-gate\nCANARY_GATE_TOPIC_ARN=arn:aws:sns:eu-west-1:123456789012:on-call\nPATH=/bin\n",
    "CANARY_GATE_TABLE=a.b\nCANARY_GATE_TOPIC_ARN=arn:aws-cn:sns:cn-north-1:123456789012:x\nCANARY_GATE_WATERMARK=3m\n\
     CANARY_GATE_CLOCK=event\nCANARY_GATE_LOG=info,canary_gate=debug\nCANARY_GATE_KEEP_LOG=30d\n\
     AWS_ENDPOINT_URL=http://127.0.0.1:4566\n",
];

const UNITS: [&str; 16] = [
    "0",
    "0m",
    "90s",
    "1h30m",
    "1d2h3m4s",
    "5%",
    "0.1%",
    "100%",
    "33.333%",
    "1e-3%",
    "1x",
    "1.25x",
    "100x",
    "p50",
    "p99.9",
    "2026-03-01T10:00:00Z",
];
