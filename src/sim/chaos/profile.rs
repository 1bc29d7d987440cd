//! How rough an episode is: which faults how often, drawn once from its seed.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::sim::random::Random;

/// Of a plan that has some, in UTC.
const DENY_WINDOWS: [&str; 2] = ["11:00 to 11:20", "12:30 to 12:45"];
/// An alarm that half of all plans list.
const ALARM: &str = "chaos-alarm";

/// Shorthand for draws.
pub(super) trait Draw {
    /// True with this probability.
    fn chance(&mut self, probability: f64) -> bool;
    /// A whole number below `end`.
    fn below(&mut self, end: usize) -> usize;
    /// One of several.
    fn pick<T: Copy>(&mut self, of: &[T]) -> T;
    /// A whole number from `from` to `to`, both included.
    fn between(&mut self, from: i64, to: i64) -> i64;
}

impl Draw for Random {
    fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.uniform() < probability
    }

    fn below(&mut self, end: usize) -> usize {
        (self.uniform() * end as f64) as usize
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn between(&mut self, from: i64, to: i64) -> i64 {
        from + (self.uniform() * (to - from + 1) as f64) as i64
    }
}

/// Probabilities: of calls a call, of everything else a minute.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Profile {
    /// A call fails, before or after its effect.
    pub(super) call: f64,
    /// The process dies, before or after a call.
    pub(super) death: f64,
    /// A call takes seconds.
    pub(super) stall: f64,
    /// Metrics come in part, or twice.
    pub(super) metrics: f64,
    /// A minute is late, corrected or missing.
    pub(super) minutes: f64,
    /// Another hand changes the rule.
    pub(super) hand: f64,
    /// Somebody gives an order.
    pub(super) order: f64,
    /// An order comes while a tick is under way.
    pub(super) order_at_tick: f64,
    /// A tick is doubled, late or dropped.
    pub(super) ticks: f64,
    /// An invocation's clock is off.
    pub(super) clock: f64,
    /// All targets of a group become unhealthy, for some minutes.
    pub(super) health: f64,
    /// SNS goes down, for some minutes.
    pub(super) pager: f64,
    /// All rollouts are frozen, for some minutes.
    pub(super) freeze: f64,
    /// An alarm goes off, or comes back.
    pub(super) alarm: f64,
    /// Two rollouts are started at once.
    pub(super) two_starts: f64,
}

impl Profile {
    /// Nothing goes wrong.
    pub(super) const CALM: Self = Self {
        call: 0.0,
        death: 0.0,
        stall: 0.0,
        metrics: 0.0,
        minutes: 0.0,
        hand: 0.0,
        order: 0.0,
        order_at_tick: 0.0,
        ticks: 0.0,
        clock: 0.0,
        health: 0.0,
        pager: 0.0,
        freeze: 0.0,
        alarm: 0.0,
        two_starts: 0.0,
    };

    /// Each kind of fault is absent, rare, common or hell of its own accord, so that each also comes alone
    /// and with each other one.
    pub(super) fn draw(random: &mut Random) -> Self {
        let mut level = |rare: f64, common: f64, hell: f64| {
            random.pick(&[0.0, 0.0, 0.0, rare, rare, rare, common, common, hell])
        };
        Self {
            call: level(0.002, 0.02, 0.15),
            death: level(0.001, 0.01, 0.06),
            stall: level(0.005, 0.05, 0.3),
            metrics: level(0.005, 0.05, 0.3),
            minutes: level(0.01, 0.05, 0.3),
            hand: level(0.003, 0.02, 0.1),
            order: level(0.01, 0.05, 0.2),
            order_at_tick: level(0.01, 0.05, 0.2),
            ticks: level(0.01, 0.1, 0.5),
            clock: level(0.005, 0.05, 0.2),
            health: level(0.003, 0.02, 0.06),
            pager: level(0.003, 0.02, 0.06),
            freeze: level(0.002, 0.01, 0.03),
            alarm: level(0.003, 0.02, 0.06),
            two_starts: level(0.02, 0.1, 0.3),
        }
    }
}

/// What the new version is like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Nature {
    /// Like stable.
    Healthy,
    /// Fails so much of its requests from so many minutes after the start on.
    Harmful(f64, i64),
    /// Refuses every connection from so many minutes after the start on.
    Refuses(i64),
}

