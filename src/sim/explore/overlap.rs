//! Two invocations at once, in every order of their calls, with a death or a failure at every point.
//!
//! The search is stateless: it replays the real handler from the start along a schedule, one call at a time,
//! and goes no further where the cloud is as it was before and every invocation has been told the same.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::stage::{ROLLOUT, Stage, Staged, TICK_SECOND, command, plan};
use super::watch::{Brief, Kind, Look, Step, Watch};
use crate::handler::{HandlerError, Options, handle};
use crate::ports::FailureKind;
use crate::rollout::record::Phase;
use crate::sim::run::{options, tick_event};
use crate::sim::{Cloud, Fault, Operation, Outcome};
use crate::units::{Minute, Share};

/// Calm ticks after which everything must be in order.
const CALM_TICKS: u32 = 20;
/// Calm ticks that are looked at in any case.
const CALM_TICKS_AT_LEAST: u32 = 3;
/// Broken rules that are told of one case.
const TOLD: usize = 5;

/// One invocation: what, and when.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What.
    pub kind: Kind,
    /// Minutes after the stage's, and seconds after the minute, at which it begins.
    pub at: (i64, i64),
    /// The minute of a tick, counted from the stage's.
    pub minute: i64,
}

impl Asked {
    /// A tick of the minute so many after the stage's, that arrives so many seconds after that minute began.
    #[must_use]
    pub fn tick(minute: i64, second: i64) -> Self {
        Self { kind: Kind::Tick, at: (minute, second), minute }
    }

    /// Anything but a tick.
    #[must_use]
    pub fn order(kind: Kind, second: i64) -> Self {
        Self { kind, at: (0, second), minute: 0 }
    }

    fn now(&self, stage: &Stage) -> Timestamp {
        stage.at(self.at.0 * 60 + self.at.1)
    }

    fn event(&self, stage: &Stage) -> Value {
        let order = |word: &str| command(&json!({ "command": word, "rollout": ROLLOUT }));
        let resume =
            |weights: &str| command(&json!({ "command": "resume", "rollout": ROLLOUT, "weights": weights }));
        match self.kind {
            Kind::Tick => tick_event(stage.minute.plus(self.minute)),
            Kind::Abort => order("abort"),
            Kind::Pause => order("pause"),
            Kind::Resume => order("resume"),
            Kind::Promote => order("promote"),
            Kind::Restore => resume("restore"),
            Kind::Adopt => resume("adopt"),
            Kind::Freeze => command(&json!({ "command": "freeze" })),
            Kind::Thaw => command(&json!({ "command": "thaw" })),
            Kind::Start => {
                command(&json!({ "command": "start", "plan": plan(ROLLOUT, &["25%", "50%", "100%"]) }))
            }
            Kind::Alarm => alarm(self.now(stage)),
        }
    }
}

/// As CloudWatch invokes a function for an alarm.
fn alarm(at: Timestamp) -> Value {
    json!({
        "source": "aws.cloudwatch",
        "alarmArn": "arn:aws:cloudwatch:eu-central-1:123456789012:alarm:too-slow",
        "accountId": "123456789012",
        "time": at.to_string(),
        "region": "eu-central-1",
        "alarmData": {
            "alarmName": "too-slow",
            "state": { "value": "ALARM", "reason": "the search", "timestamp": at.to_string() },
            "configuration": { "description": format!("canary-gate:{ROLLOUT}") },
        },
    })
}

/// A situation and what happens in it at the same time.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its name.
    pub name: String,
    pub(super) stage: Stage,
    pub(super) asked: Vec<Asked>,
    /// Any invocation may die at any point.
    pub deaths: bool,
    /// So many calls may fail.
    pub failures: u32,
}

impl Case {
    /// Every pair of invocations in every situation, with deaths, and every invocation alone with a failing call.
    #[must_use]
    pub fn all() -> Vec<Self> {
        Stage::situations().into_iter().flat_map(|(situation, stage)| Self::of(situation, &stage)).collect()
    }

