//! What was tried, in numbers.

use std::io::{self, IsTerminal, Write};

use canary_gate::cli::count;
use canary_gate::sim::chaos::{self, Invariant, Tally};
use canary_gate::sim::explore::{self, Summary};

use crate::Args;
use crate::table::Table;

/// What came of it.
pub(crate) struct Tried {
    pub(crate) tables: Vec<Table>,
    /// Promises that were broken, each with the way to see it again.
    pub(crate) broken: Vec<String>,
}

/// Tries everything.
pub(crate) fn try_all(args: &Args) -> Tried {
    let Args { seed, minutes, inputs, worlds, .. } = *args;
    let explored = explore::explore_all(worlds, &mut |what| progress(what));
    let report = chaos::play(seed, minutes, None, |done| progress(&format!("{done} rollout-minutes")));
    let fuzzed = crate::fuzz::run_all(seed, inputs, &mut |what| progress(what));
    progress("");
    let again = report.failed.iter().map(|failed| {
        let what: Vec<_> =
            failed.broken.iter().map(|b| format!("{}: {}", b.invariant.number(), b.what)).collect();
        format!("canary-gate chaos --episode {}: {}", failed.episode, what.join("; "))
    });
    let broken = explored.broken().cloned().chain(again).chain(fuzzed.broken.clone()).collect();
    let tables = vec![
        explored_table(&explored),
        chaos_table(seed, &report.tally),
        faults_table(&report.tally),
        promises_table(&report.tally),
        fuzzed.table(),
    ];
    Tried { tables, broken }
}

fn progress(what: &str) {
    let mut stderr = io::stderr();
    if stderr.is_terminal() {
        let cut: String = what.chars().take(100).collect();
        let _ = write!(stderr, "\r\x1b[K{cut}");
    }
}

fn table(name: &'static str, caption: &str, heading: &[&str], rows: Vec<Vec<String>>) -> Table {
    let heading = heading.iter().map(ToString::to_string).collect();
    Table { name, caption: caption.to_owned(), heading, rows }
}

/// A table of things and how many there were.
pub(crate) fn counts(name: &'static str, caption: &str, what: &str, rows: &[(&str, u64)]) -> Table {
    let rows = rows.iter().map(|(thing, counted)| vec![(*thing).to_owned(), count(*counted)]).collect();
    table(name, caption, &[what, "number"], rows)
}

fn explored_table(explored: &Summary) -> Table {
    let (overlaps, decisions) = (&explored.overlaps, &explored.decisions);
    counts(
        "explored",
        "The real handler against the cloud in memory: two invocations in every order of their calls, with a death at \
         every point, and one invocation with every call failing in every way; and the pure decision over every input, \
         in the worlds that are nearest to the beginning.",
        "exhaustively",
        &[
            ("situations and what happens in them", explored.cases),
            ("orders of calls run to their end", overlaps.schedules),
            ("orders that led to a known state", overlaps.pruned),
            ("states of cloud and invocations", overlaps.states),
            ("port calls", overlaps.calls),
            ("deaths tried", overlaps.deaths),
            ("failing calls tried (call x kind x before or after its effect)", overlaps.failures),
            ("calm ticks afterwards", overlaps.calm_ticks),
            ("pages sent twice, each explained by a death, a failure or an overlap", overlaps.repeated_pages),
            ("invariants checked there", overlaps.checked),
            ("plans of the pure decision", explored.plans),
            ("states of the pure decision", decisions.states),
            ("of these met but not gone on from", decisions.left),
            ("decisions", decisions.decisions),
            ("edges", decisions.edges),
            ("invariants checked on edges", decisions.checked),
            ("broken", explored.broken().count() as u64),
        ],
    )
}

fn chaos_table(seed: u64, tally: &Tally) -> Table {
    counts(
        "chaos",
        &format!("Random faults, by `canary-gate chaos --seed {seed}`."),
        "at random",
        &[
            ("episodes", tally.episodes),
            ("rollouts", tally.rollouts),
            ("rollout-minutes", tally.rollout_minutes),
            ("invocations", tally.invocations),
            ("invocations that overlapped another", tally.overlaps),
            ("processes that died", tally.deaths),
            ("port calls", tally.calls),
            ("faults", tally.all_faults()),
            ("shifts up", tally.shifts),
            ("drains", tally.drains),
            ("deployments of other systems", tally.deployments),
            ("answers to them", tally.answers),
            ("deployments that were stopped", tally.stops),
            ("pages", tally.pages),
            ("pages sent again with the same key", tally.repeated_pages),
        ],
    )
}

fn faults_table(tally: &Tally) -> Table {
    let rows: Vec<(&str, u64)> = tally.faults.iter().map(|(kind, count)| (*kind, *count)).collect();
    counts("faults", "What was made to go wrong.", "fault", &rows)
}

fn promises_table(tally: &Tally) -> Table {
    let row = |promise: &Invariant| {
        vec![
            promise.number(),
            promise.says().to_owned(),
            count(tally.checked[promise.index()]),
            count(tally.broken[promise.index()]),
        ]
    };
    table(
        "promises",
        "What must hold, looked at after every call and at the end of every episode.",
        &["", "promise", "checked", "broken"],
        Invariant::ALL.iter().map(row).collect(),
    )
}
