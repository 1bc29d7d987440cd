//! Inputs made out of others: bytes are changed, and what is JSON is changed as a tree. The same seed makes the
//! same inputs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::seeds;
use super::targets::TARGETS;

/// An input grows no larger: what is longer is for the tests of the limits.
const BYTES_MAX: usize = 20_000;

/// What became of the inputs of a target.
pub struct Fuzzed {
    /// Inputs that were understood.
    pub accepted: u64,
    /// Inputs that were refused, with reasons.
    pub refused: u64,
    /// Inputs that were none.
    pub foreign: u64,
    /// The first input that broke what must hold.
    pub broken: Option<String>,
}

/// Gives a target its seeds and so many inputs made of them.
pub fn fuzz(name: &str, runs: u64, seed: u64, root: &Path) -> Fuzzed {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target's name");
    let seeds = seeds::of(name, root);
    let mut mutator = Mutator::new(seed);
    let mut counts = [0; 3];
    let mut broken = None;
    let mut run = |input: &[u8]| match catch_unwind(AssertUnwindSafe(|| target(input))) {
        Ok(outcome) => counts[outcome as usize] += 1,
        Err(_) => broken = broken.take().or_else(|| Some(input.escape_ascii().to_string())),
    };
    seeds.iter().for_each(|seed| run(seed));
    (0..runs).for_each(|_| run(&mutator.input(&seeds)));
    let [accepted, refused, foreign] = counts;
    Fuzzed { accepted, refused, foreign, broken }
}

/// Makes inputs out of others.
struct Mutator {
    state: u64,
}

