#!/usr/bin/env python3
"""Breaks the rules that keep production safe, one at a time, and looks whether a test notices.

Each mutation is one small change to the sources that breaks one rule, and the test that must fail then. A rule
whose test passes on broken code is not kept by anything. All mutations are built into one program, which is told
with each run which one of them to have; those of constants are built one by one.

    tests/mutations.py --check       every text and every test named here exists; takes a second
    tests/mutations.py               all of them, in a copy of the tree; takes some minutes
    tests/mutations.py --only lease  those whose rule, file or test contains the word
    tests/mutations.py --aws         those in the AWS adapters as well: builds the SDK
    tests/mutations.py --markdown    the table for docs/reliability.md
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent
# A broken core may wait for something that never comes.
TEST_SECONDS = 60

DECIDE = "src/rollout/decide.rs"
VERIFY = "src/rollout/verify.rs"
COMMAND = "src/rollout/command.rs"
RECORD = "src/rollout/record.rs"
TRANSITION = "src/rollout/transition.rs"
EFFECT = "src/rollout/effect.rs"
TICK = "src/handler/tick.rs"
PERFORM = "src/handler/perform.rs"
OBSERVE = "src/handler/observe.rs"
COMMANDS = "src/handler/commands.rs"
ALARMS = "src/handler/alarms.rs"
HANDLER = "src/handler/mod.rs"
JUDGE = "src/analysis/judge.rs"
STANDING = "src/rollout/standing.rs"
GATES = "src/rollout/gate.rs"
TEND = "src/handler/gates.rs"
HOOKS = "src/handler/hooks.rs"
ASKED = "src/handler/http/asked.rs"
FLAGGER = "src/handler/http/flagger.rs"
LOADTESTER = "src/handler/http/loadtester.rs"
KAYENTA = "src/handler/http/kayenta.rs"
SPINNAKER = "src/handler/http/spinnaker.rs"
GITHUB = "src/handler/http/github.rs"
GITHUB_SETTINGS = "src/config/github.rs"
HTTP_AUTH = "src/handler/http/auth.rs"
PLAN = "src/config/plan.rs"
STS = "src/aws/sts.rs"
RUN = "src/cli/run.rs"


@dataclass(frozen=True)
class Mutation:
    """One way to break a rule."""

    rule: str
    change: str
    file: str
    old: str
    new: str
    # `lib PATH`, `suite PATH`, or `aws PATH` for a unit test of the AWS adapters.
    test: str


def lib(path):
    return f"lib {path}"


def decide(name):
    return lib(f"rollout::decide::tests::{name}")


def verify(name):
    return lib(f"rollout::verify::tests::{name}")


def command(name):
    return lib(f"rollout::command::tests::{name}")


def judge(name):
    return lib(f"analysis::judge::tests::{name}")


def suite(path):
    return f"suite {path}"


def rules(name):
    return f"suite rules::{name}"


UP = "The share rises only on a healthy verdict of this very step"
BAKED = "The share rises only after the bake time, the minimum requests and a window that was read whole"
HARM = "Harm drains in the same tick, whatever else is pending"
ORDER_DOWN = "Down: weights, then record, then page"
ANNOUNCED = "A drain that somebody ordered is announced as draining before zero is written, if it can be"
ORDER_UP = "Up: intent (on the version it was decided on), then weights, then confirmation"
BLIND = "No data is blind, and never good news"
BLIND_LONG = "Blind for longer than the plan allows drains or holds, as the plan says, and pages"
MISSING = "A missing counter is zero only where RequestCount has a point"
UNANSWERED = "Requests without an answer are errors, over the whole window"
STABLE = "Nothing is drained into a stable group without a healthy target"
CANARY = "No traffic is sent to a canary without a healthy target"
FOREIGN = "Weights of another hand freeze the rollout, page, and are left alone until `resume`"
ZERO = "A canary that somebody set to zero stays at zero"
OURS = "What is not ours in a rule is written back as it was"
STICKY = "A drain frees sticky clients"
WATCH = "After a drain the canary's RequestCount is watched until it has fallen"
GONE = "A drain ends where the rule names neither group, and only there"
TWICE = "Ticks may come twice, late, out of order"
AT_ONCE = "Ticks may come at the same time, and any other invocation too"
REPAIR = "The next tick repairs what a failed call or a dead process left behind"
PAGED = "Nothing is paged twice for one transition"
KEPT = "No page is lost"
STAYS = "What was rolled back stays rolled back"
LOG = "Every decision is in the log with all it takes to judge again"
LEASE = "A shift under way is left to its invocation for as long as that can live, and no longer"
FREEZE = "While all rollouts are frozen, or nobody knows whether they are, no share rises; drains work"
DENY = "No tick raises a share in a window that the plan denies"
BUDGET = "A canary that has done more damage than the plan puts up with is harmful"
ROLLBACK = "A promotion is taken back within its rollback window only, and only if stable can take the traffic"
ALARM = "An alarm drains the rollouts that it names, and no others"
REMIND = "A condition that lasts is paged again, as often as the plan says"
IN_TIME = "A tick ends in time with what it has done, and begins with those who can't wait; whoever is left out is told"
SHARDS = "Every rollout is looked at by exactly one shard"
ONE_RULE = "Of two rollouts on one listener rule only one begins"
GATE = "A caller hears pass only on a proof of the rollout and the step that it asks about"
NO_ANSWER = "What we can't answer is neither pass nor a reason to roll back, and is asked again"
ONE_ANSWER = "Whoever waits is told what was recorded before, and never two things"
PASSES = "A deployment goes on only on a proof, before its traffic, when it goes back, or at the deadline if the plan says so"
WAITERS = "Whoever waits is told at the deadline at the latest, and is not forgotten"
STOPS = "A deployment that raises a harmful canary's share is stopped"
MAY_ACT = "Only callers that may act change something"
ROLES = "A rollout of another account is looked after by its own role alone, which is of that account"
FORGED = "What is not GitHub's is not answered, and no token goes elsewhere"

MUTATIONS = [
    # Never up without proof.
    Mutation(
        UP,
        "anything but harm counts as health",
        DECIDE,
        "judgement.verdict == Verdict::Healthy {",
        "judgement.verdict != Verdict::Harmful {",
        decide("only_a_healthy_verdict_raises_the_share"),
    ),
    Mutation(
        UP,
        "the health of the step before counts",
        DECIDE,
        "return if is_of_this_step(record, judgement) {",
        "return if is_of_this_step(record, judgement) || judgement.step.is_some() {",
        decide("the_health_of_the_step_before_proves_nothing_on_this_one"),
    ),
    Mutation(
        UP,
        "minutes from before the shift count",
        DECIDE,
        "shifted.is_some_and(|shifted| step.since >= shifted)",
        "shifted.is_some()",
        decide("the_health_of_the_step_before_proves_nothing_on_this_one"),
    ),
    Mutation(
        UP,
        "a paused rollout goes up",
        DECIDE,
        "Phase::Paused => Move::Hold(record.why.clone()),",
        "Phase::Paused => advance(record, judgement, now),",
        decide("paused_and_frozen_rollouts_hold_however_healthy"),
    ),
    Mutation(
        UP,
        "`on_undecided: promote` goes up in spite of signs of harm",
        DECIDE,
        "OnUndecided::Promote if !forbidden(record, judgement) =>",
        "OnUndecided::Promote =>",
        decide("an_undecided_step_ends_as_the_plan_says"),
    ),
    Mutation(
        UP,
        "`mode: observe` writes",
        DECIDE,
        "    if record.plan.mode == Mode::Observe {\n        return Move::HoldAndPage(PageKind::ObservedHealthy, why);\n    }\n",
        "",
        decide("observe_mode_writes_nothing_follows_the_weights_and_pages_once"),
    ),
    Mutation(
        UP,
        "`mode: observe` makes the first shift",
        DECIDE,
        "Phase::Waiting if drives => rise(record, 0, record.why.clone(), now),",
        "Phase::Waiting => rise(record, 0, record.why.clone(), now),",
        decide("observe_mode_writes_nothing_follows_the_weights_and_pages_once"),
    ),
    Mutation(
        BAKED,
        "the bake time is not waited for",
        JUDGE,
        "if baking > 0 {",
        "if baking > i64::MAX - 1 {",
        judge("a_canary_as_good_as_stable_is_healthy_when_bake_and_requests_are_reached"),
    ),
    Mutation(
        BAKED,
        "minutes that nobody saw count as bake time",
        JUDGE,
        "Some(Exclusion::Incomplete | Exclusion::BurnIn | Exclusion::WarmUp)",
        "Some(Exclusion::BurnIn | Exclusion::WarmUp)",
        judge("minutes_that_nobody_saw_do_not_count_as_bake_time"),
    ),
    Mutation(
        BAKED,
        "the minimum requests are not waited for",
        JUDGE,
        "find(|(_, have)| *have < need)",
        "find(|(_, have)| *have > need && *have < need)",
        judge("both_arms_need_their_minimum_of_requests_on_every_step"),
    ),
    Mutation(
        BAKED,
        "the canary's requests alone are counted",
        JUDGE,
        "let requests = [(Arm::Canary, progress.canary_requests), (Arm::Stable, progress.stable_requests)];",
        "let requests = [(Arm::Canary, progress.canary_requests)];",
        judge("both_arms_need_their_minimum_of_requests_on_every_step"),
    ),
    Mutation(
        BAKED,
        "a window with a gap at its end is good enough",
        JUDGE,
        "(self.silence.minutes > 0).then_some(Reason::NoData",
        "(self.silence.minutes > 99).then_some(Reason::NoData",
        judge("a_canary_whose_newest_minute_nobody_saw_is_not_healthy"),
    ),
    Mutation(
        BAKED,
        "a window that was not read whole is judged as it is",
        JUDGE,
        "if let Some(detail) = unread {",
        "if let Some(detail) = unread.filter(|detail| detail.is_empty()) {",
        judge("a_window_that_was_not_read_whole_is_blind_however_good_it_looks"),
    ),
    Mutation(
        BAKED,
        "that a window is not whole is not handed on",
        OBSERVE,
        "unread: complete.err() }",
        "unread: complete.err().filter(String::is_empty) }",
        suite("ticks::metrics_that_are_not_whole_are_blind_and_drain_only_after_blind_after"),
    ),
    Mutation(
        BAKED,
        "minutes that CloudWatch still changes are looked at",
        OBSERVE,
        "let mut until = Minute::of(now).plus(-watermark.whole_minutes());",
        "let mut until = Minute::of(now).plus(-watermark.whole_minutes().min(0));",
        rules("minutes_that_may_still_change_are_not_looked_at"),
    ),
    # Harm comes first.
    Mutation(
        HARM,
        "a frozen rollout is not drained",
        DECIDE,
        "if input.judgement.verdict == Verdict::Harmful {",
        "if input.judgement.verdict == Verdict::Harmful && record.phase != Phase::Frozen {",
        decide("harm_drains_from_every_phase_and_whatever_the_rule_says"),
    ),
    Mutation(
        HARM,
        "a paused rollout is not drained",
        DECIDE,
        "if input.judgement.verdict == Verdict::Harmful {",
        "if input.judgement.verdict == Verdict::Harmful && record.phase != Phase::Paused {",
        decide("harm_drains_from_every_phase_and_whatever_the_rule_says"),
    ),
    Mutation(
        HARM,
        "a drain waits for a shift that is under way",
        DECIDE,
        "if input.judgement.verdict == Verdict::Harmful {",
        "if input.judgement.verdict == Verdict::Harmful && record.intent.is_none() {",
        decide("a_shift_that_may_still_be_under_way_is_left_to_its_invocation"),
    ),
    Mutation(
        HARM,
        "a drain is not decided while the weights cannot be read",
        DECIDE,
        "if input.judgement.verdict == Verdict::Harmful {",
        "if input.judgement.verdict == Verdict::Harmful && input.share.is_ok() {",
        decide("harm_drains_from_every_phase_and_whatever_the_rule_says"),
    ),
    Mutation(
        HARM,
        "a drain waits for the end of a denied window",
        DECIDE,
        "if input.judgement.verdict == Verdict::Harmful {",
        "if input.judgement.verdict == Verdict::Harmful && record.plan.deny_windows.denies(now).is_none() {",
        decide("harm_drains_although_shares_may_not_rise_now"),
    ),
    Mutation(
        HARM,
        "a drain waits while all rollouts are frozen",
        DECIDE,
        "    if clearance.healthy_targets == Some(Ok(0)) {\n",
        "    if clearance.healthy_targets == Some(Ok(0)) || matches!(clearance.freeze, Some(Ok(Some(_)))) {\n",
        decide("harm_drains_although_shares_may_not_rise_now"),
    ),
    Mutation(
        HARM,
        "a drain waits for target health that cannot be read",
        DECIDE,
        "    if clearance.healthy_targets == Some(Ok(0)) {\n",
        "    if !matches!(clearance.healthy_targets, Some(Ok(1..))) {\n",
        decide("unreadable_health_does_not_stop_a_drain_but_stops_a_promotion"),
    ),
    # The order of things.
    Mutation(
        ORDER_DOWN,
        "the record is stored before the weights are written",
        PERFORM,
        "            let mut next = match write_weights(",
        "            let _ = put(platform, &failed).await;\n            let mut next = match write_weights(",
        suite("ticks::a_promotion_is_recorded_before_it_is_written_and_a_drain_after"),
    ),
    Mutation(
        ORDER_DOWN,
        "the page goes out before the record is stored",
        PERFORM,
        "            put(platform, &next).await?\n        }",
        "            for pending in &next.outbox {\n                let _ = platform.page(&page::render(&next, pending, &platform.home())).await;\n            }\n"
        "            put(platform, &next).await?\n        }",
        suite("ticks::a_promotion_is_recorded_before_it_is_written_and_a_drain_after"),
    ),
    Mutation(
        ORDER_DOWN,
        "a drain that was not written is recorded as done",
        PERFORM,
        "                    troubles.push(trouble);\n                    failed\n",
        "                    troubles.push(trouble);\n                    done\n",
        suite("crashes::a_drain_that_cannot_be_written_is_tried_every_tick_and_paged_once"),
    ),
    Mutation(
        ANNOUNCED,
        "zero is written before",
        PERFORM,
        "let version = announce(platform, announced.as_deref(), &mut troubles).await?;",
        "let version: Option<u64> = announced.map(|_| record.version);",
        suite("brakes::an_abort_that_dies_half_way_is_finished_by_the_next_tick"),
    ),
    Mutation(
        ANNOUNCED,
        "a drain waits until it could be announced",
        PERFORM,
        "            let mut next = match write_weights(",
        "            if announced.is_some() && version.is_none() {\n                return Err(NotStored::Overtaken);\n            }\n"
        "            let mut next = match write_weights(",
        suite("brakes::an_alarm_that_cannot_be_recorded_fails_so_that_it_is_told_again"),
    ),
    Mutation(
        ORDER_UP,
        "the weights are written before the intent is stored",
        PERFORM,
        "            let noted = put(platform, &intent).await?;\n",
        "            let _ = write_weights(platform, record, snapshot, write).await;\n"
        "            let noted = put(platform, &intent).await?;\n",
        suite("ticks::an_intent_that_is_not_stored_writes_no_weight"),
    ),
    Mutation(
        ORDER_UP,
        "the weights are written although the record has changed since the decision",
        PERFORM,
        "            let noted = put(platform, &intent).await?;\n",
        "            let noted = match put(platform, &intent).await {\n"
        "                Err(NotStored::Overtaken) => (*intent).clone(),\n"
        "                other => other?,\n            };\n",
        rules("a_shift_that_was_decided_on_an_old_record_is_not_written"),
    ),
    Mutation(
        ORDER_UP,
        "the shift is not confirmed",
        PERFORM,
        "let stored = put(platform, &done).await;",
        "let stored: Result<Record, NotStored> = Ok(noted);",
        suite("ticks::a_promotion_is_recorded_before_it_is_written_and_a_drain_after"),
    ),
    Mutation(
        ORDER_UP,
        "a failed write is confirmed",
        PERFORM,
        "                    troubles.push(trouble);\n                    noted\n",
        "                    troubles.push(trouble);\n                    put(platform, &Record { version: noted.version, ..*done }).await?\n",
        rules("a_shift_that_could_not_be_written_is_begun_anew_and_never_taken_for_done"),
    ),
    Mutation(
        ORDER_UP,
        "what the rule says after a write is not looked at",
        PERFORM,
        "Ok(split) if split.share().same_as(write.share) =>",
        "Ok(split) =>",
        rules("a_shift_that_the_rule_does_not_show_after_the_write_is_not_taken_for_done"),
    ),
    # Blind.
    Mutation(
        BLIND,
        "a failed read of the metrics is an empty window that is whole",
        OBSERVE,
        "Err(failure) => (Vec::new(), Err(failure.to_string())),",
        "Err(_) => (Vec::new(), Ok(())),",
        suite("ticks::a_failed_read_of_metrics_is_forgotten_when_the_next_one_works"),
    ),
    Mutation(
        BLIND,
        "silence is no reason to be blind",
        JUDGE,
        "if let Some(reason) = self.silence.reason(blind_after) {",
        "if let Some(reason) = self.silence.reason(blind_after).filter(|_| minute < progress.since) {",
        judge("no_data_at_all_is_blind_after_blind_after"),
    ),
    Mutation(
        BLIND,
        "a canary that fell silent was heard of",
        "src/analysis/silence.rs",
        "let heard = canary.is_some_and(|requests| requests > 0) && stable.is_some();",
        "let heard = stable.is_some();",
        judge("a_canary_that_falls_silent_is_blind_and_never_healthy"),
    ),
    Mutation(
        BLIND,
        "the first shift is made blind",
        DECIDE,
        "    if judgement.verdict == Verdict::Blind {\n        return blind(",
        "    if judgement.verdict == Verdict::Blind && record.phase != Phase::Waiting {\n        return blind(",
        decide("the_first_shift_waits_while_metrics_cannot_be_read"),
    ),
    Mutation(
        BLIND_LONG,
        "nothing is drained for want of data",
        DECIDE,
        "OnBlind::Drain if may_drain =>",
        "OnBlind::Drain if may_drain && record.outbox.len() > 99 =>",
        decide("unread_metrics_hold_and_drain_only_after_blind_after"),
    ),
    Mutation(
        BLIND_LONG,
        "one failed read drains",
        DECIDE,
        "    if unread && !lasted(record.unread_since, record.plan.rules.blind_after, now) {\n",
        "    if unread && record.outbox.len() > 99 {\n",
        decide("unread_metrics_hold_and_drain_only_after_blind_after"),
    ),
    Mutation(
        BLIND_LONG,
        "`on_blind: hold` drains",
        DECIDE,
        "OnBlind::Drain if may_drain =>",
        "_ if may_drain =>",
        decide("a_blind_rollout_may_hold_by_plan_and_pages_once"),
    ),
    Mutation(
        BLIND_LONG,
        "a rollout that is held blind pages nobody",
        DECIDE,
        "        _ => Move::HoldAndPage(PageKind::Blind, why),\n",
        "        _ => Move::Hold(why),\n",
        decide("a_blind_rollout_may_hold_by_plan_and_pages_once"),
    ),
    Mutation(
        BLIND_LONG,
        "another hand's weights are drained for want of data",
        DECIDE,
        "let ours = record.plan.mode == Mode::Drive && record.phase != Phase::Frozen;",
        "let ours = record.plan.mode == Mode::Drive;",
        decide("nothing_is_drained_for_want_of_data_where_nothing_is_ours_to_drain"),
    ),
    Mutation(
        BLIND_LONG,
        "`mode: observe` drains for want of data",
        DECIDE,
        "let ours = record.plan.mode == Mode::Drive && record.phase != Phase::Frozen;",
        "let ours = record.phase != Phase::Frozen;",
        decide("nothing_is_drained_for_want_of_data_where_nothing_is_ours_to_drain"),
    ),
    Mutation(
        BLIND_LONG,
        "a rule that cannot be read pages nobody",
        DECIDE,
        "        Move::HoldAndPage(PageKind::Blind, why)\n    } else {",
        "        Move::Hold(why)\n    } else {",
        decide("a_rule_that_cannot_be_read_is_paged_after_blind_after"),
    ),
    # Counters.
    Mutation(
        MISSING,
        "an arm without a point was idle",
        "src/analysis/silence.rs",
        "let idle = stable == Some(0) && canary == Some(0);",
        "let idle = stable.unwrap_or(0) == 0 && canary.unwrap_or(0) == 0;",
        judge("no_data_at_all_is_blind_after_blind_after"),
    ),
    Mutation(
        MISSING,
        "an arm without a point has a minute that is judged",
        "src/analysis/timeline.rs",
        "if row.stable.is_none() || row.canary.is_none() {",
        "if row.stable.is_none() && row.canary.is_none() {",
        lib("analysis::timeline::tests::a_recording_that_begins_on_a_step_is_judged_from_its_first_minute"),
    ),
    Mutation(
        UNANSWERED,
        "only answers that failed are errors",
        "src/analysis/tally.rs",
        "(Some(answered), Some((requests, later))) if rule.count_unanswered => {",
        "(Some(answered), Some((requests, later))) if rule.count_unanswered && answered > requests => {",
        lib("analysis::tally::tests::a_canary_that_refuses_every_connection_has_only_errors_once_the_next_minute_is_there"),
    ),
    Mutation(
        UNANSWERED,
        "each minute is counted for itself",
        "src/analysis/tally.rs",
        "self.open = self.open.saturating_add(signed(requests)).saturating_sub(signed(answered));",
        "self.open = signed(requests).saturating_sub(signed(answered));",
        lib("analysis::tally::tests::requests_that_are_never_answered_are_booked_each_once"),
    ),
    # Targets.
    Mutation(
        STABLE,
        "nobody looks at stable's targets before a drain",
        DECIDE,
        "Move::Drain(_) => Some(Arm::Stable),",
        "Move::Drain(_) => None,",
        suite("ticks::a_drain_waits_for_a_stable_group_that_can_take_the_traffic"),
    ),
    Mutation(
        STABLE,
        "a drain is written all the same",
        DECIDE,
        "    if clearance.healthy_targets == Some(Ok(0)) {\n",
        "    if clearance.healthy_targets == Some(Ok(u32::MAX)) {\n",
        decide("nothing_is_drained_into_a_stable_group_without_healthy_targets"),
    ),
    Mutation(
        STABLE,
        "nobody is paged",
        DECIDE,
        "return keep(Action::Hold, stuck.clone(), next.paging_once(PageKind::DrainBlocked, &stuck, now));",
        "return keep(Action::Hold, stuck, next);",
        decide("nothing_is_drained_into_a_stable_group_without_healthy_targets"),
    ),
    Mutation(
        STABLE,
        "an abort does not look at stable's targets",
        COMMAND,
        "Order::Abort | Order::Brake if record.plan.mode == Mode::Drive => Some(Arm::Stable),",
        "Order::Abort | Order::Brake if record.plan.mode == Mode::Drive => None,",
        rules("an_abort_and_an_alarm_wait_for_a_stable_group_that_can_take_the_traffic"),
    ),
    Mutation(
        STABLE,
        "a late write is taken back into a stable group without targets",
        VERIFY,
        "if clearance.healthy_targets == Some(Ok(0)) {",
        "if clearance.healthy_targets == Some(Ok(u32::MAX)) {",
        verify("a_late_write_of_ours_is_taken_back_and_another_hand_is_told"),
    ),
    Mutation(
        STABLE,
        "nobody looks at stable's targets before zero is written again",
        VERIFY,
        "matches!(find(record, aftermath, now), Finding::Write(..)).then_some(Arm::Stable)",
        "matches!(find(record, aftermath, now), Finding::Write(..)).then_some(Arm::Canary)",
        verify("stables_targets_are_looked_at_before_zero_is_written_again_and_only_then"),
    ),
    Mutation(
        CANARY,
        "nobody looks at the canary's targets before a shift",
        DECIDE,
        "Move::Promote(..) => Some(Arm::Canary),",
        "Move::Promote(..) => Some(Arm::Stable),",
        suite("ticks::no_traffic_is_sent_to_a_canary_without_healthy_targets"),
    ),
    Mutation(
        CANARY,
        "the shift is made all the same",
        DECIDE,
        "        Some(Ok(0)) => {\n            let why = waits(\"the canary has no healthy target\");",
        "        Some(Ok(u32::MAX)) => {\n            let why = waits(\"the canary has no healthy target\");",
        decide("a_canary_without_healthy_targets_gets_no_more_traffic_and_pages_once"),
    ),
    Mutation(
        CANARY,
        "nobody is paged",
        DECIDE,
        "            let next = next.paging_once(PageKind::NoHealthyTarget, &why, now);\n",
        "",
        decide("a_canary_without_healthy_targets_gets_no_more_traffic_and_pages_once"),
    ),
    Mutation(
        CANARY,
        "target health that cannot be read is taken for good",
        DECIDE,
        "        Some(Err(unread)) => {\n            let why = waits(&format!(\"the canary's target",
        "        Some(Err(_)) => {}\n        Some(Err(unread)) => {\n            let why = waits(&format!(\"the canary's target",
        decide("unreadable_health_does_not_stop_a_drain_but_stops_a_promotion"),
    ),
    Mutation(
        CANARY,
        "stable's targets are counted for the canary's",
        OBSERVE,
        "router.healthy_targets(&record.plan.targets, arm)",
        "router.healthy_targets(&record.plan.targets, Arm::Stable)",
        rules("nobodys_word_sends_traffic_to_a_canary_without_healthy_targets"),
    ),
    # Another hand.
    Mutation(
        FOREIGN,
        "other weights than ours are taken for ours",
        DECIDE,
        "    if share.same_as(expected) {\n",
        "    if share.same_as(expected) || share > Share::ZERO {\n",
        decide("weights_of_another_hand_freeze_the_rollout_and_stay"),
    ),
    Mutation(
        FOREIGN,
        "the rollout is followed and not frozen",
        DECIDE,
        "Some(if !drives || record.phase == Phase::Frozen {",
        "Some(if !drives || record.phase != Phase::Draining {",
        decide("weights_of_another_hand_freeze_the_rollout_and_stay"),
    ),
    Mutation(
        FOREIGN,
        "nobody is paged",
        DECIDE,
        "let next = next.forgetting(PageKind::Frozen).paging_once(PageKind::Frozen, &why, now);",
        "let next = next.forgetting(PageKind::Frozen);",
        decide("weights_of_another_hand_freeze_the_rollout_and_stay"),
    ),
    Mutation(
        FOREIGN,
        "a frozen rollout goes up",
        DECIDE,
        "Phase::Frozen => Move::HoldAndPage(PageKind::Frozen, record.why.clone()),",
        "Phase::Frozen => advance(record, judgement, now),",
        decide("paused_and_frozen_rollouts_hold_however_healthy"),
    ),
    Mutation(
        FOREIGN,
        "a person's promote writes over another hand's weights",
        COMMAND,
        "Ok(share) if !share.same_as(record.share()) => refuse(format!(",
        "Ok(share) if share > Share::FULL => refuse(format!(",
        command("promote_takes_one_step_and_needs_a_canary_that_can_serve_it"),
    ),
    Mutation(
        FOREIGN,
        "`resume` without weights goes on with another hand's",
        COMMAND,
        "        (Phase::Paused, None) =>",
        "        (Phase::Paused | Phase::Frozen, None) =>",
        command("a_frozen_rollout_must_be_told_which_weights_to_go_on_with"),
    ),
    Mutation(
        FOREIGN,
        "`adopt` writes down the step's own share",
        COMMAND,
        "let next = record.clone().on_step(step, share, now)",
        "let next = record.clone().on_step(step, record.plan.steps[step], now)",
        command("a_frozen_rollout_must_be_told_which_weights_to_go_on_with"),
    ),
    Mutation(
        FOREIGN,
        "`restore` counts as done before the weights stand",
        COMMAND,
        "let mut decision = write_step(record.clone(), step, sight, why, now)?;",
        "let mut decision = write_step(record.clone().into_phase(Phase::Running, &why, now), step, sight, why, now)?;",
        rules("a_restore_that_could_not_be_written_leaves_the_rollout_frozen"),
    ),
    Mutation(
        ZERO,
        "zero is no change",
        DECIDE,
        "    if share.same_as(expected) {\n",
        "    if share.same_as(expected) || share == Share::ZERO {\n",
        decide("a_canary_that_someone_set_to_zero_stays_at_zero"),
    ),
    Mutation(
        ZERO,
        "zero is taken for a drain of ours",
        DECIDE,
        "if matches!(again, Move::Drain(_)) {",
        "if !matches!(again, Move::Freeze(..)) {",
        decide("a_canary_that_someone_set_to_zero_stays_at_zero"),
    ),
    Mutation(
        ZERO,
        "zero is adopted",
        COMMAND,
        "    if share == Share::ZERO {\n        return refuse(\n",
        "    if share > Share::FULL {\n        return refuse(\n",
        command("zero_is_never_adopted_and_everything_ends_the_rollout"),
    ),
    # Drains that are not over with weight zero.
    Mutation(
        STICKY,
        "stickiness stays on",
        EFFECT,
        "Self { share: Share::ZERO, release: Release::Stickiness }",
        "Self { share: Share::ZERO, release: Release::Nobody }",
        suite("ticks::a_drain_frees_sticky_clients"),
    ),
    Mutation(
        STICKY,
        "a shift up switches stickiness off, too",
        DECIDE,
        "write: Write { share, release: Release::Nobody },",
        "write: Write { share, release: Release::Stickiness },",
        suite("ticks::a_drain_frees_sticky_clients"),
    ),
    Mutation(
        STICKY,
        "nobody is told that clients may still stick",
        PERFORM,
        "write.release == Release::Stickiness && split.sticky",
        "write.release == Release::Nobody && split.sticky",
        lib("handler::perform::tests::a_drain_that_could_not_free_sticky_clients_is_told"),
    ),
    Mutation(
        WATCH,
        "no watch is begun",
        TRANSITION,
        "next.drain = Some(DrainWatch { at: now, removed: false, late });",
        "next.drain = None;",
        verify("the_watch_ends_when_the_requests_have_stopped"),
    ),
    Mutation(
        WATCH,
        "ticks do not look at what is watched",
        RECORD,
        "!self.is_over() || self.drain.is_some()",
        "!self.is_over()",
        suite("ticks::ticks_after_a_drain_look_until_the_canarys_requests_have_stopped_and_then_cost_one_read_again"),
    ),
    Mutation(
        WATCH,
        "any number of requests is few enough",
        VERIFY,
        "Some((minute, count)) if *count <= few => {",
        "Some((minute, count)) if *count >= few || *count <= few => {",
        verify("the_watch_ends_when_the_requests_have_stopped"),
    ),
    Mutation(
        WATCH,
        "the minute in which zero was written counts",
        VERIFY,
        "let since = Minute::of(drain.at).plus(1);",
        "let since = Minute::of(drain.at);",
        verify("the_minute_in_which_zero_was_written_proves_nothing"),
    ),
    Mutation(
        WATCH,
        "the group is not taken out where weight zero is not enough",
        VERIFY,
        "if !drain.removed && after().count() >= MINUTES_TO_REMOVE =>",
        "if drain.removed && after().count() >= MINUTES_TO_REMOVE =>",
        verify("weight_zero_that_is_not_enough_takes_the_group_out_once_and_then_somebody_is_told"),
    ),
    Mutation(
        WATCH,
        "nobody is told that the canary is still served",
        VERIFY,
        "Some((_, count)) if age >= WATCH => Finding::Tell(",
        "Some((_, count)) if age >= WATCH && *count < few => Finding::Tell(",
        verify("weight_zero_that_is_not_enough_takes_the_group_out_once_and_then_somebody_is_told"),
    ),
    Mutation(
        WATCH,
        "requests that cannot be read are taken for none",
        VERIFY,
        "_ => Finding::Tell(PageKind::NotVerified, why),",
        "_ => Finding::Settled(why),",
        verify("what_cannot_be_read_is_waited_for_and_then_told_unless_it_was_the_reason"),
    ),
    Mutation(
        WATCH,
        "a minute of which nothing is known had no requests",
        OBSERVE,
        ".filter(|row| row.canary.is_some() || row.stable.is_some())",
        ".filter(|_| true)",
        suite("aftermath::no_data_after_a_drain_is_no_proof_that_the_requests_stopped"),
    ),
    Mutation(
        WATCH,
        "no data is proof enough in the end",
        VERIFY,
        'None => unchecked(record, "no whole minute after it was read"),',
        "None => Finding::Settled(record.why.clone()),",
        suite("aftermath::no_data_after_a_drain_is_no_proof_that_the_requests_stopped"),
    ),
    Mutation(
        WATCH,
        "a group that another rollout sends traffic to is taken out",
        VERIFY,
        "Some((_, count)) if aftermath.sharer.is_some() =>",
        "Some((_, count)) if aftermath.sharer.is_some_and(str::is_empty) =>",
        suite("aftermath::a_group_that_another_rollout_uses_is_neither_taken_out_nor_paged"),
    ),
    Mutation(
        GONE,
        "a drain is tried for ever on a rule that names neither group",
        DECIDE,
        "    if clearance.rule_is_gone {\n",
        "    if clearance.rule_is_gone && next.phase.is_terminal() {\n",
        command("a_rollout_whose_rule_is_gone_can_be_ended"),
    ),
    Mutation(
        GONE,
        "a rule that could not be read is taken for one that is gone",
        OBSERVE,
        "unread.is_some_and(|failure| failure.kind == FailureKind::NotFound)",
        "unread.is_some()",
        rules("a_drain_does_not_end_on_a_rule_that_could_not_be_read"),
    ),
    Mutation(
        GONE,
        "one read that finds no rule ends the watch",
        VERIFY,
        "Err(_) if aftermath.clearance.rule_is_gone && age >= READ_LAG.signed() => {",
        "Err(_) if aftermath.clearance.rule_is_gone => {",
        verify("a_rule_that_is_gone_and_a_group_that_others_use_end_the_watch_quietly"),
    ),
    # Any order, any number.
    Mutation(
        TWICE,
        "a minute is decided twice",
        TICK,
        "is_none_or(|last| last < minute ||",
        "is_none_or(|last| last <= minute ||",
        suite("ticks::the_second_delivery_of_a_tick_changes_nothing"),
    ),
    Mutation(
        TWICE,
        "an overtaken tick is carried out",
        TICK,
        "last > minute.plus(ahead))",
        "last > minute)",
        rules("a_tick_that_was_overtaken_by_a_younger_one_changes_nothing"),
    ),
    Mutation(
        TWICE,
        "a clock that was ahead once stops all ticks until then",
        TICK,
        " || last > minute.plus(ahead))",
        ")",
        rules("a_record_that_was_ticked_by_a_clock_far_ahead_is_ticked_all_the_same"),
    ),
    Mutation(
        TWICE,
        "a tick that is minutes late is carried out",
        HANDLER,
        "if now.duration_since(scheduled).abs() > STALE_TICK {",
        "if now.duration_since(scheduled) > SignedDuration::MAX {",
        rules("a_tick_that_comes_minutes_late_or_early_touches_nothing"),
    ),
    Mutation(
        TWICE,
        "a tick of the future is carried out",
        HANDLER,
        "now.duration_since(scheduled).abs() > STALE_TICK",
        "now.duration_since(scheduled) > STALE_TICK",
        rules("a_tick_that_comes_minutes_late_or_early_touches_nothing"),
    ),
    Mutation(
        AT_ONCE,
        "a shift up that comes after an abort stands",
        PERFORM,
        "if matches!(stored, Err(NotStored::Overtaken)) {",
        "if matches!(stored, Err(NotStored::Store(_))) {",
        rules("a_shift_up_that_an_abort_overtook_is_taken_back"),
    ),
    Mutation(
        AT_ONCE,
        "a shift up that somebody else confirmed is taken back",
        PERFORM,
        "Ok(Some(now)) => matches!(now.phase, Phase::Drained | Phase::Draining),",
        "Ok(Some(_)) => true,",
        rules("a_shift_up_that_a_pause_overtook_stands"),
    ),
    Mutation(
        AT_ONCE,
        "a drain gives up when another invocation was faster",
        COMMANDS,
        "let tries = if order.drains() { DRAIN_TRIES } else { 1 };",
        "let tries = if order.drains() { 1 } else { DRAIN_TRIES };",
        rules("an_abort_that_others_overtake_looks_again"),
    ),
    Mutation(
        LEASE,
        "an intent is nobody's from the start",
        RECORD,
        "now.duration_since(at).abs() < LEASE",
        "now.duration_since(at).abs() < SignedDuration::ZERO",
        decide("a_shift_that_may_still_be_under_way_is_left_to_its_invocation"),
    ),
    Mutation(
        LEASE,
        "an intent is left alone for minutes",
        RECORD,
        "const LEASE: SignedDuration = SignedDuration::from_secs(55);",
        "const LEASE: SignedDuration = SignedDuration::from_secs(355);",
        decide("a_begun_shift_that_did_not_take_effect_needs_a_healthy_verdict_again"),
    ),
    Mutation(
        LEASE,
        "an intent of a clock far ahead is left alone until then",
        RECORD,
        "now.duration_since(at).abs() < LEASE",
        "now.duration_since(at) < LEASE",
        decide("an_intent_from_a_clock_far_ahead_is_given_up_like_any_other"),
    ),
    Mutation(
        LEASE,
        "a tick goes on while a shift is under way",
        DECIDE,
        "    if let Some(intent) = &record.intent\n        && is_leased(intent.at, now)\n    {",
        "    if let Some(intent) = &record.intent\n        && record.phase.is_terminal()\n    {",
        decide("a_shift_that_may_still_be_under_way_is_left_to_its_invocation"),
    ),
    Mutation(
        LEASE,
        "an invocation may outlive its lease",
        RECORD,
        "pub const LIFE: Span = Span::from_seconds(50);",
        "pub const LIFE: Span = Span::from_seconds(58);",
        lib("handler::life::tests::an_invocation_ends_before_its_lease_and_before_lambda_ends_it"),
    ),
    Mutation(
        LEASE,
        "a person's promote begins a shift while another is under way",
        COMMAND,
        "    if record.intent.is_some() {\n",
        "    if record.intent.is_some() && record.phase.is_terminal() {\n",
        command("nobody_begins_a_shift_while_another_one_is_under_way"),
    ),
    Mutation(
        REPAIR,
        "a shift that took effect is taken for another hand's",
        DECIDE,
        "        && share.same_as(intent.share)\n    {\n        return Some(Move::Confirm",
        "        && share > intent.share\n    {\n        return Some(Move::Confirm",
        decide("a_begun_shift_that_took_effect_is_confirmed_without_a_write"),
    ),
    Mutation(
        REPAIR,
        "a shift that did not take effect stays begun",
        DECIDE,
        "        next.intent = None;\n        next = next.shift_failed",
        "        next = next.shift_failed",
        decide("a_begun_shift_that_did_not_take_effect_needs_a_healthy_verdict_again"),
    ),
    Mutation(
        REPAIR,
        "a drain that was not written is not tried again",
        DECIDE,
        "    if record.phase == Phase::Draining {\n        return Move::Drain(record.why.clone());\n    }\n",
        "    if record.phase == Phase::Draining {\n        return Move::Hold(record.why.clone());\n    }\n",
        decide("a_drain_that_cannot_be_written_is_paged_once_and_tried_again"),
    ),
    Mutation(
        REPAIR,
        "a drain whose record was lost is taken for another hand's",
        DECIDE,
        "if share == Share::ZERO && matches!(settled, Move::Freeze(..)) {",
        "if share == Share::FULL && matches!(settled, Move::Freeze(..)) {",
        decide("a_drain_that_was_written_and_not_recorded_is_decided_again"),
    ),
    Mutation(
        REPAIR,
        "nobody is told of a shift that never comes about",
        TRANSITION,
        "if self.failed_shifts < FAILED_SHIFTS_PAGED {",
        "if self.failed_shifts < u32::MAX {",
        decide("a_shift_that_never_comes_about_is_paged_after_some_tries_and_once"),
    ),
    # Pages.
    Mutation(
        PAGED,
        "what was sent stays in the outbox",
        PERFORM,
        "match put(platform, &Record { outbox: left, ..record.clone() }).await {",
        "match put(platform, &record).await {",
        suite("ticks::a_page_is_sent_once_and_kept_until_it_is_sent_also_after_the_end"),
    ),
    Mutation(
        PAGED,
        "what was sent stays in the outbox if somebody else stored the record meanwhile",
        PERFORM,
        "                    record = newer;\n                    continue;\n",
        "                    return newer;\n",
        rules("a_page_that_was_sent_while_somebody_else_stored_the_record_is_not_sent_again"),
    ),
    Mutation(
        PAGED,
        "a page that another invocation is sending is sent as well",
        PERFORM,
        "let ours = |page: &Page| page.at == now || !is_leased(page.at, now);",
        "let ours = |page: &Page| page.at == now || page.at < now;",
        rules("a_page_that_another_invocation_may_be_sending_is_left_to_it_and_then_sent"),
    ),
    Mutation(
        PAGED,
        "a condition that lasts is paged every tick",
        TRANSITION,
        "if waits || every.is_none_or(|every| now.duration_since(paged.at) < every) {",
        "if waits {",
        decide("a_condition_that_lasts_is_reminded_of_and_no_page_waits_twice"),
    ),
    Mutation(
        PAGED,
        "a page that was not sent yet is written again",
        TRANSITION,
        "if waits || every",
        "if every",
        decide("a_condition_that_lasts_is_reminded_of_and_no_page_waits_twice"),
    ),
    Mutation(
        PAGED,
        "two transitions have one key",
        TRANSITION,
        'key: format!("{}/{}/{}/{}", self.id(), self.started.at, self.version, kind.name()),',
        'key: format!("{}/{}/{}", self.id(), self.started.at, kind.name()),',
        decide("a_page_is_about_the_share_before_the_transition_and_has_a_key_of_its_own"),
    ),
    Mutation(
        KEPT,
        "a page that could not be sent is dropped",
        PERFORM,
        "Err(failure) => troubles.push(failure.to_string()),",
        "Err(_) => sent.push(pending.key.clone()),",
        suite("ticks::a_page_is_sent_once_and_kept_until_it_is_sent_also_after_the_end"),
    ),
    Mutation(
        KEPT,
        "a page is left to another invocation for ever",
        PERFORM,
        "let ours = |page: &Page| page.at == now || !is_leased(page.at, now);",
        "let ours = |page: &Page| page.at == now;",
        suite("ticks::a_page_is_sent_once_and_kept_until_it_is_sent_also_after_the_end"),
    ),
    Mutation(
        KEPT,
        "what another invocation is sending is dropped",
        PERFORM,
        "partition(|page| sent.contains(&page.key));",
        "partition(|_| !sent.is_empty());",
        rules("a_page_that_another_invocation_may_be_sending_is_left_to_it_and_then_sent"),
    ),
    Mutation(
        KEPT,
        "an ended rollout is forgotten with its pages",
        RECORD,
        "self.phase.is_terminal() && self.outbox.is_empty()",
        "self.phase.is_terminal()",
        rules("the_page_of_a_promotion_is_sent_although_the_rollout_has_ended"),
    ),
    # The end.
    Mutation(
        STAYS,
        "a tick goes on with a drained rollout",
        DECIDE,
        "    if record.phase.is_terminal() {\n        return Move::Hold(record.why.clone());",
        "    if record.phase == Phase::Promoted {\n        return Move::Hold(record.why.clone());",
        decide("ended_rollouts_stay_ended"),
    ),
    Mutation(
        STAYS,
        "a drained rollout is ticked like a running one",
        TICK,
        "_ if record.phase.is_terminal() => {",
        "_ if record.phase == Phase::Promoted => {",
        suite("ticks::ticks_after_a_drain_look_until_the_canarys_requests_have_stopped_and_then_cost_one_read_again"),
    ),
    Mutation(
        STAYS,
        "a late write of ours stands",
        VERIFY,
        "if drain.late.is_some_and(|late| late.same_as(share)) && age < WATCH {",
        "if drain.late.is_some_and(|late| late > Share::FULL) {",
        verify("a_late_write_of_ours_is_taken_back_and_another_hand_is_told"),
    ),
    Mutation(
        STAYS,
        "any share that comes after the drain is written over",
        VERIFY,
        "if drain.late.is_some_and(|late| late.same_as(share)) && age < WATCH {",
        "if drain.late.is_some() && age < WATCH {",
        verify("a_late_write_of_ours_is_taken_back_and_another_hand_is_told"),
    ),
    Mutation(
        STAYS,
        "a share of the plan's steps is taken for a late write, whatever was under way",
        VERIFY,
        "if drain.late.is_some_and(|late| late.same_as(share)) && age < WATCH {",
        "if record.plan.steps.iter().any(|step| step.same_as(share)) && age < WATCH {",
        verify("a_late_write_of_ours_is_taken_back_and_another_hand_is_told"),
    ),
    Mutation(
        STAYS,
        "the share of the intent that stood at the drain is forgotten",
        TRANSITION,
        "let late = self.intent.as_ref().map(|intent| intent.share);",
        "let late: Option<Share> = None;",
        verify("a_late_write_of_ours_is_taken_back_and_another_hand_is_told"),
    ),
    Mutation(
        STAYS,
        "a share that is shown late is taken for another hand's",
        VERIFY,
        "        && age < READ_LAG.signed()\n    {\n        return again(",
        "        && age < SignedDuration::ZERO\n    {\n        return again(",
        suite("aftermath::a_rule_that_is_shown_late_is_no_other_hand"),
    ),
    Mutation(
        STAYS,
        "the share from before the drain is written over for as long as the watch lasts",
        VERIFY,
        "        && age < READ_LAG.signed()\n    {\n        return again(",
        "        && age < WATCH\n    {\n        return again(",
        verify("a_rule_that_is_shown_as_it_was_is_drained_again_and_no_other_hand"),
    ),
    Mutation(
        STAYS,
        "a person's promote revives a drained rollout",
        COMMAND,
        "    if record.phase.is_terminal() {\n        return refuse(format!(",
        "    if record.phase.is_terminal() && drains {\n        return refuse(format!(",
        command("nobodys_word_revives_a_rollout_that_has_ended_or_is_being_drained"),
    ),
    Mutation(
        STAYS,
        "a resume revives a rollout that is being drained",
        COMMAND,
        "if record.phase == Phase::Draining && !drains {",
        "if record.phase == Phase::Drained && !drains {",
        command("nobodys_word_revives_a_rollout_that_has_ended_or_is_being_drained"),
    ),
    # The log.
    Mutation(
        LOG,
        "the judgement is not logged",
        TICK,
        "        judgement: report.judgement.clone(),\n        conditions,\n",
        "        judgement: None,\n        conditions,\n",
        suite("ticks::the_decision_log_has_what_it_takes_to_judge_again"),
    ),
    Mutation(
        LOG,
        "the conditions are not logged",
        TICK,
        "        judgement: report.judgement.clone(),\n        conditions,\n",
        "        judgement: report.judgement.clone(),\n        conditions: conditions.filter(|_| false),\n",
        suite("ticks::the_decision_log_has_what_it_takes_to_judge_again"),
    ),
    Mutation(
        LOG,
        "the newest minutes alone are logged with a change",
        TICK,
        "let newest = if changed { window.len() } else { LOGGED_MINUTES };",
        "let newest = if changed { LOGGED_MINUTES } else { LOGGED_MINUTES };",
        suite("ticks::the_decision_log_has_what_it_takes_to_judge_again"),
    ),
    Mutation(
        LOG,
        "who asked is not logged",
        COMMANDS,
        "        by: Some(by),\n",
        "        by: Some(by).filter(|by| by.actor.is_empty()),\n",
        rules("a_command_is_in_the_decision_log_with_who_asked_and_why"),
    ),
    Mutation(
        LOG,
        "a lost entry of the log is nobody's trouble",
        TICK,
        'report.troubles.push(format!("decision not logged: {failure}"));',
        'tracing::debug!("decision not logged: {failure}");',
        rules("a_decision_that_could_not_be_logged_is_told"),
    ),
    # Brakes beside the judge.
    Mutation(
        FREEZE,
        "a freeze holds no tick",
        DECIDE,
        "        Some(Ok(Some(by))) => {\n            let why = waits(",
        "        Some(Ok(Some(_))) => {}\n        Some(Ok(Some(by))) => {\n            let why = waits(",
        decide("no_share_rises_while_all_rollouts_are_frozen_or_nobody_knows"),
    ),
    Mutation(
        FREEZE,
        "a freeze that nobody looked at is taken for none",
        DECIDE,
        '        None => return keep(Action::Hold, waits("nobody looked whether all rollouts are frozen"), next),\n',
        "        None => {}\n",
        decide("no_share_rises_while_all_rollouts_are_frozen_or_nobody_knows"),
    ),
    Mutation(
        FREEZE,
        "a freeze that could not be read is taken for none",
        OBSERVE,
        "Some(freeze.map_err(|f| f.to_string()))",
        "Some(Ok::<_, String>(freeze.unwrap_or(None)))",
        suite("brakes::whether_all_rollouts_are_frozen_is_only_read_before_a_rise_and_must_be_known"),
    ),
    Mutation(
        FREEZE,
        "`freeze` is not stored",
        COMMANDS,
        "platform.set_freeze(Some(&by)).await?;",
        "platform.set_freeze(None).await?;",
        suite("brakes::a_freeze_lets_nothing_rise_and_everything_be_drained"),
    ),
    Mutation(
        DENY,
        "a denied window holds nothing",
        DECIDE,
        "match record.plan.deny_windows.denies(now) {",
        "match record.plan.deny_windows.denies(now).filter(|_| step > 99) {",
        decide("no_tick_raises_a_share_in_a_denied_window_and_the_step_does_not_use_up_its_time"),
    ),
    Mutation(
        DENY,
        "the first shift is made in a denied window",
        DECIDE,
        "Phase::Waiting if drives => rise(record, 0, record.why.clone(), now),",
        "Phase::Waiting if drives => Move::Promote(0, record.why.clone()),",
        decide("no_tick_raises_a_share_in_a_denied_window_and_the_step_does_not_use_up_its_time"),
    ),
    Mutation(
        DENY,
        "a proven step that is held back uses up its time",
        DECIDE,
        "Move::HoldBack(why) => keep(Action::Hold, why, next.held_back(now)),",
        "Move::HoldBack(why) => keep(Action::Hold, why, next),",
        decide("no_tick_raises_a_share_in_a_denied_window_and_the_step_does_not_use_up_its_time"),
    ),
    Mutation(
        DENY,
        "a step that is not proven has its time anew, and never ends",
        TRANSITION,
        "if self.last.as_ref().is_some_and(|last| last.verdict == Verdict::Healthy) {",
        "if self.last.is_some() {",
        decide("an_unproven_step_that_is_held_back_goes_up_when_the_window_ends"),
    ),
    Mutation(
        BUDGET,
        "the budget convicts nobody",
        JUDGE,
        "let over = self.spent > budget as f64;",
        "let over = self.spent > budget as f64 * 1e9;",
        judge("a_canary_whose_damage_is_above_the_budget_is_harmful_although_nothing_is_proven"),
    ),
    Mutation(
        BUDGET,
        "the budget is won back by good minutes",
        JUDGE,
        "convicted = convicted.or_else(|| ledger.conviction(row.minute));",
        "convicted = ledger.conviction(row.minute);",
        judge("a_budget_once_spent_is_not_won_back_by_good_minutes"),
    ),
    Mutation(
        ROLLBACK,
        "a promotion is taken back at any time",
        RECORD,
        "&& age < self.plan.rollback_window.signed()",
        "&& age < SignedDuration::MAX",
        command("an_abort_takes_back_a_promotion_while_its_window_is_open"),
    ),
    Mutation(
        ROLLBACK,
        "a promotion is taken back although another rollout was started on its rule since",
        COMMAND,
        "if let Some(later) = sight.later {",
        "if let Some(later) = sight.later.filter(|later| later.is_empty()) {",
        command("an_abort_takes_back_a_promotion_while_its_window_is_open"),
    ),
    Mutation(
        ROLLBACK,
        "nobody looks for a later rollout on the rule",
        COMMANDS,
        "        None if rolls_back => platform.list().await?,\n",
        "        None if rolls_back => Vec::new(),\n",
        rules("a_promotion_is_not_taken_back_while_another_rollout_has_its_rule"),
    ),
    Mutation(
        ROLLBACK,
        "a promotion is taken back over another hand's weights",
        COMMAND,
        "        Ok(share) if share.same_as(record.share()) => {}\n",
        "        Ok(_) => {}\n",
        suite("aftermath::an_alarm_after_the_end_leaves_another_hands_weights_alone"),
    ),
    Mutation(
        ROLLBACK,
        "a promotion is taken back on a rule that cannot be read",
        COMMANDS,
        "        Some(failure) if rolls_back => return",
        "        Some(failure) if !rolls_back => return",
        suite("aftermath::a_roll_back_on_a_rule_that_was_deleted_changes_nothing"),
    ),
    Mutation(
        ROLLBACK,
        "an alarm is let go because stable's targets could not be read",
        COMMANDS,
        "let may_pass = |failure: &mut Failure| rolls_back &&",
        "let may_pass = |failure: &mut Failure| !rolls_back &&",
        suite("explore::an_alarm_that_could_not_roll_back_fails_so_that_it_is_told_again"),
    ),
    Mutation(
        ROLLBACK,
        "a promotion is taken back into a stable group without targets",
        COMMAND,
        "        Some(Ok(targets)) if targets > 0 => {}\n",
        "        Some(Ok(_)) => {}\n",
        command("an_abort_takes_back_a_promotion_while_its_window_is_open"),
    ),
    Mutation(
        ROLLBACK,
        "a promotion is taken back into a stable group of which nothing is known",
        COMMAND,
        '        Some(Err(unread)) => return refuse(format!("stable\'s target health',
        '        Some(Err(_)) => {}\n        Some(Err(unread)) => return refuse(format!("stable\'s target health',
        suite("aftermath::a_roll_back_to_a_group_that_was_deleted_is_refused"),
    ),
    Mutation(
        ALARM,
        "every state of an alarm drains",
        ALARMS,
        "if !alarm.has_gone_off {",
        "if !alarm.has_gone_off && alarm.name.is_empty() {",
        suite("brakes::other_alarms_other_states_and_alarms_of_the_past_drain_nothing"),
    ),
    Mutation(
        ALARM,
        "an alarm drains rollouts that do not name it",
        ALARMS,
        "filter(|record| !record.phase.is_terminal() && is_meant(record, alarm))",
        "filter(|record| !record.phase.is_terminal())",
        suite("brakes::other_alarms_other_states_and_alarms_of_the_past_drain_nothing"),
    ),
    Mutation(
        ALARM,
        "a rollout that the index does not show yet is passed over",
        ALARMS,
        "rest.extend(found.filter(|record| !record.phase.is_terminal()))",
        "rest.extend(found.filter(|record| record.phase.is_terminal()))",
        rules("an_alarm_drains_a_rollout_that_the_index_does_not_show_yet"),
    ),
    Mutation(
        ALARM,
        "an alarm from before the start drains",
        ALARMS,
        "filter(|at| *at < record.started.at)?",
        "filter(|at| *at > record.started.at && *at < record.started.at)?",
        suite("brakes::other_alarms_other_states_and_alarms_of_the_past_drain_nothing"),
    ),
    Mutation(
        ALARM,
        "an alarm whose drain was not stored is answered as done",
        ALARMS,
        "    if let Some(error) = brake.failed {\n        return Err(error);\n    }\n",
        "    drop(brake.failed);\n",
        suite("brakes::an_alarm_that_cannot_be_recorded_fails_so_that_it_is_told_again"),
    ),
    Mutation(
        ALARM,
        "a rollout that was just promoted is not meant",
        ALARMS,
        "record.can_be_rolled_back(self.now)\n",
        "!record.phase.is_terminal()\n",
        rules("an_alarm_takes_back_a_promotion_within_the_rollback_window"),
    ),
    Mutation(
        ALARM,
        "the running ones wait until the ended ones were read",
        ALARMS,
        "    let running = platform.running().await?.records;\n",
        "    platform.list().await?;\n    let running = platform.running().await?.records;\n",
        suite("aftermath::a_running_rollout_is_braked_although_the_ended_ones_cannot_be_read"),
    ),
    Mutation(
        ALARM,
        "nobody is told that an alarm could not take a promotion back",
        COMMAND,
        "Some(Ok(_)) if order == Order::Brake => {",
        "Some(Ok(_)) if order == Order::Pause => {",
        suite("aftermath::an_alarm_that_cannot_roll_back_is_told"),
    ),
    Mutation(
        ALARM,
        "an alarm writes where the plan says to write nothing",
        COMMAND,
        "Order::Brake if record.plan.mode == Mode::Observe => {",
        "Order::Brake if record.phase.is_terminal() => {",
        command("an_alarm_drains_like_an_abort_and_only_tells_where_nothing_may_be_written"),
    ),
    Mutation(
        REMIND,
        "nobody is reminded",
        TRANSITION,
        "(span.seconds() > 0).then(|| span.signed())",
        "(span.seconds() > u64::MAX - 1).then(|| span.signed())",
        decide("a_condition_that_lasts_is_reminded_of_and_no_page_waits_twice"),
    ),
    Mutation(
        REMIND,
        "`remind_every: 0` reminds all the time",
        TRANSITION,
        "(span.seconds() > 0).then(|| span.signed())",
        "Some(span.signed())",
        decide("a_condition_that_lasts_is_reminded_of_and_no_page_waits_twice"),
    ),
    Mutation(
        REMIND,
        "what is critical waits as long as a warning",
        TRANSITION,
        "Severity::Critical => every.min(REMIND_OF_CRITICAL),",
        "Severity::Critical => every,",
        decide("a_condition_that_lasts_is_reminded_of_and_no_page_waits_twice"),
    ),
    Mutation(
        ONE_RULE,
        "both begin",
        TICK,
        "Some(holder) if is_untouched(record) => {",
        "Some(holder) if record.phase.is_terminal() => {",
        suite("brakes::of_two_rollouts_started_at_once_on_one_rule_only_the_first_begins"),
    ),
    Mutation(
        ONE_RULE,
        "a rollout is started beside another one",
        COMMANDS,
        "    match holder(&running, plan) {\n",
        "    match holder(&running, plan).filter(|other| other.phase.is_terminal()) {\n",
        rules("no_rollout_is_started_beside_another_one_on_its_rule"),
    ),
    # Many rollouts.
    Mutation(
        IN_TIME,
        "who is suspected waits with the others",
        "src/handler/queue.rs",
        "if suspects && !record.phase.is_terminal() { Urgency::Suspected }",
        "if suspects && record.phase.is_terminal() { Urgency::Suspected }",
        suite("scale::a_rollout_with_evidence_of_harm_is_looked_at_first_however_many_healthy_ones_there_are"),
    ),
    Mutation(
        IN_TIME,
        "groups are begun until the invocation is ended",
        TICK,
        "let is_late = |at: Duration| last_begin.is_some_and(|last| at > last);",
        "let is_late = |at: Duration| last_begin.is_some_and(|last| at > last * 3);",
        suite("scale::a_tick_ends_before_its_time_and_the_next_one_begins_with_those_that_it_left_out"),
    ),
    Mutation(
        IN_TIME,
        "those who are suspected leave nothing for the others",
        "src/handler/queue.rs",
        "if urgent.len() == GROUP_ROLLOUTS * (URGENT_OF - 1) {",
        "if urgent.len() == GROUP_ROLLOUTS * URGENT_OF {",
        lib("handler::queue::tests::however_many_are_suspected_every_fourth_group_is_of_others"),
    ),
    Mutation(
        IN_TIME,
        "a canary that there is no time to read is never blind",
        TICK,
        "left.tasks.retain(|task| needs_no_metrics(task.record) || !self.was_seen_lately(task.record));",
        "left.tasks.retain(|task| needs_no_metrics(task.record));",
        suite("scale::those_that_there_is_no_time_to_read_are_told_that_they_are_blind"),
    ),
    Mutation(
        IN_TIME,
        "a drain that is under way waits for its metrics",
        TICK,
        "rules || (metrics && !needs_no_metrics(task.record))",
        "rules || (metrics && !task.record.is_over())",
        suite("scale::a_drain_that_is_under_way_waits_for_no_metrics"),
    ),
    Mutation(
        IN_TIME,
        "to be ticked without metrics is a turn, so that the same ones have none in every tick",
        "src/handler/queue.rs",
        "|record: &Record| (last_seen(record), record",
        "|record: &Record| (last_ticked(record), record",
        lib("handler::queue::tests::who_was_ticked_without_being_seen_comes_before_who_was_seen"),
    ),
    Mutation(
        IN_TIME,
        "a tick that left rollouts out counts as completed",
        "src/handler/telemetry.rs",
        '["failed", NOT_REACHED].iter()',
        '["failed", "skip"].iter()',
        lib("handler::telemetry::tests::a_tick_counts_for_nothing_if_it_was_dropped_or_a_decision_was_not_stored"),
    ),
    Mutation(
        SHARDS,
        "every shard looks at all rollouts",
        TICK,
        "filter(|record| turn.shard.has(record.id())).collect();",
        "filter(|record| !record.id().is_empty()).collect();",
        suite("scale::every_rollout_is_looked_at_by_exactly_one_shard"),
    ),
    Mutation(
        SHARDS,
        "a shard that nobody looks after is not told",
        TICK,
        "since > UNWATCHED_AFTER && !turn.shard.has(record.id())",
        "since > UNWATCHED_AFTER && turn.shard.has(record.id())",
        suite("scale::a_shard_that_has_no_function_is_told_by_the_others"),
    ),
    # In the AWS adapters; their unit tests need the SDK.
    Mutation(
        OURS,
        "other groups lose their weight",
        "src/aws/actions.rs",
        "_ => weight * weights.factor,",
        "_ => weight.min(0),",
        "aws aws::actions::tests::everything_that_is_not_ours_is_written_back_as_it_was",
    ),
    Mutation(
        OURS,
        "stickiness is lost",
        "src/aws/actions.rs",
        "let mut sticky = stickiness(action).cloned();",
        "let mut sticky = stickiness(action).cloned().filter(|_| way != Way::Keep);",
        "aws aws::actions::tests::everything_that_is_not_ours_is_written_back_as_it_was",
    ),
    Mutation(
        OURS,
        "the actions change their order",
        "src/aws/actions.rs",
        "actions.iter().map(one).collect()",
        "actions.iter().rev().map(one).collect()",
        "aws aws::actions::tests::everything_that_is_not_ours_is_written_back_as_it_was",
    ),
    Mutation(
        OURS,
        "actions that authenticate are dropped",
        "src/aws/actions.rs",
        "actions.iter().map(one).collect()",
        "actions.iter().filter(|action| is_forward(action)).map(one).collect()",
        "aws aws::actions::tests::everything_that_is_not_ours_is_written_back_as_it_was",
    ),
    Mutation(
        OURS,
        "the stored client secret is not kept",
        "src/aws/actions.rs",
        "oidc.use_existing_client_secret = Some(true);",
        "oidc.use_existing_client_secret = None;",
        "aws aws::actions::tests::everything_that_is_not_ours_is_written_back_as_it_was",
    ),
    Mutation(
        STICKY,
        "stickiness stays on in the rule",
        "src/aws/actions.rs",
        "sticky.enabled = Some(false);",
        "sticky.enabled = Some(true);",
        "aws aws::actions::tests::a_drain_frees_sticky_clients_in_the_way_asked_for",
    ),
    Mutation(
        MISSING,
        "any counter makes a minute",
        "src/aws/answers.rs",
        "if place == Place::Field(Field::Requests) {",
        "if matches!(place, Place::Field(_)) {",
        "aws aws::answers::tests::a_minute_has_counts_only_where_request_count_has_a_point",
    ),
    Mutation(
        BAKED,
        "a series that is missing from the answer is no trouble",
        "src/aws/answers.rs",
        'troubles.push(format!("{} is missing from the answer", query.name()));',
        "",
        "aws aws::answers::tests::whatever_is_not_whole_is_said",
    ),
    Mutation(
        BAKED,
        "a page that is not whole is no trouble",
        "src/aws/answers.rs",
        'Some(other) => Some(format!("status {other}")),',
        "Some(_) => None,",
        "aws aws::answers::tests::whatever_is_not_whole_is_said",
    ),
    # What callers are told.
    Mutation(
        GATE,
        "the proof of the step before counts",
        STANDING,
        "!is_of_this_step(record, last) =>",
        "last.step.is_none() =>",
        lib("rollout::standing::tests::what_was_proven_on_the_step_before_lets_nobody_go_on_to_the_next"),
    ),
    Mutation(
        GATE,
        "the verdict of the last release counts for ever",
        ASKED,
        "    record.phase.is_terminal() && now.duration_since",
        "    record.phase == crate::rollout::record::Phase::Waiting && now.duration_since",
        suite("callers::the_verdict_of_the_last_release_is_none_on_the_next"),
    ),
    Mutation(
        GATE,
        "a later rollout of the same name answers",
        ASKED,
        "match record.started.at == started {",
        "match record.started.at >= started {",
        suite("callers::a_canary_execution_is_of_the_rollout_and_the_groups_that_it_began_with"),
    ),
    Mutation(
        GATE,
        "the first traffic begins though nobody watches",
        FLAGGER,
        "Answer::Hold) if standing.may_begin() => {",
        "Answer::Hold) if standing.share == Share::ZERO => {",
        lib("handler::http::flagger::tests::the_first_traffic_needs_no_proof_and_a_promotion_always_does"),
    ),
    Mutation(
        GATE,
        "a promotion goes without proof where nothing was judged",
        FLAGGER,
        "Hook::ConfirmRollout | Hook::ConfirmTrafficIncrease, Answer::Hold)",
        "_, Answer::Hold)",
        lib("handler::http::flagger::tests::the_first_traffic_needs_no_proof_and_a_promotion_always_does"),
    ),
    Mutation(
        GATE,
        "the last rollout rolls back a canary that waits to begin",
        FLAGGER,
        'if phase == "Waiting" && (ended ||',
        'if phase == "waiting" && (ended ||',
        lib("handler::http::flagger::tests::what_became_of_the_last_rollout_does_not_roll_back_one_that_waits_to_begin"),
    ),
    Mutation(
        GATE,
        "a gate that says nothing of itself begins without proof",
        LOADTESTER,
        "        _ => Hook::ConfirmPromotion,\n",
        "        _ => Hook::ConfirmTrafficIncrease,\n",
        lib("handler::http::loadtester::tests::a_gate_of_which_nobody_says_what_it_guards_is_taken_for_the_strictest"),
    ),
    Mutation(
        GATE,
        "undecided is a pass when time is over",
        KAYENTA,
        'Some((SCORE_UNDECIDED, "Marginal"))',
        'Some((SCORE_PASS, "Marginal"))',
        suite("callers::argo_s_kayenta_provider_waits_and_scores"),
    ),
    Mutation(
        GATE,
        "a run that waits for the end ends at the first healthy step",
        SPINNAKER,
        "(Answer::Pass, _) if until == Until::Verdict =>",
        "(Answer::Pass, _) =>",
        lib("handler::http::spinnaker::tests::a_verdict_on_a_step_ends_a_run_that_asked_for_one_and_not_a_run_that_waits_for_the_end"),
    ),
    Mutation(
        NO_ANSWER,
        "a rollout that nobody ticks still answers",
        ASKED,
        "match standing.unwatched && standing.answer != Answer::Fail {",
        "match standing.unwatched && standing.answer == Answer::Fail {",
        suite("callers::a_rollout_that_nobody_ticks_answers_nobody"),
    ),
    Mutation(
        NO_ANSWER,
        "our own error rolls back",
        FLAGGER,
        "let counts = matches!(hook, Hook::Rollout | Hook::PreRollout);",
        "let counts = matches!(hook, Hook::Rollout | Hook::PreRollout | Hook::Rollback);",
        lib("handler::http::flagger::tests::no_error_of_ours_is_a_yes_to_a_rollback_or_a_status_that_is_tried_again"),
    ),
    Mutation(
        NO_ANSWER,
        "a no has a status that is tried again without its reason",
        FLAGGER,
        "    Response::text(403, why)",
        "    Response::text(503, why)",
        suite("callers::flagger_never_loses_a_reason_whatever_it_asks_and_whatever_is_wrong"),
    ),
    Mutation(
        ONE_ANSWER,
        "a question that comes again is a new one",
        GATES,
        "if let Some(at) = self.told.iter().position(|told| told.waiting == gate.waiting) {",
        "if let Some(at) = self.told.iter().position(|told| told.waiting == gate.waiting && told.told.is_none()) {",
        suite("hooks::a_question_that_comes_late_is_given_the_answer_that_was_given"),
    ),
    Mutation(
        ONE_ANSWER,
        "nobody remembers who was told",
        GATES,
        "self.told.extend(done.into_iter()",
        "drop(done.into_iter()",
        suite("hooks::a_question_that_comes_late_is_given_the_answer_that_was_given"),
    ),
    Mutation(
        ONE_ANSWER,
        "the same hook twice waits twice",
        GATES,
        "} else if self.gate(&gate.waiting).is_none() {",
        "} else if !gate.waiting.name().is_empty() {",
        suite("hooks::a_hook_waits_for_the_verdict_and_is_told_success_when_the_canary_is_healthy"),
    ),
    Mutation(
        ONE_ANSWER,
        "a call that fails is an answer for one who waits",
        HOOKS,
        "any(|record| record.gate(&waiting).is_some())",
        "all(|record| record.id().is_empty())",
        suite("hooks::a_hook_that_waits_is_told_nothing_else_because_a_call_fails"),
    ),
    Mutation(
        PASSES,
        "undecided is a pass",
        GATES,
        "        Answer::Hold if now < gate.deadline => None,\n",
        "        Answer::Hold if now < gate.deadline => told(true, standing.why.clone()),\n",
        suite("hooks::without_a_verdict_it_is_answered_in_time_as_the_plan_says"),
    ),
    Mutation(
        PASSES,
        "who has waited long enough passes",
        GATES,
        "told(on_deadline == OnDeadline::Pass && !standing.unwatched, why)",
        "told(on_deadline == OnDeadline::Pass || !standing.unwatched, why)",
        suite("hooks::without_a_verdict_it_is_answered_in_time_as_the_plan_says"),
    ),
    Mutation(
        PASSES,
        "`on_deadline: pass` passes for a rollout that nobody watches",
        GATES,
        "told(on_deadline == OnDeadline::Pass && !standing.unwatched, why)",
        "told(on_deadline == OnDeadline::Pass, why)",
        lib("rollout::gate::tests::nobody_passes_at_the_deadline_where_nobody_watches"),
    ),
    Mutation(
        PASSES,
        "the last minutes before a hundred percent are not waited for",
        STANDING,
        "        if !is_seen_to_its_end(record, last) {",
        "        if false {",
        lib("rollout::standing::tests::at_a_hundred_percent_the_last_minutes_of_the_step_before_count_too"),
    ),
    Mutation(
        PASSES,
        "a proof stays although the last minutes before a hundred percent throw doubt on it",
        STANDING,
        "        Reason::HarmSuspected { .. } | Reason::NotYetProven { .. } | Reason::SuspectedOfSticky { .. } => None,\n",
        "",
        lib("rollout::standing::tests::at_a_hundred_percent_the_last_minutes_of_the_step_before_count_too"),
    ),
    Mutation(
        PASSES,
        "health at a hundred percent needs no proof",
        STANDING,
        "if let (Some(proven), Share::FULL) = (record.proven, record.share()) {",
        "if let (Some(proven), Share::FULL) = (record.proven.or(Some(Share::ZERO)), record.share()) {",
        suite("hooks::a_hundred_percent_without_proof_is_not_health"),
    ),
    Mutation(
        PASSES,
        "a deployment that goes back waits for a verdict",
        HOOKS,
        'Deployment { is_going_back: true, .. } => Some("the deployment goes back: nothing stands in its way"),',
        "Deployment { is_going_back: true, .. } => None,",
        suite("hooks::a_code_deployment_that_undoes_another_one_is_let_through"),
    ),
    Mutation(
        PASSES,
        "a freeze of all rollouts lets deployments begin",
        HOOKS,
        "    Ok(match RecordStore::freeze(platform).await? {",
        "    Ok(match RecordStore::freeze(platform).await?.filter(|_| false) {",
        suite("hooks::a_freeze_and_a_deny_window_let_no_deployment_raise_its_share"),
    ),
    Mutation(
        PASSES,
        "a freeze of all rollouts lets whoever waits go on",
        TEND,
        "    Ok(standing.frozen_by(freeze.as_ref()))",
        "    Ok(standing.frozen_by(freeze.as_ref().filter(|_| false)))",
        suite("hooks::a_freeze_and_a_deny_window_let_no_deployment_raise_its_share"),
    ),
    Mutation(
        PASSES,
        "a shift that no tick has seen is let go on",
        HOOKS,
        "share.filter(|share| !share.same_as(stands))",
        "share.filter(|share| share.same_as(stands) && !share.same_as(stands))",
        suite("hooks::what_was_proven_before_a_shift_that_no_tick_has_seen_lets_ecs_wait"),
    ),
    Mutation(
        PASSES,
        "a pair of groups that was named once is never turned",
        HOOKS,
        "    if named.stable == found.canary && named.canary == found.stable {",
        "    if named.stable == found.canary && named.canary != found.stable {",
        suite("hooks::groups_that_were_named_once_are_turned_as_the_deployment_has_them"),
    ),
    Mutation(
        STOPS,
        "a stop that comes too late is told as a success",
        TEND,
        "Deployment { ended: Some(_), .. } => return Stop::TooLate,",
        "Deployment { ended: Some(_), .. } => return Stop::Done,",
        suite("hooks::a_deployment_that_was_over_before_it_was_stopped_is_told_as_what_it_is"),
    ),
    Mutation(
        PASSES,
        "weights that another hand raised let a deployment pass",
        HOOKS,
        "hook.stage == SHIFT && hook.share",
        "hook.share",
        suite("hooks::weights_that_another_hand_raised_let_no_ecs_deployment_pass"),
    ),
    Mutation(
        PASSES,
        "a shift that no tick has seen yet counts as none",
        HOOKS,
        "share == Share::ZERO && stage.starts_with(\"PRE_\");",
        "share <= Share::FULL && stage.starts_with(\"PRE_\");",
        suite("hooks::a_shift_that_no_tick_has_seen_yet_is_not_before_the_traffic"),
    ),
    Mutation(
        PASSES,
        "a new version that was taken out of the traffic may begin anew",
        HOOKS,
        "Answer::Hold && !record.has_compared();",
        "Answer::Hold;",
        suite("hooks::a_new_version_that_was_taken_out_of_the_traffic_is_not_before_it"),
    ),
    Mutation(
        WAITERS,
        "who waits past the deadline waits on",
        GATES,
        "        Answer::Hold if now < gate.deadline => None,\n",
        "        Answer::Hold if now < gate.deadline + PAGED_AFTER * 100 => None,\n",
        suite("hooks::without_a_verdict_it_is_answered_in_time_as_the_plan_says"),
    ),
    Mutation(
        WAITERS,
        "an answer that was not taken is forgotten",
        GATES,
        "            gate.told.is_some() && (told.contains(&gate.waiting) || gone.contains(&gate.waiting))",
        "            gate.told.is_some() || told.contains(&gate.waiting) || gone.contains(&gate.waiting)",
        suite("hooks::what_is_told_is_recorded_first_and_told_until_it_was_taken"),
    ),
    Mutation(
        WAITERS,
        "a rollout in which somebody waits is over",
        RECORD,
        "self.phase.is_terminal() && self.outbox.is_empty() && self.gates.is_empty()",
        "self.phase.is_terminal() && self.outbox.is_empty()",
        lib("rollout::gate::tests::a_rollout_is_not_over_while_somebody_waits_in_it"),
    ),
    Mutation(
        WAITERS,
        "a deployment that is not found once is over",
        GATES,
        "now.duration_since(since) >= GONE_AFTER",
        "now.duration_since(since) < GONE_AFTER",
        suite("hooks::a_deployment_that_is_not_found_once_is_still_watched_and_after_some_minutes_is_over"),
    ),
    Mutation(
        WAITERS,
        "who waits in a deployment that is not found is dropped",
        DECIDE,
        "    if record.owner_gone.is_none() {\n        next.gates.retain",
        "    if record.owner.is_some() {\n        next.gates.retain",
        suite("hooks::a_deployment_that_is_not_found_once_is_still_watched_and_after_some_minutes_is_over"),
    ),
    Mutation(
        STOPS,
        "nobody stops it",
        GATES,
        "(going && !open && Standing::of(self, now).answer == Answer::Fail).then_some(owner)",
        "(going && !open && Standing::of(self, now).answer == Answer::Pass).then_some(owner)",
        suite("hooks::a_deployment_that_still_shifts_to_a_harmful_canary_is_stopped_once"),
    ),
    Mutation(
        STOPS,
        "a stop that failed counts",
        TEND,
        "    Stop::Failed\n",
        "    Stop::Done\n",
        suite("hooks::a_deployment_that_still_shifts_to_a_harmful_canary_is_stopped_once"),
    ),
    Mutation(
        STOPS,
        "whoever was stopped once is left alone",
        GATES,
        "self.owner_stopped.is_some_and(lately)",
        "(self.owner_stopped.is_some() || self.owner_stopped.is_some_and(lately))",
        suite("hooks::a_deployment_that_goes_on_although_it_was_stopped_is_stopped_again"),
    ),
    Mutation(
        STOPS,
        "a hook that nobody waits for any more counts as told",
        GATES,
        "told.contains(&gate.waiting) && gate.told.as_ref().is_some_and(|told| !told.pass)",
        "!gate.waiting.name().is_empty() && gate.told.as_ref().is_some_and(|told| !told.pass)",
        suite("hooks::a_deployment_whose_hook_is_no_longer_there_is_stopped_itself"),
    ),
    Mutation(
        MAY_ACT,
        "anybody turns the gates of the load tester",
        LOADTESTER,
        "if !request.caller.may_act {",
        "if !request.caller.may_act && request.caller.name.is_empty() {",
        suite("callers::the_load_tester_s_switches_are_commands_for_those_who_may_act"),
    ),
    Mutation(
        MAY_ACT,
        "anybody starts a rollout",
        SPINNAKER,
        "Wanted::Start(_) if !request.caller.may_act =>",
        "Wanted::Start(_) if request.caller.name.is_empty() =>",
        suite("callers::spinnaker_s_webhook_stage_starts_a_plan_once_and_waits_for_its_end"),
    ),
    Mutation(
        MAY_ACT,
        "anybody cancels a run",
        SPINNAKER,
        "    if !request.caller.may_act {",
        "    if request.caller.name.is_empty() {",
        suite("callers::a_run_that_is_cancelled_drains_the_canary_if_the_caller_may_act"),
    ),
    Mutation(
        FORGED,
        "an empty secret is one",
        GITHUB,
        "filter(|s| !s.is_empty())",
        "filter(|s| s.len() < 4096)",
        lib("handler::http::github::tests::a_signature_is_github_s_of_just_this_body"),
    ),
    Mutation(
        FORGED,
        "signatures are not looked at",
        GITHUB,
        "mac.verify_slice(&signature).is_ok()",
        "mac.verify_slice(&signature).is_ok() || true",
        lib("handler::http::github::tests::a_signature_is_github_s_of_just_this_body"),
    ),
    Mutation(
        FORGED,
        "the answer goes to whatever host the event names",
        GITHUB_SETTINGS,
        "url.strip_prefix(self.as_str())?",
        'url.splitn(4, "/").nth(3)?',
        lib("config::github::tests::a_callback_url_is_the_api_s_for_one_run_and_nothing_else"),
    ),
    Mutation(
        FORGED,
        "the answer goes to a run of another repository",
        GITHUB,
        "is_some_and(|run| run.is_of(repository))",
        "is_some_and(|run| run.id > 0)",
        suite("github::a_token_goes_to_no_address_that_an_event_chooses"),
    ),
    Mutation(
        FORGED,
        "plain HTTP leads anywhere",
        GITHUB_SETTINGS,
        '"http" if plain && here =>',
        '"http" if plain =>',
        lib("config::github::tests::the_api_is_reached_by_https_or_on_this_very_machine"),
    ),
    Mutation(
        FORGED,
        "a webhook is let in whoever has signed it",
        HTTP_AUTH,
        ".filter(|agreed| agreed.has_signed(request))",
        ".filter(|agreed| agreed.has_signed(request) || true)",
        suite("github::whoever_is_not_github_is_nobody"),
    ),
    # Several accounts.
    Mutation(
        ROLES,
        "a plan may name a role of any account",
        PLAN,
        "role.place[0] == *partition && role.place[2] == *account",
        "role.place[0] == *partition && role.place[2].len() == account.len()",
        lib("config::tests::a_role_is_of_the_account_that_the_targets_are_in"),
    ),
    Mutation(
        ROLES,
        "a deployment of another system may have a role, which nobody assumes",
        PLAN,
        'if let Some(role) = role {\n        let rule = "can\'t be given',
        'if let Some(role) = role.filter(Value::is_number) {\n        let rule = "can\'t be given',
        lib("config::tests::a_deployment_of_another_system_has_no_role_and_all_problems_are_told_at_once"),
    ),
    Mutation(
        ROLES,
        "all rollouts of a tick are read with the rights of one of them",
        STS,
        "of_roles.entry(targets.role_arn.as_deref())",
        "of_roles.entry(targets.role_arn.as_deref().filter(|role| role.len() > 1))",
        "aws aws::sts::tests::roles_are_asked_for_apart_and_answers_come_back_in_order",
    ),
    Mutation(
        ROLES,
        "credentials are used until they expire",
        STS,
        "*until > now + RENEWED_BEFORE =>",
        "*until > now =>",
        "aws aws::sts::tests::credentials_are_renewed_in_time_and_kept_while_that_fails",
    ),
    Mutation(
        IN_TIME,
        "a tick of `run` may take longer than its minute has left",
        RUN,
        "life::allowed(deadline_ms.unwrap_or_default(), now)",
        "life::allowed(deadline_ms.unwrap_or_default().min(0), now)",
        lib("cli::run::tests::a_tick_ends_before_the_next_one_is_due"),
    ),
]


def words_for(kind):
    """Cargo's words for building the tests of a kind."""
    where = {
        "lib": ["--lib"],
        "suite": ["--test", "suite"],
        "aws": ["--no-default-features", "--features", "aws", "--lib"],
    }[kind]
    return ["cargo", "test", "--quiet", "--locked", *where]


