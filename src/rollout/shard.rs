//! Which rollouts one of several functions looks after.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Functions that may share the rollouts. Their account's quotas are the same, however many they are.
pub const SHARDS_MAX: u32 = 100;

/// One of several parts of all rollouts. Each rollout is in exactly one part, by its name alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// From one on.
    number: u32,
    of: u32,
}

impl Shard {
    /// All rollouts.
    pub const ALL: Self = Self { number: 1, of: 1 };

    /// Part `number`, from one on, of so many; `None` if there is no such part.
    #[must_use]
    pub fn new(number: u32, of: u32) -> Option<Self> {
        ((1..=SHARDS_MAX).contains(&of) && (1..=of).contains(&number)).then_some(Self { number, of })
    }

    /// How many parts there are.
    #[must_use]
    pub fn of(self) -> u32 {
        self.of
    }

    /// The part of so many that a rollout is in: the first four bytes of its name's SHA-256, as a number, modulo
    /// their number. Nothing else may be, or a rollout changes hands while it runs.
    #[must_use]
    pub fn with(rollout: &str, of: u32) -> Self {
        let hash = Sha256::digest(rollout.as_bytes());
        let number = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
        let of = of.max(1);
        Self { number: number % of + 1, of }
    }

    /// Whether a rollout is in it.
    #[must_use]
    pub fn has(self, rollout: &str) -> bool {
        Self::with(rollout, self.of) == self
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "shard {} of {}", self.number, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_no_part_beside_those_that_there_are() {
        assert_eq!(Shard::new(1, 1), Some(Shard::ALL));
        assert!(Shard::new(100, 100).is_some());
        for (number, of) in [(0, 1), (2, 1), (0, 0), (1, 0), (101, 101), (u32::MAX, u32::MAX)] {
            assert_eq!(Shard::new(number, of), None, "{number} of {of}");
        }
    }

    #[test]
    fn every_rollout_is_in_exactly_one_part_and_the_parts_are_about_alike() {
        for of in [1_u32, 2, 3, 7, 100] {
            let shards: Vec<Shard> = (1..=of).map(|number| Shard::new(number, of).unwrap()).collect();
            let mut sizes = vec![0_u32; of as usize];
            for rollout in (0..5_000).map(|at| format!("checkout-v{at}")) {
                let having: Vec<_> = shards.iter().filter(|shard| shard.has(&rollout)).collect();
                assert_eq!(having.len(), 1, "{rollout}: {having:?}");
                assert_eq!(*having[0], Shard::with(&rollout, of));
                sizes[having[0].number as usize - 1] += 1;
            }
            let fair = 5_000 / of;
            assert!(sizes.iter().all(|size| (fair / 2..=fair * 2).contains(size)), "{sizes:?}");
        }
    }

    #[test]
    fn the_part_of_a_name_never_changes() {
        // `printf checkout-v42 | sha256sum` begins with a7036096, which is 2 modulo 4.
        let of_4 = |name| Shard::with(name, 4).to_string();
        assert_eq!(of_4("checkout-v42"), "shard 3 of 4");
    }
}
