//! Sequential two-sample statistics: numbers in, numbers out.
//!
//! Nothing here knows what is being compared, or when. An arm is a count of bad requests out of
//! all requests; the first arm is under test and the second is its reference.
//!
//! A test that is looked at every minute cannot be made of p-values, since 240 chances of being
//! wrong by accident add up. Everything here is an e-value instead: a number that is 1 or less on
//! average as long as the null holds. E-values of successive minutes multiply, those of several
//! questions average, and the result exceeds `1/alpha` with probability `alpha` at most, ever.
//! All of them are told as natural logarithms; the unit of evidence is the nat.
//!
//! | question | evidence of one minute | kept by |
//! |---|---|---|
//! | are the odds worse than tolerated? | [`Table::ln_likelihood_ratios`] on an [`OddsGrid`] | [`RestartedMixture`] |
//! | are there more events than tolerated? | [`EventCounts::ln_likelihood_ratios`] | [`RestartedMixture`] |
//! | is the rate above a limit? | [`RateLimit::ln_likelihood_ratios`] | [`RestartedMixture`] |
//! | is the difference above a limit? | [`ExcessGrid::ln_e`] | [`RestartedMixture`] |
//! | are the rates alike enough? | [`Allowance::ln_e`] | [`CeiledEvidence`] |
//! | is the share of traffic right? | [`ShareInterval::ln_e`] | totals alone |
//!
//! [`DesignEffect`] tempers evidence where requests are not independent, [`mean`] and
//! [`weighted_mean`] combine it, and [`requests_needed`] says how much is missing.
//!
//! Every formula is checked against values with 50 digits, see `tests/oracle/`.

mod ceiling;
mod combine;
mod design_effect;
mod error;
mod event_counts;
mod factorial;
mod fisher;
mod hypergeometric;
mod lanes;
mod mann_whitney;
mod mantel_haenszel;
mod mixture;
mod needed;
mod odds;
mod one_sample;
#[cfg(test)]
mod oracle;
mod polynomial;
mod projection;
mod sample_ratio;
mod table;

pub use ceiling::CeiledEvidence;
pub use combine::{mean, weighted_mean};
pub use design_effect::{DESIGN_EFFECT_MAX, DesignEffect};
pub use error::{COUNT_MAX, StatsError};
pub use event_counts::EventCounts;
pub use mann_whitney::{MANN_WHITNEY_MIN_SAMPLES, MannWhitney, mann_whitney};
pub use mantel_haenszel::{CommonOdds, mantel_haenszel};
pub use mixture::{
    CASH_MIN, RELEASE_FIRST, RELEASE_LATER, RELEASE_NEW_STEP, Release, RestartedMixture, STAKE_MAX,
    cap_for_minutes,
};
pub use needed::{
    harm_information, harm_target, health_information, health_target, minutes_needed,
    odds_health_information, requests_needed,
};
pub use odds::{ALTERNATIVE_MULTIPLIERS, ODDS_RATIO_MAX, ODDS_RATIO_MIN, OddsGrid, OddsRatio};
pub use one_sample::{LIMIT_MULTIPLIERS, RateLimit};
pub use projection::{Allowance, ExcessGrid, LearntRate};
pub use sample_ratio::ShareInterval;
pub use table::{Arm, Margins, Table};
