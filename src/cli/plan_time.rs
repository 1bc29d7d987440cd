//! `plan-time`: how long a rollout will take, and what will never be decided.

use serde_json::json;

use super::args::{PlanTimeArgs, ReportFormat};
use super::input;
use super::measure::{MEASURED, measured};
use super::output::{Output, Style, complain};
use super::words::{count, wrap};
use super::{Failure, World};
use crate::analysis::check::{Check, CheckRule};
use crate::analysis::forecast::{
    BadSize, Base, Forecast, Never, Outcome, Question, Row, Standing, Step, Traffic, forecast, needs_rate,
};
use crate::config::Scope;
use crate::rollout::plan::{OnUndecided, Plan, Sticky};
use crate::stats::LearntRate;
use crate::units::{Rate, Span};

/// No line is longer.
const WIDTH: usize = 100;
/// The names of comparisons; longer ones are cut.
const NAME_WIDTH: usize = 25;
/// So many sizes of a bad canary fit into a line.
const BAD_MAX: usize = 4;
/// Errors of a service that nobody has measured.
const ERRORS_ASSUMED: Rate = Rate::percent_const(0.3);
/// CloudWatch's minutes are final so much later: the function's watermark if nobody changes it.
const DELAY: Span = Span::from_minutes(2);

/// Tells how long a plan takes.
pub(super) fn plan_time(args: &PlanTimeArgs, world: World<'_>, out: &mut Output) -> Result<u8, Failure> {
    if args.plan.as_deref() == Some("-") && args.recording.as_deref() == Some("-") {
        return Err(Failure::Usage("only one of --plan and --recording can be standard input".to_owned()));
    }
    if args.bad.len() > BAD_MAX {
        return Err(Failure::Usage(format!("--bad can be given {BAD_MAX} times at most")));
    }
    let scope = if args.cloudwatch { Scope::Rollout } else { Scope::Offline };
    let checked = match &args.plan {
        Some(name) => input::plan(name, scope)?,
        None => input::plan_to_start(None)?.0,
    };
    for warning in checked.warnings.iter().filter(|_| args.plan.is_some()) {
        complain(&format!("warning: {warning}"));
    }
    let plan = &checked.plan;
    let traffic = traffic(args, plan, world)?;
    let answer = forecast(&Question {
        rules: &plan.rules,
        steps: &plan.steps,
        sticky: plan.sticky == Sticky::Yes,
        traffic: &traffic,
        bad: if args.bad.is_empty() { &BadSize::STANDARD } else { &args.bad },
        delay: DELAY,
    });
    match args.format {
        ReportFormat::Text => in_words(plan, &answer, out),
        ReportFormat::Json => out.line(format_args!("{:#}", json!(answer))),
    }
    Ok(0)
}

/// What is known of stable: measured, or told.
fn traffic(args: &PlanTimeArgs, plan: &Plan, world: World<'_>) -> Result<Traffic, Failure> {
    let checks = &plan.rules.checks;
    let mut traffic = match &args.recording {
        _ if args.cloudwatch => measured(plan, measured_span(args), DELAY, world)?,
        Some(name) => {
            let said = input::said(name);
            let recording = input::recording(name)?;
            Traffic::measured(&recording.window, checks)
                .map_err(|error| Failure::Data(format!("{said}: {error}")))?
        }
        None => told(args, checks),
    };
    let others = checks.iter().filter(|check| needs_rate(check) && !is_errors(check));
    let known: Vec<&str> = others.map(|check| check.name.as_str()).collect();
    for (name, rate) in &args.rates {
        if !known.contains(&name.as_str()) {
            let known = if known.is_empty() { "none of the plan does".to_owned() } else { known.join(", ") };
            let rule = format!("--rate {name}: is no check that takes a rate; those that do: {known}");
            return Err(Failure::Usage(rule));
        }
        let rate = learnt(*rate)?;
        traffic.bases.entry(name.clone()).or_insert_with(Base::default).rate = Some(rate);
    }
    match traffic.lacking(checks).first() {
        None => Ok(traffic),
        Some(name) => Err(lacking(args, name)),
    }
}

/// A check's rate is known from nowhere.
fn lacking(args: &PlanTimeArgs, name: &str) -> Failure {
    if args.cloudwatch {
        let minutes = measured_span(args).minutes();
        return Failure::Data(format!(
            "CloudWatch has nothing of stable for the check {name} in {minutes} minutes: give its rate by --rate \
             {name}=RATE"
        ));
    }
    match &args.recording {
        None => {
            let rule = format!("the check {name} has a base rate of its own: give it by --rate {name}=RATE");
            Failure::Usage(rule)
        }
        Some(recording) => {
            let lacks = format!("the recording has nothing of stable for the check {name}");
            Failure::Data(format!("{}: {lacks}", input::said(recording)))
        }
    }
}

