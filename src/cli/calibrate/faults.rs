//! Faults as a person writes them: `errors=3x`, `latency=3x:2%@61`.

use crate::analysis::check::{CheckRule, RatioCheck};
use crate::rollout::plan::Plan;
use crate::sim::synthetic::{Fault, MetricChange, RateChange, SpreadChange};
use crate::units::Rate;

/// A fault that changes something this many times is over before it can be measured.
const TIMES_MAX: f64 = 1_000.0;
/// As much as a message quotes.
const QUOTED_CHARS: usize = 60;

/// A fault with the words for it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Asked {
    pub(super) name: String,
    pub(super) fault: Fault,
    /// The rollout stays on its first step until the fault comes and after.
    pub(super) held: bool,
}

/// How much, as written after the equals sign.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Amount {
    Times(f64),
    TimesOf(f64, f64),
    Plus(f64),
}

/// Reads a fault; says what is wrong with it and how it is meant.
pub(super) fn parse(text: &str, plan: &Plan) -> Result<Asked, String> {
    let quoted: String = text.chars().take(QUOTED_CHARS).collect();
    let wrong = |rule: &str| format!("--fault {quoted}: {rule}");
    let (effects, minute) = match text.split_once('@') {
        Some((effects, minute)) => {
            let minute = minute.parse::<u32>().ok().filter(|minute| *minute > 0);
            (effects, Some(minute.ok_or_else(|| wrong("after the @ comes a minute, from 1 on"))?))
        }
        None => (text, None),
    };
    let mut fault =
        Fault { from_minute: minute.map_or(0, |minute| i64::from(minute) - 1), ..Fault::default() };
    for effect in effects.split(',') {
        let (name, amount) = effect.split_once('=').ok_or_else(|| {
            wrong("is written NAME=2x, NAME=+1% or NAME=3x:2%, with commas between, such as errors=3x@61")
        })?;
        let amount = amount_of(amount).ok_or_else(|| {
            wrong("takes an amount such as 2x (up to 1000x), +1%, or 3x:2% for some of the samples")
        })?;
        add(&mut fault, name, amount, plan).map_err(|rule| wrong(&rule))?;
    }
    let name = effects.replace('=', " ").replace(',', ", ");
    Ok(Asked { name, held: minute.is_some(), fault })
}

fn amount_of(text: &str) -> Option<Amount> {
    let times = |text: &str| {
        let times = text.strip_suffix('x')?.parse::<f64>().ok()?;
        (times > 0.0 && times <= TIMES_MAX).then_some(times)
    };
    let rate = |text: &str| text.parse::<Rate>().ok().map(Rate::fraction);
    match (text.strip_prefix('+'), text.split_once(':')) {
        (Some(points), _) => rate(points).map(Amount::Plus),
        (None, Some((factor, part))) => Some(Amount::TimesOf(times(factor)?, rate(part)?)),
        (None, None) => times(text).map(Amount::Times),
    }
}

fn add(fault: &mut Fault, name: &str, amount: Amount, plan: &Plan) -> Result<(), String> {
    let Some(check) = plan.rules.checks.iter().find(|check| check.name == name) else {
        let known: Vec<&str> = plan.rules.checks.iter().map(|check| check.name.as_str()).collect();
        return Err(format!("the plan has no check {name:?}; it has {}", known.join(", ")));
    };
    match &check.rule {
        CheckRule::Errors(_) => fault.errors = rate_change(amount)?,
        CheckRule::Latency(_) => fault.latency = spread_change(amount)?,
        rule => {
            let change = match rule {
                CheckRule::Ratio(RatioCheck { .. }) => MetricChange::Rate(rate_change(amount)?),
                CheckRule::Values(_) => MetricChange::Spread(spread_change(amount)?),
                _ => MetricChange::FirstClass(odds_change(amount)?),
            };
            fault.metrics.insert(name.to_owned(), change);
        }
    }
    Ok(())
}

fn rate_change(amount: Amount) -> Result<RateChange, String> {
    match amount {
        Amount::Times(times) => Ok(RateChange::times(times)),
        Amount::Plus(plus) => Ok(RateChange { plus, ..RateChange::NONE }),
        Amount::TimesOf(..) => Err("a rate changes as a whole: 3x or +1%".to_owned()),
    }
}

fn spread_change(amount: Amount) -> Result<SpreadChange, String> {
    match amount {
        Amount::Times(times) => Ok(SpreadChange::times(times)),
        Amount::TimesOf(times, fraction) => Ok(SpreadChange { times, fraction, ..SpreadChange::NONE }),
        Amount::Plus(_) => Err("values change by a factor: 1.5x, or 3x:2% for some of them".to_owned()),
    }
}

fn odds_change(amount: Amount) -> Result<f64, String> {
    match amount {
        Amount::Times(times) => Ok(times),
        _ => Err("classes change by a factor on the odds of the first one: 2x".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::input;

    fn plan() -> Plan {
        input::plan_to_start(None).unwrap().0.plan
    }

    #[test]
    fn a_fault_reads_as_it_is_written() {
        let asked = parse("errors=3x,latency=2x:5%@61", &plan()).unwrap();
        assert_eq!(asked.name, "errors 3x, latency 2x:5%");
        assert!(asked.held);
        assert_eq!(asked.fault.from_minute, 60);
        assert_eq!(asked.fault.errors, RateChange::times(3.0));
        assert_eq!(asked.fault.latency, SpreadChange { times: 2.0, fraction: 0.05, odds: 1.0 });
        let points = parse("errors=+1%", &plan()).unwrap();
        assert_eq!((points.fault.errors.plus, points.fault.from_minute, points.held), (0.01, 0, false));
    }

    #[test]
    fn a_fault_that_makes_no_sense_is_refused_with_the_rule() {
        for (text, said) in [
            ("", "is written"),
            ("errors", "is written"),
            ("errors=", "amount"),
            ("errors=much", "amount"),
            ("errors=-1x", "amount"),
            ("errors=nanx", "amount"),
            ("errors=+1", "amount"),
            ("errors=3x@0", "minute"),
            ("errors=3x@soon", "minute"),
            ("errors=3x:2%", "as a whole"),
            ("latency=+1%", "factor"),
            ("refunds=2x", "no check \"refunds\"; it has errors"),
        ] {
            let told = parse(text, &plan()).unwrap_err();
            assert!(told.contains(said), "{text}: {told}");
        }
    }
}