def is_of_aws(mutation):
    return mutation.test.split()[0] == "aws"


def test_file(kind, path):
    """The file in which a test must be, by its path."""
    if kind == "suite":
        return TREE / "tests" / kind / (path.split("::")[0] + ".rs")
    parts = path.split("::")
    stem = TREE / "src" / "/".join(parts[:-2])
    # Beside the module, in a file of their own or at its end.
    places = [stem.with_suffix(".rs"), stem / "tests.rs", stem / "mod.rs"]
    return next((place for place in places if place.exists()), places[-1])


def problems():
    """What is wrong with the list itself."""
    for mutation in MUTATIONS:
        name = f"{mutation.file}: {mutation.change}"
        found = (TREE / mutation.file).read_text().count(mutation.old)
        if found != 1:
            yield f"{name}: the text to replace occurs {found} times: {mutation.old!r}"
        kind, path = mutation.test.split()
        file = test_file(kind, path)
        function = path.split("::")[-1]
        if not file.exists() or not re.search(rf"#\[test\]\n\s*fn {function}\(", file.read_text()):
            yield f"{name}: no test {path} in {file.relative_to(TREE)}"


def copy_of_tree(into):
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=TREE, check=True, capture_output=True, text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        source, target = TREE / name, into / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


# What Rust skips or quotes, and what counts: raw strings, strings, characters, comments; braces and functions.
TOKENS = re.compile(
    r'r#"(?s:.*?)"#|b?"(?:\\(?s:.)|[^"\\])*"|b?\'(?:\\[^\n]+?|[^\\\n])\'|//[^\n]*|[{}]|\bfn \w+'
)