    fn of(situation: &str, stage: &Stage) -> Vec<Self> {
        let mut cases = Vec::new();
        let tick = || Asked::tick(0, TICK_SECOND);
        let order = |kind| Asked::order(kind, 25);
        let mut pairs = vec![
            ("two ticks of one minute", vec![tick(), Asked::tick(0, 40)]),
            // The first comes late, and still lives when the second comes on time.
            ("ticks of two minutes", vec![Asked::tick(0, 35), Asked::tick(1, TICK_SECOND)]),
        ];
        for kind in KINDS {
            pairs.push((name(kind), vec![tick(), order(kind)]));
        }
        pairs.push(("promote and abort", vec![Asked::order(Kind::Promote, TICK_SECOND), order(Kind::Abort)]));
        // Both look again up to five times if the other was faster: thousands of orders, and much the same
        // ones wherever the rollout stands.
        if ["on a step", "before the last shift", "promoted"].contains(&situation) {
            pairs.push(("abort and alarm", vec![Asked::order(Kind::Abort, TICK_SECOND), order(Kind::Alarm)]));
        }
        for (what, asked) in pairs {
            let name = format!("{situation}: {what}");
            cases.push(Self { name, stage: stage.clone(), asked, deaths: true, failures: 0 });
        }
        for kind in KINDS.into_iter().chain([Kind::Tick]) {
            let asked = if kind == Kind::Tick { tick() } else { order(kind) };
            let name = format!("{situation}: {kind:?} alone, one call fails");
            cases.push(Self { name, stage: stage.clone(), asked: vec![asked], deaths: true, failures: 1 });
        }
        cases
    }
}

const KINDS: [Kind; 10] = [
    Kind::Abort,
    Kind::Alarm,
    Kind::Pause,
    Kind::Resume,
    Kind::Promote,
    Kind::Restore,
    Kind::Adopt,
    Kind::Freeze,
    Kind::Thaw,
    Kind::Start,
];

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Tick => "tick",
        Kind::Abort => "tick and abort",
        Kind::Alarm => "tick and alarm",
        Kind::Pause => "tick and pause",
        Kind::Resume => "tick and resume",
        Kind::Promote => "tick and promote",
        Kind::Restore => "tick and restore",
        Kind::Adopt => "tick and adopt",
        Kind::Freeze => "tick and freeze",
        Kind::Thaw => "tick and thaw",
        Kind::Start => "tick and start",
    }
}

/// What a search has gone through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Schedules that were run to their end.
    pub schedules: u64,
    /// Schedules that came to a state that was known.
    pub pruned: u64,
    /// Different states.
    pub states: u64,
    /// Calls made, with those of replays and of calm ticks.
    pub calls: u64,
    /// Deaths that were tried.
    pub deaths: u64,
    /// Failures of calls that were tried.
    pub failures: u64,
    /// Calm ticks afterwards.
    pub calm_ticks: u64,
    /// Pages that went out twice, each for a death, a failure or an overlap that explains it.
    pub repeated_pages: u64,
    /// Known limits that were met, and how often.
    pub limits: BTreeMap<&'static str, u64>,
    /// Rules that were looked at.
    pub checked: u64,
    /// Rules that were found broken, each with its schedule.
    pub broken: Vec<String>,
}

impl Found {
    /// Adds another search's.
    pub fn add(&mut self, other: Self) {
        self.schedules += other.schedules;
        self.pruned += other.pruned;
        self.states += other.states;
        self.calls += other.calls;
        self.deaths += other.deaths;
        self.failures += other.failures;
        self.calm_ticks += other.calm_ticks;
        self.repeated_pages += other.repeated_pages;
        self.checked += other.checked;
        for (limit, times) in other.limits {
            *self.limits.entry(limit).or_default() += times;
        }
        self.broken.extend(other.broken);
    }
}

/// What happens next.
#[derive(Debug, Clone)]
enum Choice {
    Goes(usize),
    Dies(usize),
    Fails(usize, Operation, Outcome),
}

type Work<'a> = Pin<Box<dyn Future<Output = Result<Value, HandlerError>> + Send + 'a>>;

enum Life<'a> {
    Alive(Work<'a>, Vec<Operation>),
    Done(bool),
    Dead,
}

/// An invocation on its way.
struct Actor<'a> {
    kind: Kind,
    now: Timestamp,
    life: Life<'a>,
    /// A digest of all that it was told.
    told: u64,
}

/// A replay: the cloud, those who work on it, and what they have done.
struct Replay<'a, P> {
    platform: &'a P,
    case: &'a Case,
    actors: Vec<Actor<'a>>,
    watch: Watch,
    look: Look,
    /// A digest of the records, which are large and seldom change.
    records: u64,
    messages: usize,
    failures: u32,
    calls: u64,
    story: String,
}

/// A writer that keeps nothing but a digest.
struct Digest(DefaultHasher);