impl Nature {
    pub(super) fn draw(random: &mut Random) -> Self {
        match random.below(10) {
            0..=4 => Self::Healthy,
            5 => Self::Harmful(0.5, 0),
            6 => Self::Harmful(random.pick(&[0.03, 0.08, 0.3]), 0),
            7 | 8 => Self::Harmful(random.pick(&[0.05, 0.3]), random.between(3, 40)),
            _ => Self::Refuses(random.between(0, 20)),
        }
    }
}

/// Requests a minute; few, some or many.
pub(super) fn traffic(random: &mut Random) -> f64 {
    random.pick(&[0.0, 5.0, 60.0, 600.0, 1_500.0, 3_000.0, 3_000.0, 6_000.0])
}

/// A plan: short steps and errors alone, so that an episode sees many ends.
pub(super) fn plan(random: &mut Random, rollout: &str, targets: [&str; 3]) -> Value {
    let steps: &[&[&str]] = &[
        &["10%", "100%"],
        &["20%", "50%"],
        &["5%", "25%", "100%"],
        &["10%", "40%", "70%", "100%"],
        &["50%"],
    ];
    let bake = random.pick(&[0, 2, 3, 5]);
    let decide = bake + random.pick(&[3, 6, 12, 30]);
    let [listener_rule, stable, canary] = targets;
    let mut plan = json!({
        "rollout": rollout,
        "listener_rule": listener_rule,
        "stable": stable,
        "canary": canary,
        "steps": random.pick(steps),
        "bake": format!("{bake}m"),
        "min_requests": random.pick(&[1, 20, 100]),
        "decide_within": format!("{decide}m"),
        "on_undecided": random.pick(&["drain", "hold", "promote"]),
        "on_blind": random.pick(&["drain", "drain", "hold"]),
        "blind_after": format!("{}m", random.pick(&[2, 3, 5])),
        "mode": random.pick(&["drive", "drive", "drive", "drive", "drive", "drive", "drive", "observe"]),
        "sticky": random.pick(&["auto", "auto", "no", "yes"]),
        "checks": { "errors": { "promote_within": ["4x", "+6%"], "ignore_below": "1%" } },
    });
    if random.chance(0.05) {
        plan["burn_in"] = json!("2m");
    }
    let mut also = |key: &str, often: f64, value: Value| {
        if random.chance(often) {
            plan[key] = value;
        }
    };
    also("remind_every", 0.3, json!("5m"));
    also("rollback_window", 0.3, json!("10m"));
    also("alarms", 0.5, json!([ALARM]));
    also("deny_windows", 0.2, json!(DENY_WINDOWS));
    also("bad_request_budget", 0.1, json!(200));
    plan
}

/// How deployments of another system are judged.
pub(super) fn guard(random: &mut Random) -> Value {
    let bake = random.pick(&[0, 2, 3, 5]);
    json!({
        "bake": format!("{bake}m"),
        "min_requests": random.pick(&[1, 20, 100]),
        "decide_within": format!("{}m", bake + 12),
        "blind_after": format!("{}m", random.pick(&[2, 3, 5])),
        "answer_within": random.pick(&["3m", "10m", "20m", "55m"]),
        "on_deadline": random.pick(&["fail", "pass"]),
        "sticky": random.pick(&["auto", "no"]),
        "checks": { "errors": { "promote_within": ["4x", "+6%"], "ignore_below": "1%" } },
    })
}

/// Whether the time lies in [`DENY_WINDOWS`], reckoned without the calendar that is to be watched.
pub(super) fn is_denied(at: Timestamp) -> bool {
    let minute = at.as_second().rem_euclid(24 * 60 * 60) / 60;
    (11 * 60..11 * 60 + 20).contains(&minute) || (12 * 60 + 30..12 * 60 + 45).contains(&minute)
}

/// A CloudWatch alarm that changed its state, as EventBridge delivers it.
pub(super) fn alarm(value: &str, at: Timestamp) -> Value {
    json!({
        "source": "aws.cloudwatch",
        "detail-type": "CloudWatch Alarm State Change",
        "time": at.to_string(),
        "detail": {
            "alarmName": ALARM,
            "state": { "value": value, "reason": "chaos", "timestamp": at.to_string() },
        },
    })
}