impl Mutator {
    fn new(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    fn below(&mut self, most: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % most.max(1)
    }

    fn chance(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    fn input(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = self.pick(seeds).clone();
        let changes = 1 + self.below(3);
        match serde_json::from_slice::<Value>(&input) {
            Ok(mut tree) if !self.chance(4) => {
                (0..changes).for_each(|_| self.change_tree(&mut tree));
                input = tree.to_string().into_bytes();
            }
            _ => (0..changes).for_each(|_| self.change_lines(&mut input, seeds)),
        }
        if self.chance(4) {
            self.change_bytes(&mut input);
        }
        input.truncate(BYTES_MAX);
        input
    }

    /// Goes down to some place in the tree and does something to it.
    fn change_tree(&mut self, tree: &mut Value) {
        let deeper = !self.chance(6);
        match tree {
            // Messages, plans and commands come as texts inside texts.
            Value::String(text) if deeper && text.starts_with('{') => {
                if let Ok(mut inner) = serde_json::from_str::<Value>(text) {
                    self.change_tree(&mut inner);
                    *text = inner.to_string();
                }
            }
            Value::Object(map) if deeper && !map.is_empty() => {
                let at = self.below(map.len());
                self.change_tree(map.values_mut().nth(at).unwrap());
            }
            Value::Array(items) if deeper && !items.is_empty() => {
                let at = self.below(items.len());
                self.change_tree(&mut items[at]);
            }
            Value::Object(map) => self.change_map(map),
            Value::Array(items) => self.change_list(items),
            Value::String(text) if !self.chance(3) => {
                let mut bytes = std::mem::take(text).into_bytes();
                self.change_bytes(&mut bytes);
                *text = String::from_utf8_lossy(&bytes).into_owned();
            }
            other => *other = self.value(),
        }
    }

    fn change_map(&mut self, map: &mut Map<String, Value>) {
        let keys: Vec<String> = map.keys().cloned().collect();
        let Some(key) = keys.get(self.below(keys.len())) else {
            map.insert((*self.pick(&WORDS)).to_owned(), self.value());
            return;
        };
        match self.below(5) {
            0 => drop(map.remove(key)),
            1 => drop(map.insert(key.clone(), self.value())),
            2 => drop(map.insert((*self.pick(&WORDS)).to_owned(), self.value())),
            3 => {
                let mut misspelt = key.clone().into_bytes();
                self.change_bytes(&mut misspelt);
                let value = map[key].clone();
                map.insert(String::from_utf8_lossy(&misspelt).into_owned(), value);
            }
            _ => {
                let value = map[self.pick(&keys)].clone();
                map.insert(key.clone(), value);
            }
        }
    }

    fn change_list(&mut self, items: &mut Vec<Value>) {
        let at = self.below(items.len());
        match self.below(4) {
            0 if !items.is_empty() => drop(items.remove(at)),
            1 if !items.is_empty() => items.push(items[at].clone()),
            2 => (0..self.below(40)).for_each(|n| items.push(json!(n))),
            _ => items.push(self.value()),
        }
    }

    fn value(&mut self) -> Value {
        let depth = self.below(70);
        match self.below(8) {
            0 => Value::Null,
            1 => json!(self.chance(2)),
            2 => json!({}),
            3 => json!([self.pick(&WORDS), self.pick(&WORDS)]),
            4 => (0..depth)
                .fold(json!(1), |inner, n| if n % 2 == 0 { json!([inner]) } else { json!({ "a": inner }) }),
            5 => json!((*self.pick(&WORDS)).repeat(1 + depth * depth / 8)),
            6 => {
                let number = serde_json::from_str(NUMBERS[self.below(NUMBERS.len())]);
                number.unwrap_or(Value::Null)
            }
            _ => json!(self.pick(&WORDS)),
        }
    }

    /// Lines and words are what a plan, a recording and an environment consist of.
    fn change_lines(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let text = String::from_utf8_lossy(input).into_owned();
        let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
        let (at, to) = (self.below(lines.len()), self.below(lines.len()));
        match self.below(8) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(to, lines[at].clone()),
            2 => lines.swap(at, to),
            3 => lines[at].insert_str(0, "  "),
            4 => {
                let other = String::from_utf8_lossy(&seeds[self.below(seeds.len())]).into_owned();
                let other: Vec<&str> = other.split('\n').collect();
                lines.insert(at, (*self.pick(&other)).to_owned());
            }
            5 if serde_json::from_str::<Value>(&lines[at]).is_ok() => {
                let mut tree = serde_json::from_str(&lines[at]).unwrap();
                self.change_tree(&mut tree);
                lines[at] = tree.to_string();
            }
            _ => self.change_word(&mut lines[at]),
        }
        *input = lines.join("\n").into_bytes();
    }

    fn change_word(&mut self, line: &mut String) {
        let apart = |c: char| " ,:={}[]%\"".contains(c);
        let words: Vec<(usize, usize)> = line
            .split(apart)
            .filter(|word| !word.is_empty())
            .map(|word| (word.as_ptr() as usize - line.as_ptr() as usize, word.len()))
            .collect();
        let Some((from, length)) = words.get(self.below(words.len())).copied() else { return };
        let word = if self.chance(2) { *self.pick(&NUMBERS) } else { *self.pick(&WORDS) };
        line.replace_range(from..from + length, word);
    }

    fn change_bytes(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            match self.below(4) {
                0 if !bytes.is_empty() => drop(bytes.remove(at)),
                1 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                _ => bytes.insert(
                    at.min(bytes.len()),
                    *self.pick(b" {}[]\",:0-9.%xmne&*|!<>#\n\t\r\x00\x1b\x7f\xc3\xff"),
                ),
            }
        }
    }
}

const NUMBERS: [&str; 16] = [
    "0",
    "-1",
    "1",
    "0.1",
    "-0.0",
    "100",
    "101",
    "1e400",
    "-1e400",
    "1e-400",
    "1e12",
    "1000000000001",
    "18446744073709551615",
    "18446744073709551616",
    "9007199254740993",
    "0.30000000000000004",
];

const WORDS: [&str; 40] = [
    "",
    " ",
    "a",
    "kind",
    "rollout",
    "plan",
    "checks",
    "errors",
    "latency",
    "ratio",
    "values",
    "classes",
    "le",
    "requests",
    "5%",
    "+1%",
    "1.25x",
    "p99",
    "15m",
    "99999d",
    "1e3%",
    "nan",
    "inf",
    ".nan",
    ".inf",
    "true",
    "null",
    "~",
    "&a",
    "*a",
    "<<",
    "!!binary",
    "|",
    "%",
    "é\u{301}",
    "\u{2028}",
    "\u{1b}[2J",
    "canary-gate:a",
    "ALARM",
    "2026-03-01T10:00:00.000+0000",
];