def bodies(text):
    """Where the bodies of the functions of a file begin and end, braces and all."""
    found, open_braces, awaits = [], [], False
    for token in TOKENS.finditer(text):
        word = token.group()
        if word.startswith("fn "):
            awaits = True
        elif word == "{":
            open_braces.append((token.start(), awaits))
            awaits = False
        elif word == "}":
            begin, is_body = open_braces.pop()
            if is_body:
                found.append((begin, token.end()))
    return found


def switched(text, mutations):
    """A file with all its mutations in it, each in a copy of its function's body, chosen when the test runs. Answers
    with it the mutations that are in no function."""
    functions = bodies(text)
    within, outside = {}, []
    for number, mutation in mutations:
        begin = text.index(mutation.old)
        end = begin + len(mutation.old)
        around = [body for body in functions if body[0] < begin and end < body[1]]
        if around:
            within.setdefault(min(around, key=lambda body: body[1] - body[0]), []).append((number, mutation))
        else:
            outside.append((number, mutation))
    for (begin, end), inside in sorted(within.items(), reverse=True):
        body = text[begin:end]
        arms = [f"{number} => {body.replace(mutation.old, mutation.new)}\n" for number, mutation in inside]
        text = f"{text[:begin]}{{ match crate::mutant() {{\n{''.join(arms)}_ => {body}\n}} }}{text[end:]}"
    return text, outside


