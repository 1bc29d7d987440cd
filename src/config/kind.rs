//! What a key of the table takes: its form, its default and its bounds.

use serde_json::{Value, json};

use super::amounts::{LENGTH_MAX, NUMBER_MAX, Unit, length_text};
use super::arn::ArnKind;
use super::keys::{ALARMS_MAX, CHECKS, Key, LABELS_MAX, QUANTILES_MAX, STEPS_KEYS};
use crate::analysis::check::{self, Tolerance};
use crate::rollout::calendar::{self, WINDOWS_MAX};
use crate::rollout::plan;
use crate::units::{Rate, Share, Span, Times};

/// What a key takes, with its default and its bounds.
#[derive(Debug)]
pub(super) enum Kind {
    /// A rollout's name.
    Name,
    /// The name of a thing in AWS.
    Arn(ArnKind),
    /// The shares to walk through, or how to make them.
    Steps,
    /// One share.
    Share,
    /// By how much each step is larger than the one before.
    Factor,
    /// A length of time.
    Span {
        /// Used where the key is absent.
        default: Span,
        /// The least.
        min: Span,
        /// The most.
        max: Span,
    },
    /// A rate; zero is refused unless `zero`.
    Rate {
        /// Used where the key is absent.
        default: Rate,
        /// Zero is fine.
        zero: bool,
        /// The most.
        max: Rate,
    },
    /// A rate above zero, or `false`.
    RateOrOff {
        /// Used where the key is absent; `None` for off.
        default: Option<Rate>,
    },
    /// A whole number.
    Count {
        /// Used where the key is absent.
        default: u64,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A whole number, or `false`, which is the default.
    CountOrOff {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// One of a few words. Where `yes` and `no` are among them, `true` and `false` mean the same: YAML
    /// turns the one into the other.
    Word {
        /// Used where the key is absent.
        default: &'static str,
        /// All of them.
        words: &'static [&'static str],
    },
    /// Yes or no.
    Flag {
        /// Used where the key is absent.
        default: bool,
    },
    /// A ratio, a difference, or the larger of both.
    Tolerance {
        /// Used where the key is absent.
        default: Tolerance,
        /// See [`Kind::is_usual`].
        usual: bool,
    },
    /// A ratio.
    Times {
        /// Used where the key is absent.
        default: Times,
        /// See [`Kind::is_usual`].
        usual: bool,
        /// 1x is refused.
        above_one: bool,
    },
    /// A ratio, a percentage or a distance, [`check::TOLERATE`] as a rule (see [`Kind::is_usual`]).
    Margin {
        /// What a distance is counted in.
        unit: Unit,
    },
    /// A length or a number.
    Amount {
        /// What it is counted in.
        unit: Unit,
        /// Used where the key is absent, if something is.
        default: Option<f64>,
        /// Zero is fine.
        zero: bool,
    },
    /// A list of quantiles, [`check::QUANTILES`] by default.
    Quantiles {
        /// See [`Kind::is_usual`].
        usual: bool,
    },
    /// A name in CloudWatch.
    AwsName {
        /// It may begin with a colon.
        colon: bool,
    },
    /// CloudWatch's dimensions, by name.
    Dimensions {
        /// There must be at least one.
        required: bool,
    },
    /// The names of classes.
    Labels,
    /// Times in which no share is raised.
    DenyWindows,
    /// A name of the IANA time zone database.
    TimeZone,
    /// Alarms of CloudWatch, by name or ARN.
    Alarms,
    /// A mapping with keys of its own, which must be there (but see [`super::Scope::Offline`]).
    Mapping(&'static [Key]),
    /// A mapping of the checks to make.
    Checks,
}

/// The default steps.
pub(super) fn default_steps() -> Vec<Share> {
    let shares = plan::STEPS_PERCENT.iter().map(|percent| Share::from_percent(*percent));
    shares.map(|share| share.expect("the default steps are shares")).collect()
}

/// A tolerance in the form in which it is written.
fn tolerance_json(tolerance: Tolerance) -> Value {
    let times = tolerance.times.map(|times: Times| json!(times.to_string()));
    let points = tolerance.points.map(|points| json!(format!("+{points}")));
    match (times, points) {
        (Some(times), Some(points)) => json!([times, points]),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => Value::Null,
    }
}

fn amount_json(amount: f64, unit: Unit) -> Value {
    match unit {
        Unit::Seconds => json!(length_text(amount)),
        // A whole number without its `.0`, as one writes it.
        Unit::Metric if amount.fract() == 0.0 && amount <= NUMBER_MAX => json!(amount as u64),
        Unit::Metric => json!(amount),
    }
}

fn amount_words(unit: Unit, zero: bool) -> String {
    let from = if zero { "from 0" } else { "above 0" };
    match unit {
        Unit::Seconds => format!("a length of time {from} to {LENGTH_MAX} in us, ms or s, such as 400ms"),
        Unit::Metric => format!("a number {from}"),
    }
}

impl Kind {
    /// A key of this kind has no default and can't be left out (but see [`super::Scope::Offline`]).
    pub(super) fn is_required(&self) -> bool {
        match self {
            Self::Arn(kind) => *kind != ArnKind::Role,
            Self::Share | Self::Factor => true,
            Self::AwsName { .. } | Self::Labels | Self::Mapping(_) => true,
            Self::Dimensions { required } => *required,
            _ => false,
        }
    }

    /// The default is no more than what is used as a rule: without the key, it depends on other keys or on
    /// what the judge finds (the number of targets, say), so to write it out is not the same.
    pub(super) fn is_usual(&self) -> bool {
        match self {
            Self::Tolerance { usual, .. } | Self::Times { usual, .. } => *usual,
            Self::Quantiles { usual } => *usual,
            Self::Margin { .. } => true,
            _ => false,
        }
    }

    /// The keys of the mapping that this kind is, or can be.
    pub(super) fn keys(&self) -> &'static [Key] {
        match self {
            Self::Steps => &STEPS_KEYS,
            Self::Mapping(keys) => keys,
            _ => &[],
        }
    }

    /// The default, as one would write it; `None` where there is none or it is not a constant.
    pub(super) fn default_json(&self) -> Option<Value> {
        match self {
            Self::Name | Self::Arn(_) | Self::Share | Self::Factor => None,
            Self::AwsName { .. } | Self::Labels | Self::Mapping(_) => None,
            Self::Dimensions { required } => (!required).then(|| json!({})),
            Self::Steps => Some(default_steps().iter().map(ToString::to_string).collect()),
            Self::Span { default, .. } => Some(json!(default.to_string())),
            Self::Rate { default, .. } => Some(json!(default.to_string())),
            Self::RateOrOff { default } => {
                Some(default.map_or_else(|| json!(false), |rate| json!(rate.to_string())))
            }
            Self::Count { default, .. } => Some(json!(default)),
            Self::CountOrOff { .. } => Some(json!(false)),
            Self::DenyWindows | Self::Alarms => Some(json!([])),
            Self::TimeZone => Some(json!(calendar::TIME_ZONE)),
            Self::Word { default, .. } => Some(json!(default)),
            Self::Flag { default } => Some(json!(default)),
            Self::Tolerance { default, .. } => Some(tolerance_json(*default)),
            Self::Times { default, .. } => Some(json!(default.to_string())),
            Self::Margin { .. } => Some(json!(check::TOLERATE.to_string())),
            Self::Amount { unit, default, .. } => default.map(|amount| amount_json(amount, *unit)),
            Self::Quantiles { .. } => Some(check::QUANTILES.iter().map(ToString::to_string).collect()),
            Self::Checks => Some(CHECKS.iter().map(|kind| (kind.name.to_owned(), json!({}))).collect()),
        }
    }

    /// What it takes, for people.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Name => "a name: a-z, 0-9 and -, up to 63 characters".to_owned(),
            Self::Arn(ArnKind::ListenerRule) => "the ARN of a listener rule".to_owned(),
            Self::Arn(ArnKind::TargetGroup) => "the ARN of a target group".to_owned(),
            Self::Arn(ArnKind::Topic) => "the ARN of an SNS topic".to_owned(),
            Self::Arn(ArnKind::Alarm) => "the ARN of an alarm".to_owned(),
            Self::Arn(ArnKind::Role) => "the ARN of an IAM role".to_owned(),
            Self::Steps => "a list of shares such as 5%, or {start: 5%, factor: 2}".to_owned(),
            Self::Share => "a share such as 5%".to_owned(),
            Self::Factor => "a number from 1.1 to 100".to_owned(),
            Self::Span { min, max, .. } => format!("a length of time, {min} to {max}"),
            Self::Rate { zero: true, max, .. } => format!("a percentage, 0% to {max}"),
            Self::Rate { zero: false, max, .. } => format!("a percentage, above 0% to {max}"),
            Self::RateOrOff { .. } => "a percentage above 0%, or false".to_owned(),
            Self::Count { min, max, .. } => format!("a whole number, {min} to {max}"),
            Self::CountOrOff { min, max } => format!("a whole number, {min} to {max}, or false"),
            Self::DenyWindows => {
                format!("a list of up to {WINDOWS_MAX} windows such as Fri 16:00 to Mon 08:00")
            }
            Self::TimeZone => "a time zone such as Europe/Berlin".to_owned(),
            Self::Alarms => format!("a list of up to {ALARMS_MAX} names or ARNs of alarms"),
            Self::Word { words, .. } => words.join(", "),
            Self::Flag { .. } => "true or false".to_owned(),
            Self::Tolerance { .. } => {
                "a ratio such as 1.25x, points such as +0.5%, or a list of both".to_owned()
            }
            Self::Times { above_one: false, .. } => "a ratio, 1x to 100x".to_owned(),
            Self::Times { above_one: true, .. } => "a ratio, above 1x to 100x".to_owned(),
            Self::Margin { unit: Unit::Seconds } => {
                "a ratio such as 1.25x, a percentage such as 10%, or a length such as 50ms".to_owned()
            }
            Self::Margin { unit: Unit::Metric } => {
                "a ratio such as 1.25x, a percentage such as 10%, or a distance such as '+5'".to_owned()
            }
            Self::Amount { unit, zero, .. } => amount_words(*unit, *zero),
            Self::Quantiles { .. } => format!("a list of 1 to {QUANTILES_MAX} quantiles such as p99"),
            Self::AwsName { .. } => "a name of 1 to 255 ASCII characters".to_owned(),
            Self::Dimensions { required: false } => "a mapping of dimensions to values".to_owned(),
            Self::Dimensions { required: true } => {
                "a mapping of dimensions to values such as {Version: v42}".to_owned()
            }
            Self::Labels => format!("a list of 1 to {LABELS_MAX} texts"),
            Self::Mapping(keys) => {
                let required: Vec<&str> =
                    keys.iter().filter(|key| key.kind.is_required()).map(|key| key.name).collect();
                format!("a mapping with {}", required.join(", "))
            }
            Self::Checks => "a mapping of checks".to_owned(),
        }
    }
}