impl std::io::Write for Digest {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn digest(thing: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    thing.hash(&mut hasher);
    hasher.finish()
}

fn digest_of_records(cloud: &Cloud) -> u64 {
    let mut digest = Digest(DefaultHasher::new());
    cloud.with_records(|records| {
        for record in records.values() {
            serde_json::to_writer(&mut digest, record).expect("a record can be written as JSON");
        }
    });
    digest.0.finish()
}

impl<'a, P: Staged> Replay<'a, P> {
    fn new(platform: &'a P, case: &'a Case, options: &'a Options, events: &'a [Value]) -> Self {
        let cloud = platform.as_ref();
        cloud.step_by_step(true);
        let kinds: Vec<Kind> = case.asked.iter().map(|asked| asked.kind).collect();
        let mut replay = Self {
            platform,
            case,
            actors: Vec::new(),
            watch: Watch::new(&case.stage, cloud, &kinds),
            look: Look::at(cloud, &case.stage.targets),
            records: digest_of_records(cloud),
            messages: cloud.messages().len(),
            failures: 0,
            calls: 0,
            story: String::new(),
        };
        for (asked, event) in case.asked.iter().zip(events) {
            replay.enter(asked.kind, event, asked.now(&case.stage), options);
        }
        replay
    }

    /// Another invocation, up to its first call.
    fn enter(&mut self, kind: Kind, event: &'a Value, now: Timestamp, options: &'a Options) {
        let mut work: Work<'a> = Box::pin(handle(self.platform, options, event, now));
        let life = match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Life::Done(answer.is_ok()),
            Poll::Pending => Life::Alive(work, self.platform.as_ref().take_announced()),
        };
        self.actors.push(Actor { kind, now, life, told: 0 });
    }

    /// Everything that decides what can still happen.
    fn state(&self) -> u64 {
        let actors: Vec<(u8, u64)> = self
            .actors
            .iter()
            .map(|actor| match actor.life {
                Life::Alive(..) => (0, actor.told),
                Life::Done(accepted) => (1, u64::from(accepted)),
                Life::Dead => (2, 0),
            })
            .collect();
        let rule = format!("{:?}", self.look.rule);
        digest((actors, self.records, rule, self.look.frozen, self.failures, self.watch.state()))
    }

    fn choices(&self) -> Vec<Choice> {
        let mut choices = Vec::new();
        for (who, actor) in self.actors.iter().enumerate() {
            let Life::Alive(_, announced) = &actor.life else { continue };
            choices.push(Choice::Goes(who));
            if self.case.deaths {
                choices.push(Choice::Dies(who));
            }
            if self.failures < self.case.failures {
                for call in announced {
                    choices.extend(faults(*call).into_iter().map(|fault| Choice::Fails(who, *call, fault)));
                }
            }
        }
        choices
    }

    fn apply(&mut self, choice: &Choice) {
        match choice {
            Choice::Goes(who) => self.go(*who, None),
            Choice::Dies(who) => {
                let _ = write!(self.story, " {}{:?} dies.", who + 1, self.actors[*who].kind);
                self.actors[*who].life = Life::Dead;
                self.watch.died(*who);
            }
            Choice::Fails(who, call, outcome) => {
                let fault = Fault { operation: *call, outcome: outcome.clone(), times: 1 };
                self.platform.as_ref().fail(fault);
                self.failures += 1;
                self.go(*who, Some(outcome));
            }
        }
    }