SWITCH = """
/// The mutation that this process shall have.
pub(crate) fn mutant() -> usize {
    static CHOSEN: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *CHOSEN.get_or_init(|| std::env::var("MUTANT").map_or(0, |text| text.parse().unwrap()))
}
"""


def build(kind, tree, target):
    """Builds the tests of a kind; the program that has them."""
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target)}
    # Nobody debugs these, and some are linked often.
    environment["CARGO_PROFILE_DEV_DEBUG"] = "false"
    words = [*words_for(kind), "--no-run", "--message-format=json-render-diagnostics"]
    built = subprocess.run(words, cwd=tree, env=environment, capture_output=True, text=True)
    if built.returncode != 0:
        sys.exit(f"{kind}: not compiled\n{built.stderr}")
    said = map(json.loads, built.stdout.splitlines())
    return [line["executable"] for line in said if line.get("executable") and line["profile"]["test"]][-1]


def run(program, paths, tree, mutant=0):
    """What came of some tests: passed, failed, absent, died or never ended; and what was said."""
    # The futures of so many copies are large.
    stack = str(256 << 20)
    environment = {**os.environ, "RUST_BACKTRACE": "0", "RUST_MIN_STACK": stack, "MUTANT": str(mutant)}
    asked = {"cwd": tree, "env": environment, "capture_output": True, "text": True, "timeout": TEST_SECONDS}
    try:
        ran = subprocess.run([program, "--exact", *paths], **asked)
    except subprocess.TimeoutExpired:
        return "never ended", ""
    said = ran.stdout + ran.stderr
    if f"running {len(paths)} test" not in said:
        return "absent", said
    if ran.returncode == 0:
        return "passed", said
    return ("failed" if "test result: FAILED" in said else "died"), said