fn measured_span(args: &PlanTimeArgs) -> Span {
    args.minutes.map_or(MEASURED, |minutes| Span::from_minutes(minutes.into()))
}

fn told(args: &PlanTimeArgs, checks: &[Check]) -> Traffic {
    let mut traffic = Traffic::of(60.0 * args.rps.unwrap_or_default());
    let errors = args.errors.unwrap_or(ERRORS_ASSUMED);
    for check in checks.iter().filter(|check| is_errors(check)) {
        if let Ok(rate) = learnt(errors) {
            traffic.bases.insert(check.name.clone(), Base::of_rate(rate));
        }
        if args.errors.is_none() {
            traffic.notes.push(format!("stable's error rate is assumed to be {errors}: give it by --errors"));
        }
    }
    traffic
}

fn is_errors(check: &Check) -> bool {
    matches!(check.rule, CheckRule::Errors(_))
}

fn learnt(rate: Rate) -> Result<LearntRate, Failure> {
    LearntRate::new(rate.fraction()).map_err(|error| Failure::Usage(error.to_string()))
}

fn in_words(plan: &Plan, answer: &Forecast, out: &mut Output) {
    let requests = rounded(answer.requests_per_minute);
    out.styled(Style::Strong, format!("{}: {requests} requests a minute", plan.rollout));
    for step in &answer.steps {
        out.line("");
        if step.judged {
            table(step, out);
        } else {
            out.styled(Style::Strong, format!("step {}: the end, nothing is judged", step.share));
        }
    }
    out.line("");
    total(plan, answer, out);
    out.line("");
    legend(answer, out);
    for warning in &answer.warnings {
        paragraph(Style::Notice, "warning: ", warning, out);
    }
    if plan.sticky == Sticky::Auto {
        let said = "sticky: auto is read from the rule when the rollout starts; here it counts as no";
        paragraph(Style::Notice, "warning: ", said, out);
    }
}

fn table(step: &Step, out: &mut Output) {
    let requests = rounded(step.requests_per_minute);
    out.styled(Style::Strong, format!("step {}: {requests} canary requests a minute", step.share));
    let bad = step.rows.first().map_or(&[][..], |row| &row.drains);
    let sizes: String = bad.iter().map(|drain| format!("{:>15}", format!("if {}", drain.bad))).collect();
    let in_bad: String = bad.iter().map(|_| format!("{:>8}{:>7}", "drained", "bad")).collect();
    out.styled(Style::Faint, format!("{:NAME_WIDTH$}{:>7}{:>11}{sizes}", "", "stable", "healthy"));
    out.styled(Style::Faint, format!("{:NAME_WIDTH$}{:>7}{:>11}{in_bad}", "", "rate", "proven"));
    for row in &step.rows {
        let style = match row.standing {
            Standing::Decided | Standing::HarmOnlyByRule => Style::Plain,
            Standing::Undecided => Style::Alarm,
            Standing::HarmOnly => Style::Notice,
        };
        let drains: String = row.drains.iter().map(|drain| cells(drain.outcome)).collect();
        let name = cut(&row.name());
        out.styled(style, format!("{name:NAME_WIDTH$}{:>7}{:>11}{drains}", percent(row.rate), proven(row)));
    }
    let why = step.decided_by.as_deref().unwrap_or_default();
    let (style, end) = match step.minutes {
        Some(minutes) => {
            let (took, least) = (duration(minutes), duration(step.least_minutes));
            (Style::Plain, format!("takes about {took} (at least {least}), because of {why}"))
        }
        None => (Style::Alarm, format!("stays undecided, because of {why}")),
    };
    let slowest = step.slowest.as_ref().map(|name| format!("; the slowest check is {name}"));
    paragraph(style, "", &format!("{end}{}", slowest.unwrap_or_default()), out);
}

fn total(plan: &Plan, answer: &Forecast, out: &mut Output) {
    let within = plan.rules.decide_within;
    let undecided = answer.steps.iter().find(|step| step.minutes.is_none());
    let Some(step) = undecided else {
        let minutes = answer.minutes.unwrap_or_default();
        out.styled(Style::Good, format!("a healthy rollout takes about {}", duration(minutes)));
        return;
    };
    let then = match plan.on_undecided {
        OnUndecided::Hold => format!("it stays there and pages after {within} (on_undecided: hold)"),
        OnUndecided::Drain => format!("it is drained after {within} (on_undecided: drain)"),
        OnUndecided::Promote => {
            let waits = answer.steps.iter().map(|step| step.minutes.unwrap_or(within.minutes()));
            let minutes = duration(waits.sum());
            format!("it goes on unproven after {within} (on_undecided: promote), in {minutes} to the end")
        }
    };
    paragraph(
        Style::Alarm,
        "",
        &format!("a healthy rollout gets to {} and no further: {then}", step.share),
        out,
    );
}

