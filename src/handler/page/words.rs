//! The words of each kind of page: what happened, what was done, what to do.

use crate::rollout::record::{Cause, Page, PageKind, Record};

/// What happened, in a few words: a page's subject.
pub(super) fn headline(page: &Page) -> &'static str {
    match page.kind {
        PageKind::Drained => "canary drained",
        PageKind::DrainFailed => "DRAIN FAILED, canary still has traffic",
        PageKind::DrainBlocked => "NOT DRAINED, stable has no healthy target",
        PageKind::ShiftFailed => "the share cannot be raised",
        PageKind::Frozen => "frozen, weights changed by somebody else",
        PageKind::Blind => "canary cannot be observed",
        PageKind::Undecided => "still undecided",
        PageKind::ObservedHarmful => "canary is harmful (observe mode, NOT drained)",
        PageKind::ObservedHealthy => "canary is healthy (observe mode)",
        PageKind::SplitOff => "the traffic is not split as the weights say",
        PageKind::Suspected => "canary looks harmful, but clients are sticky",
        PageKind::BurntIn => "burn-in done, deploy the new version",
        PageKind::NoHealthyTarget => "waiting, canary has no healthy target",
        PageKind::StillServed => "DRAINED, BUT canary still gets requests",
        PageKind::NotVerified => "drained, but not known whether requests stopped",
        PageKind::GroupTakenOut => "canary's group taken out of the rule",
        PageKind::RaisedAgain => "canary got traffic again after its drain",
        PageKind::NotStarted => "not started, rule is taken",
        PageKind::GateTimedOut => "no verdict in time, a deployment was answered",
        PageKind::GateNotTold => "A DEPLOYMENT WAITS and could not be answered",
        PageKind::NotStopped => "HARMFUL, deployment could NOT be stopped",
        PageKind::DeploymentStopped => "canary is harmful, deployment stopped",
        PageKind::Promoted => "promoted",
    }
}

/// What canary-gate has done about it.
pub(super) fn done(record: &Record, kind: PageKind) -> String {
    let text = match kind {
        PageKind::Drained if record.sticky => {
            "the rollout has ended; the canary's weight is 0 and stays so until a new rollout starts. The \
             rule's group stickiness is switched off to free the clients that stick to it: switch it on again \
             when you need it"
        }
        PageKind::Drained => {
            "the rollout has ended; the canary's weight is 0 and stays so until a new rollout starts"
        }
        PageKind::DrainFailed | PageKind::DrainBlocked => "nothing yet: every tick tries again",
        PageKind::ShiftFailed => "the share is as it was; every tick tries again while the canary is healthy",
        PageKind::Frozen => {
            "canary-gate no longer raises the share; a canary that is proven harmful is still drained"
        }
        PageKind::Blind | PageKind::SplitOff | PageKind::Suspected => "the share is not raised",
        PageKind::BurntIn => {
            "the share is not raised until the rollout is resumed; harm is judged from now on"
        }
        PageKind::Undecided => "the share is not raised; the canary is still watched",
        PageKind::ObservedHarmful if record.owner.is_some() => {
            "the deployment is told to go back, by its hook or by a stop; a stop has a page of its own"
        }
        PageKind::ObservedHealthy if record.owner.is_some() => {
            "whoever waits in the deployment is told to go on"
        }
        PageKind::ObservedHarmful | PageKind::ObservedHealthy => "nothing: the plan's mode is observe",
        PageKind::NoHealthyTarget => "no traffic was sent to it; every tick looks again",
        PageKind::StillServed | PageKind::RaisedAgain | PageKind::NotVerified => {
            "the rollout has ended; canary-gate writes no more weights"
        }
        PageKind::GroupTakenOut => {
            "the rule no longer names the canary's group, since clients still reached it at weight zero"
        }
        PageKind::NotStarted => "the rollout has ended before its first shift",
        PageKind::GateTimedOut => "the deployment was answered as the plan's on_deadline says",
        PageKind::GateNotTold => "nothing yet: every tick tries again to answer",
        PageKind::NotStopped => "nothing yet: every tick tries again as long as the deployment goes on",
        PageKind::DeploymentStopped => "the deployment was told to stop and to go back",
        PageKind::Promoted => "the rollout has ended",
    };
    text.to_owned()
}