    /// One makes its next call.
    fn go(&mut self, who: usize, fault: Option<&Outcome>) {
        let cloud = self.platform.as_ref();
        let actor = &mut self.actors[who];
        let Life::Alive(work, calls) = &mut actor.life else { return };
        let calls = std::mem::take(calls);
        self.calls += calls.len() as u64;
        let _ = write!(self.story, " {}{:?} {calls:?}", who + 1, actor.kind);
        if let Some(fault) = fault {
            let _ = write!(self.story, " {fault:?}");
        }
        cloud.set_now(actor.now);
        let next = match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => {
                if let Err(error) = &answer {
                    let _ = write!(self.story, " ({error})");
                }
                Some(answer.is_ok())
            }
            Poll::Pending => None,
        };
        let announced = cloud.take_announced();
        let after = Look::at(cloud, &self.case.stage.targets);
        let messages = cloud.messages_after(self.messages);
        self.messages += messages.len();
        let stored = self.look.stored(&after);
        if stored {
            self.records = digest_of_records(cloud);
        }
        // An answer is what the cloud was like, or whether the call took effect.
        let seen: Vec<u64> = calls
            .iter()
            .map(|call| match call {
                Operation::Running | Operation::Get | Operation::List => self.records,
                Operation::ReadSplits => digest(format!("{:?}", after.rule)),
                Operation::Put | Operation::Create => u64::from(stored),
                Operation::Freeze => u64::from(after.frozen),
                _ => 0,
            })
            .collect();
        actor.told = digest((actor.told, &calls, seen, format!("{fault:?}")));
        match next {
            Some(accepted) => actor.life = Life::Done(accepted),
            None => {
                if let Life::Alive(_, waiting) = &mut actor.life {
                    *waiting = announced;
                }
            }
        }
        let (before, after) = (&self.look, &after);
        self.watch.step(&Step { who, calls: &calls, fault, before, after, messages: &messages });
        self.look = after.clone();
        self.story.push('.');
    }

    fn accepted(&self, kind: Kind) -> bool {
        self.actors.iter().any(|actor| actor.kind == kind && matches!(actor.life, Life::Done(true)))
    }

    fn asked(&self, kinds: &[Kind]) -> bool {
        self.actors.iter().any(|actor| kinds.contains(&actor.kind))
    }

    fn record(&self) -> &Brief {
        &self.look.records[ROLLOUT]
    }

    /// All that is left to do is done, and nothing more will come.
    fn settled(&self) -> bool {
        self.platform.as_ref().with_records(|records| records.values().all(|record| !record.needs_ticks()))
    }
}

/// How a call may fail.
fn faults(call: Operation) -> Vec<Outcome> {
    let mut faults = vec![Outcome::Fails(FailureKind::TimedOut), Outcome::AnswerLost(FailureKind::TimedOut)];
    match call {
        // The client sends a write again by itself, and meets its own.
        Operation::Put | Operation::Create => faults.push(Outcome::AnswerLost(FailureKind::Conflict)),
        Operation::ReadMetrics => faults.push(Outcome::Partial),
        _ => {}
    }
    faults
}

/// The search of one case, on platforms that `make` builds round a cloud.
pub struct Search<'a, P> {
    case: &'a Case,
    make: &'a dyn Fn(Cloud) -> P,
    known: HashSet<u64>,
    open: Vec<Vec<Choice>>,
    /// How far an undisturbed rollout comes.
    goal: Option<usize>,
    found: Found,
}

impl<'a, P: Staged> Search<'a, P> {
    /// A search that has not begun.
    pub fn new(case: &'a Case, make: &'a dyn Fn(Cloud) -> P) -> Self {
        let goal = case.stage.after_calm_ticks(CALM_TICKS_AT_LEAST).step;
        let open = vec![Vec::new()];
        Self { case, make, known: HashSet::new(), open, goal, found: Found::default() }
    }

    /// Goes through all schedules.
    #[must_use]
    pub fn run(mut self) -> Found {
        let last = self.case.asked.iter().map(|asked| asked.at.0).max().unwrap_or(0);
        let first = self.case.stage.minute.plus(last + 1);
        let minutes: Vec<Minute> = (0..i64::from(CALM_TICKS)).map(|at| first.plus(at)).collect();
        let ticks: Vec<Value> = minutes.iter().map(|minute| tick_event(*minute)).collect();
        let events: Vec<Value> = self.case.asked.iter().map(|asked| asked.event(&self.case.stage)).collect();
        let options = options();
        while let Some(schedule) = self.open.pop() {
            let platform = (self.make)(self.case.stage.cloud.fork());
            let mut replay = Replay::new(&platform, self.case, &options, &events);
            self.one(&mut replay, schedule, &options, &minutes, &ticks);
            self.found.calls += replay.calls;
            self.found.checked += replay.watch.checked;
            for (limit, times) in &replay.watch.limits {
                *self.found.limits.entry(limit).or_default() += times;
            }
            if self.found.broken.len() >= TOLD {
                break;
            }
        }
        self.found
    }