fn legend(answer: &Forecast, out: &mut Output) {
    let delay = answer.delay_minutes;
    let told = format!(
        "proven, drained: expected minutes of data; {delay} more pass until CloudWatch's minutes are final, \
         which the times of steps include. bad: bad requests beyond stable's rate until the drain, those {delay} \
         minutes included. 2x is twice the odds of a bad request."
    );
    paragraph(Style::Faint, "", &told, out);
    let rows = || answer.steps.iter().flat_map(|step| &step.rows);
    let outcomes = rows().flat_map(|row| &row.drains).map(|drain| drain.outcome);
    let mut reasons: Vec<Never> = outcomes
        .filter_map(|outcome| match outcome {
            Outcome::Never { never } => Some(never),
            Outcome::Drained { .. } => None,
        })
        .collect();
    reasons.sort_unstable();
    reasons.dedup();
    for reason in reasons {
        let (letter, said) = in_never(reason);
        paragraph(Style::Faint, "", &format!("never ({letter}): {said}"), out);
    }
    if rows().any(|row| row.standing == Standing::Undecided) {
        paragraph(Style::Faint, "", "!: not within decide_within, so that the step stays undecided", out);
    }
}

fn in_never(reason: Never) -> (char, &'static str) {
    match reason {
        Never::WithinTolerate => ('t', "tolerate covers a difference of this size"),
        Never::BelowIgnore => ('i', "the canary's rate would not be above ignore_below"),
        Never::TooNearTheMargin => ('m', "too little beyond the margin to be told from it"),
        Never::NoSuchRate => ('n', "it would be more than all requests"),
    }
}

fn cells(outcome: Outcome) -> String {
    match outcome {
        Outcome::Drained { minutes, excess_bad } => {
            format!("{:>8}{:>7}", duration(minutes), short(excess_bad))
        }
        Outcome::Never { never } => format!("{:>15}", format!("never ({})", in_never(never).0)),
    }
}

fn proven(row: &Row) -> String {
    let minutes = row.minutes_to_prove.map_or_else(|| "never".to_owned(), duration);
    match row.standing {
        Standing::Decided => minutes,
        Standing::Undecided => format!("{minutes} !"),
        Standing::HarmOnly | Standing::HarmOnlyByRule => "harm only".to_owned(),
    }
}

fn paragraph(style: Style, head: &str, text: &str, out: &mut Output) {
    for (at, line) in wrap(text, WIDTH - head.len()).into_iter().enumerate() {
        let head = if at == 0 { head.to_owned() } else { " ".repeat(head.len()) };
        out.styled(style, format!("{head}{line}"));
    }
}

/// Whole minutes as long as a person counts in them.
fn duration(minutes: u64) -> String {
    match minutes {
        n if n < 120 => format!("{n}m"),
        n if n < 48 * 60 => format!("{}h{:02}m", n / 60, n % 60),
        n if n < 999 * 24 * 60 => format!("{}d", n / (24 * 60)),
        _ => "years".to_owned(),
    }
}

/// Three digits, and no more than five characters.
fn short(n: f64) -> String {
    match n {
        n if n < 9.95 => format!("{n:.1}"),
        n if n < 99_999.5 => format!("{n:.0}"),
        n if n < 9.995e6 => format!("{:.0}k", n / 1e3),
        _ => format!("{:.0}M", n / 1e6),
    }
}

fn percent(rate: f64) -> String {
    let percent = 100.0 * rate;
    let decimals = if percent < 1.0 { 3 } else { 1 };
    let text = format!("{percent:.decimals$}");
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A number of requests: whole, unless that would be none or nearly so.
fn rounded(requests: f64) -> String {
    if requests < 10.0 { format!("{requests:.1}") } else { count(requests.round() as u64) }
}

fn cut(name: &str) -> String {
    let mut characters = name.chars();
    let short: String = characters.by_ref().take(NAME_WIDTH - 1).collect();
    if characters.next().is_none() {
        return short;
    }
    format!("{}...", short.chars().take(NAME_WIDTH - 4).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_at_any_size() {
        assert_eq!(
            [1, 119, 120, 2_879, 2_880, 9_000_000].map(duration),
            ["1m", "119m", "2h00m", "47h59m", "2d", "years"]
        );
        assert_eq!([0.04, 9.96, 4_321.4, 1.2e6, 3.4e7].map(short), ["0.0", "10", "4321", "1200k", "34M"]);
        assert_eq!([0.003, 0.0005, 0.05, 0.5, 0.1].map(percent), ["0.3%", "0.05%", "5%", "50%", "10%"]);
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(cut("latency p99"), "latency p99");
        let long = cut("prediction a class with a very long name");
        assert_eq!((long.len(), long.ends_with("...")), (NAME_WIDTH - 1, true));
    }
}