def run_kind(kind, chosen, tree, target):
    """Tries the mutations whose tests are of a kind; yields each with what came of it."""
    sources = {file: (TREE / file).read_text() for file in {mutation.file for _, mutation in chosen}}
    outside = []
    for file, text in sources.items():
        mixed, left = switched(text, [(number, m) for number, m in chosen if m.file == file])
        (tree / file).write_text(mixed)
        outside += left
    program = build(kind, tree, target)
    outcome, said = run(program, sorted({m.test.split()[1] for _, m in chosen}), tree)
    if outcome != "passed":
        sys.exit(f"{kind}: {outcome} on the tree as it is\n{said}")
    for number, mutation in chosen:
        if (number, mutation) not in outside:
            yield number, mutation, *run(program, [mutation.test.split()[1]], tree, number)
    for file, text in sources.items():
        (tree / file).write_text(text)
    for number, mutation in outside:
        file = tree / mutation.file
        file.write_text(sources[mutation.file].replace(mutation.old, mutation.new))
        yield number, mutation, *run(build(kind, tree, target), [mutation.test.split()[1]], tree)
        file.write_text(sources[mutation.file])


def run_all(chosen, target):
    begun = time.monotonic()
    missed = 0
    numbered = list(enumerate(chosen, 1))
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        tree = Path(folder) / "tree"
        copy_of_tree(tree)
        with (tree / "src/lib.rs").open("a") as root:
            root.write(SWITCH)
        for kind in dict.fromkeys(mutation.test.split()[0] for mutation in chosen):
            of_kind = [(number, m) for number, m in numbered if m.test.split()[0] == kind]
            for number, mutation, outcome, said in run_kind(kind, of_kind, tree, target):
                noticed = outcome in ("failed", "never ended")
                word = "noticed" if noticed else f"NOT NOTICED ({outcome})"
                print(f"{number:3} {word}  {mutation.file}: {mutation.change}", flush=True)
                if not noticed:
                    missed += 1
                    print("\n".join(f"      {line}" for line in said.splitlines()[-15:]), flush=True)
    seconds = time.monotonic() - begun
    print(f"{len(chosen) - missed} of {len(chosen)} noticed, in {seconds:.0f} s")
    return missed == 0