/// What a person should do now.
pub(super) fn to_do(record: &Record, page: &Page) -> String {
    let id = record.id();
    match page.kind {
        PageKind::Drained => after_drain(record),
        PageKind::DrainFailed => {
            "take the canary out of the rule by hand now, and check the function's right to modify the rule"
                .to_owned()
        }
        PageKind::DrainBlocked => {
            "get stable's targets healthy; do NOT take the canary out of the rule before: nothing else can \
             serve the traffic"
                .to_owned()
        }
        PageKind::ShiftFailed => {
            format!(
                "check the function's right to modify the rule, and the rule's weights; abort {id} if in doubt"
            )
        }
        PageKind::Frozen => {
            format!("find who changed the rule; then resume {id} with weights adopt or restore, or abort it")
        }
        PageKind::Blind => format!(
            "check that both target groups publish metrics and that the function may read them; abort {id} if \
             in doubt"
        ),
        PageKind::Undecided => format!(
            "promote, abort or wait: too few requests, or a difference close to the tolerance (status of {id} \
             has the numbers)"
        ),
        PageKind::SplitOff => {
            "look for targets that fail their health checks, clients that stick to a group, and weights that \
             are not applied; the comparison rests on the split"
                .to_owned()
        }
        PageKind::Suspected => format!(
            "look whether the same clients are slow in both groups; abort {id} if they are not, promote it if \
             they are. A burn-in before the next rollout lets canary-gate tell by itself"
        ),
        PageKind::BurntIn => format!("deploy the new version to the canary group, then resume {id}"),
        PageKind::NoHealthyTarget => {
            "check the canary's targets and their health checks, and that the rule names its group (weight 0 \
             will do): a group in no rule is not checked"
                .to_owned()
        }
        PageKind::StillServed => {
            "look for other rules that name the canary's group, and clients that stick to it; \
             take the group out of the rules, or stop its targets"
                .to_owned()
        }
        PageKind::NotVerified => "look whether the canary's group still gets requests (RequestCount); if it does, take \
             it out of the rules or stop its targets"
            .to_owned(),
        PageKind::GroupTakenOut => "nothing now; before the next rollout put the group into the rule again, with \
             weight 0: a group in no rule is not checked, and a tool that manages the rule will see it changed"
            .to_owned(),
        PageKind::RaisedAgain => format!("find who changed the rule; {id} was rolled back for a reason"),
        PageKind::NotStarted => "start it again when the other rollout has ended".to_owned(),
        kind @ (PageKind::ObservedHarmful
        | PageKind::ObservedHealthy
        | PageKind::GateTimedOut
        | PageKind::GateNotTold
        | PageKind::NotStopped
        | PageKind::DeploymentStopped) => of_another_hand(record, kind),
        PageKind::Promoted if record.plan.rollback_window.seconds() > 0 => format!(
            "nothing; should it turn out bad, abort {id} takes it back within {}, as long as stable's targets \
             are there",
            record.plan.rollback_window
        ),
        PageKind::Promoted => "nothing".to_owned(),
    }
}

/// What to do where the weights are another hand's.
fn of_another_hand(record: &Record, kind: PageKind) -> String {
    let id = record.id();
    match kind {
        PageKind::ObservedHarmful if record.owner.is_some() => {
            "look whether the deployment goes back; stop it by hand if it does not, and look at the canary's errors"
                .to_owned()
        }
        PageKind::ObservedHealthy if record.owner.is_some() => "nothing".to_owned(),
        PageKind::ObservedHarmful => {
            format!("take the canary out of the traffic yourself; then abort {id} to end the watch")
        }
        PageKind::ObservedHealthy => {
            format!("raise the share yourself if you want; abort {id} to end the watch")
        }
        PageKind::GateTimedOut => format!(
            "look at the evidence (status of {id} has the numbers); give it more traffic or more time (answer_within), or say by \
             on_deadline what is to be answered"
        ),
        PageKind::GateNotTold => {
            "look why the call was refused (permissions, network); the deployment fails by itself when its own \
             time is over"
                .to_owned()
        }
        PageKind::NotStopped => {
            "stop the deployment by hand, with a roll-back, or deploy the old version again if it is over; then \
             look why the call was refused or came too late"
                .to_owned()
        }
        _ => "look whether the deployment has gone back, and at the canary's errors".to_owned(),
    }
}

/// A canary is drained on evidence, for want of data, or on somebody's word.
fn after_drain(record: &Record) -> String {
    let id = record.id();
    match record.cause {
        Some(Cause::Harm) => format!(
            "look at the canary's logs from before the drain; then fix and start a new rollout (history of \
             {id} has every minute)"
        ),
        Some(Cause::Blind) => {
            "it was drained because nobody could see how it does: check that the canary gets its traffic, that \
             both groups publish metrics, and that the function may read them; then start again"
                .to_owned()
        }
        Some(Cause::Order) => format!(
            "find out what whoever ordered it has seen; canary-gate itself was not asked (history of {id} has \
             every minute)"
        ),
        Some(Cause::Undecided) | None => {
            format!("nothing is proven against the canary (history of {id} has every minute)")
        }
    }
}

/// Commands that a person may want next, the likeliest first.
pub(super) fn commands(record: &Record, kind: PageKind) -> Vec<String> {
    let id = record.id();
    let ask = |word: &str| format!("canary-gate {word} {id}");
    let act = |word: &str| format!("canary-gate {word} {id} --reason \"...\"");
    match kind {
        PageKind::Drained
        | PageKind::RaisedAgain
        | PageKind::StillServed
        | PageKind::NotVerified
        | PageKind::GroupTakenOut
        | PageKind::DeploymentStopped
        | PageKind::NotStopped => vec![ask("history")],
        // With the person's own rights it may succeed where the function's did not.
        PageKind::DrainFailed => vec![act("abort"), ask("status")],
        PageKind::DrainBlocked | PageKind::GateNotTold | PageKind::NotStarted => vec![ask("status")],
        PageKind::ShiftFailed | PageKind::Blind | PageKind::SplitOff | PageKind::NoHealthyTarget => {
            vec![ask("status"), act("abort")]
        }
        PageKind::Frozen => vec![
            format!("{} --weights restore", act("resume")),
            format!("{} --weights adopt", act("resume")),
            act("abort"),
        ],
        PageKind::Undecided | PageKind::Suspected => vec![ask("status"), act("promote"), act("abort")],
        PageKind::BurntIn => vec![act("resume")],
        PageKind::ObservedHarmful | PageKind::ObservedHealthy if record.owner.is_some() => {
            vec![ask("status")]
        }
        PageKind::ObservedHarmful | PageKind::ObservedHealthy => vec![ask("status"), act("abort")],
        PageKind::GateTimedOut => vec![ask("status")],
        PageKind::Promoted if record.plan.rollback_window.seconds() > 0 => vec![act("abort")],
        PageKind::Promoted => Vec::new(),
    }
}
