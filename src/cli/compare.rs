//! `compare`: a whole recording at once, by the tests of the textbook.

use super::Failure;
use super::args::{CompareArgs, ReportFormat};
use super::input;
use super::output::{Output, Style};
use super::table::{WIDTH, clock};
use super::words::{count, wrap};
use crate::analysis::one_look::{
    Bin, Caution, CheckLook, ClassLook, Effect, Finding, OneLook, Outcome, Rates, Test, Tested, one_look,
};
use crate::analysis::window::Tally;
use crate::rollout::plan::Sticky;

/// Where a check's findings begin.
const INDENT: usize = 12;
/// P-values below this are written as a power of ten.
const PLAIN_P_MIN: f64 = 1e-3;
/// Of many classes, so many that differ most are told.
const CLASSES_MAX: usize = 5;

/// Compares both arms of a recording by a plan's checks.
pub(super) fn compare(args: &CompareArgs, out: &mut Output) -> Result<u8, Failure> {
    let (plan, recording) = input::plan_and_recording(&args.plan, &args.recording)?;
    let name = input::said(&args.recording);
    let mut look = one_look(&recording.window, &plan.rules, args.alpha);
    if plan.sticky == Sticky::Yes {
        look.cautions.push(Caution::Sticky);
    }
    match args.format {
        ReportFormat::Text => {
            if !recording.source.is_empty() {
                out.styled(Style::Faint, format!("{name}: {}", recording.source));
            }
            in_words(&look, out);
        }
        ReportFormat::Json => {
            out.line(serde_json::to_string(&look).expect("a look has text keys and finite numbers only"));
        }
    }
    Ok(match look.finding {
        Finding::NotShown => 0,
        Finding::Harmful => 1,
        Finding::TooLittle => 2,
    })
}

fn in_words(look: &OneLook, out: &mut Output) {
    let at = match (look.first, look.last) {
        (Some(first), Some(last)) => format!(" ({} to {})", clock(first), clock(last)),
        _ => String::new(),
    };
    let minutes = look.minutes;
    out.styled(Style::Strong, format!("one look at {minutes} minutes{at}, pooled, at {}", look.alpha));
    for check in &look.checks {
        tell(check, out);
    }
    out.line("");
    let (style, answer) = match look.finding {
        Finding::Harmful => (Style::Alarm, format!("worse than stable: {}", worse(look).join(", "))),
        Finding::NotShown => (Style::Good, "not shown to be worse than stable".to_owned()),
        Finding::TooLittle => (Style::Notice, "too little data to tell".to_owned()),
    };
    out.styled(style, answer);
    for caution in &look.cautions {
        let mut lines = wrap(&format!("warning: {caution}"), WIDTH - 2).into_iter();
        out.styled(Style::Notice, lines.next().unwrap_or_default());
        lines.for_each(|line| out.styled(Style::Notice, format!("  {line}")));
    }
}

fn worse(look: &OneLook) -> Vec<&str> {
    let worse = |check: &&CheckLook| matches!(&check.outcome, Outcome::Tested(tested) if tested.worse);
    look.checks.iter().filter(worse).map(|check| check.name.as_str()).collect()
}

fn tell(check: &CheckLook, out: &mut Output) {
    let name = &check.name;
    let tested = match &check.outcome {
        Outcome::Tested(tested) => tested,
        Outcome::Untested(lack) => {
            out.styled(Style::Faint, format!("{name:<INDENT$}not tested: {lack}"));
            return;
        }
    };
    let Tested { p_value, p_adjusted, .. } = *tested;
    let (style, answer) =
        if tested.worse { (Style::Alarm, "worse") } else { (Style::Plain, "not shown worse") };
    let test = tested.test.name();
    let p_values = format!("p {}, over all checks {}", p(p_value), p(p_adjusted));
    out.styled(style, format!("{name:<INDENT$}{answer}: {p_values} ({test})"));
    for line in effect(&tested.effect, measure(tested.test)) {
        out.line(format!("{:INDENT$}{line}", ""));
    }
}

/// What `times` is a ratio of.
fn measure(test: Test) -> &'static str {
    if test == Test::Binomial { "rate" } else { "odds" }
}

fn effect(effect: &Effect, measure: &str) -> Vec<String> {
    match effect {
        Effect::Rates(rates) => vec![in_rates(rates, measure)],
        Effect::Distributions { chance_worse, stable_samples, canary_samples, quantiles } => {
            let mut lines = vec![format!(
                "a sample of the canary is the worse one in {} of pairs ({} samples, stable {})",
                percent(*chance_worse),
                count(*canary_samples),
                count(*stable_samples)
            )];
            lines.extend(quantiles.iter().map(|at| {
                let [stable, canary] = [at.stable, at.canary].map(|bin: Bin| bin.to_string());
                format!("{:<6} canary {canary}, stable {stable}", at.quantile.to_string())
            }));
            lines
        }
        Effect::Classes(classes) => {
            let mut most: Vec<&ClassLook> = classes.iter().collect();
            most.sort_by(|a, b| a.p_adjusted.total_cmp(&b.p_adjusted));
            let line = |look: &&ClassLook| {
                format!("{}: {}, p {}", look.class, in_rates(&look.rates, measure), p(look.p_adjusted))
            };
            most.iter().take(CLASSES_MAX).map(line).collect()
        }
    }
}

fn in_rates(rates: &Rates, measure: &str) -> String {
    let of =
        |tally: Tally| format!("{} of {} ({})", count(tally.bad), count(tally.total), percent(tally.rate()));
    let times = rates.times.map_or_else(String::new, |times| format!(", {times:.2} times the {measure}"));
    format!("canary {}, stable {}{times}", of(rates.canary), of(rates.stable))
}

/// A part of a whole, to three digits.
fn percent(part: f64) -> String {
    let percent = 100.0 * part;
    let decimals = if percent > 0.0 { (2.0 - percent.log10().floor()).clamp(0.0, 6.0) as usize } else { 0 };
    format!("{percent:.decimals$}%")
}

fn p(p_value: f64) -> String {
    if p_value >= PLAIN_P_MIN {
        format!("{p_value:.3}")
    } else if p_value > 0.0 {
        format!("{p_value:.1e}")
    } else {
        "<1e-300".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_p_values_keep_their_digits_at_any_size() {
        let parts = [0.0, 0.003_333, 0.5, 1.0, 0.000_012_34];
        assert_eq!(parts.map(percent), ["0%", "0.333%", "50.0%", "100%", "0.00123%"]);
        assert_eq!([0.0, 1.0, 0.0114, 3e-9].map(p), ["<1e-300", "1.000", "0.011", "3.0e-9"]);
    }
}