def markdown():
    """Rule by rule: what is changed, and the test that fails then."""
    print("| Rule | Change | Test |\n|---|---|---|")
    order = list(dict.fromkeys(mutation.rule for mutation in MUTATIONS))
    for rule in order:
        name = rule
        for mutation in (m for m in MUTATIONS if m.rule == rule):
            kind, path = mutation.test.split()
            module, test = [part for part in path.split("::") if part != "tests"][-2:]
            where = "suite/" if kind == "suite" else ""
            print(f"| {name} | {mutation.change} | `{where}{module}::{test}` |")
            name = ""


def main():
    words = argparse.ArgumentParser(description="Breaks the rules that keep production safe, one at a time.")
    words.add_argument("--check", action="store_true", help="only look whether the list fits the tree")
    words.add_argument("--markdown", action="store_true", help="print the list as a table")
    words.add_argument("--aws", action="store_true", help="also those in the AWS adapters")
    words.add_argument("--only", default="", metavar="WORD", help="those whose rule, change, file or test has it")
    words.add_argument("--target-dir", default=TREE / "target" / "mutations", type=Path)
    asked = words.parse_args()
    if asked.markdown:
        return markdown()
    wrong = list(problems())
    if wrong:
        sys.exit("\n".join(wrong))
    if asked.check:
        return print(f"{len(MUTATIONS)} mutations of {len({m.rule for m in MUTATIONS})} rules fit the tree")
    has_word = lambda m: asked.only.lower() in f"{m.rule} {m.change} {m.file} {m.test}".lower()
    chosen = [m for m in MUTATIONS if has_word(m) and (asked.aws or not is_of_aws(m))]
    if not run_all(chosen, asked.target_dir.resolve()):
        sys.exit(1)


if __name__ == "__main__":
    main()