    fn one<'r>(
        &mut self,
        replay: &mut Replay<'r, P>,
        mut schedule: Vec<Choice>,
        options: &'r Options,
        minutes: &[Minute],
        ticks: &'r [Value],
    ) {
        schedule.iter().for_each(|choice| replay.apply(choice));
        loop {
            if !replay.watch.broken.is_empty() {
                self.found.schedules += 1;
                return self.tell(replay);
            }
            if !self.known.insert(replay.state()) {
                self.found.pruned += 1;
                return;
            }
            self.found.states += 1;
            let mut choices = replay.choices();
            if choices.is_empty() {
                break;
            }
            for other in choices.drain(1..) {
                match other {
                    Choice::Dies(_) => self.found.deaths += 1,
                    Choice::Fails(..) => self.found.failures += 1,
                    Choice::Goes(_) => {}
                }
                self.open.push(schedule.iter().cloned().chain([other]).collect());
            }
            let first = choices.swap_remove(0);
            replay.apply(&first);
            schedule.push(first);
        }
        self.found.schedules += 1;
        self.calm_down(replay, options, minutes, ticks);
        self.found.repeated_pages += replay.watch.repeated;
        self.tell(replay);
    }

    fn tell(&mut self, replay: &Replay<'_, P>) {
        if let Some(broken) = replay.watch.broken.first() {
            self.found.broken.push(format!("{}: {broken};{}", self.case.name, replay.story));
        }
    }

    /// Ticks on time, without any trouble, until all is in order.
    fn calm_down<'r>(
        &mut self,
        replay: &mut Replay<'r, P>,
        options: &'r Options,
        minutes: &[Minute],
        ticks: &'r [Value],
    ) {
        let stage = &self.case.stage;
        let cloud = replay.platform.as_ref();
        let before = replay.record().clone();
        let watched = !before.phase.is_terminal() && !replay.asked(&[Kind::Start]);
        let mut traffic = stage.minute;
        for (at, (minute, tick)) in (1..).zip(minutes.iter().zip(ticks)) {
            while traffic < *minute {
                stage.traffic(cloud, traffic);
                traffic = traffic.plus(1);
            }
            let now = minute.start() + SignedDuration::from_secs(TICK_SECOND);
            let who = replay.watch.begin(Kind::Tick);
            replay.enter(Kind::Tick, tick, now, options);
            while matches!(replay.actors[who].life, Life::Alive(..)) {
                replay.go(who, None);
            }
            self.found.calm_ticks += 1;
            if at == 1 && stage.harmful && watched {
                let drained = replay.look.share == Share::ZERO && replay.record().phase == Phase::Drained;
                let record = replay.record().clone();
                replay.watch.ensure(drained, || format!("harm was not drained by the next tick: {record:?}"));
            }
            let reached = replay.record().phase.is_terminal() || replay.record().step >= self.goal;
            let calm = replay.settled() || (reached && !replay.record().phase.is_terminal() && at >= 5);
            if !replay.watch.broken.is_empty() || (at >= CALM_TICKS_AT_LEAST && calm) {
                break;
            }
        }
        if replay.watch.broken.is_empty() {
            let look = replay.look.clone();
            replay.watch.end(&look);
            self.end(replay);
        }
    }

    /// What those who asked for something were promised, and whether the rollout still gets on.
    fn end(&self, replay: &mut Replay<'_, P>) {
        let record = replay.record().clone();
        let begun = &self.case.stage.record();
        if record.started != begun.started.at {
            return;
        }
        let phase = record.phase;
        let harmful = self.case.stage.harmful;
        let aborted = replay.accepted(Kind::Abort) || self.alarmed(replay);
        let down = matches!(phase, Phase::Drained | Phase::Draining);
        let ends = replay.asked(&[Kind::Abort, Kind::Alarm]);
        let by_word = replay.asked(&[Kind::Promote]);
        replay.watch.ensure(!aborted || down, || format!("an accepted abort did not drain: {record:?}"));
        let harm = !harmful || down || begun.phase.is_terminal() || by_word;
        replay.watch.ensure(harm, || format!("harm was not drained: {record:?}"));
        let reason = harmful || ends || begun.phase == phase || !down;
        replay.watch.ensure(reason, || format!("drained without a reason: {record:?}"));
        let paused = !replay.accepted(Kind::Pause) || phase != Phase::Running;
        replay.watch.ensure(paused, || format!("an accepted pause was lost: {record:?}"));
        let stops = [Kind::Abort, Kind::Alarm, Kind::Pause, Kind::Freeze];
        if !harmful && !replay.asked(&stops) && phase != Phase::Frozen {
            let on = record.step >= self.goal || phase == Phase::Promoted;
            replay.watch.ensure(on, || format!("the rollout did not get on: {record:?}"));
        }
    }

    /// An alarm that was understood and meant a rollout that could still be drained.
    fn alarmed(&self, replay: &Replay<'_, P>) -> bool {
        let phase = self.case.stage.record().phase;
        replay.accepted(Kind::Alarm) && !matches!(phase, Phase::Drained | Phase::Stopped)
    }
}

/// Goes through all schedules of a case on the simulated cloud as it is.
#[must_use]
pub fn search(case: &Case) -> Found {
    Search::new(case, &|cloud| cloud).run()
}
