//! Fisher's exact test of one table: one look, for reports and for comparison.
//!
//! Not for judging every minute: a p-value is only good once. Looked at 240 times, a test at 5 %
//! raises a false alarm in 12 to 35 % of healthy streams.

use super::odds::OddsRatio;
use super::table::Table;

impl Table {
    /// P-value of Fisher's exact test against `psi <= 1`: the chance of as many bad requests in
    /// the first arm, or more, if the arms are alike.
    ///
    /// ```text
    /// p = P(X >= x1 | n1, n0, m, psi = 1)
    /// ```
    ///
    /// Summed over the tail, so that it keeps its digits down to the smallest number of `f64`.
    /// The other side is the same of [`swapped`](Table::swapped); for both sides, twice the
    /// smaller one. Fisher (1935).
    #[must_use]
    pub fn fisher_p_value(self) -> f64 {
        self.margins().ln_upper_tail(self.first().bad(), OddsRatio::ONE).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Arm;
    use crate::stats::oracle::{self, assert_close};
    use statrs::stats_tests::Alternative;
    use statrs::stats_tests::fisher::fishers_exact;

    /// Relative tolerance between this sum and statrs' log-gamma sums.
    const STATRS_REL: f64 = 1e-6;

    fn table(x1: u64, n1: u64, x0: u64, n0: u64) -> Table {
        Table::new(Arm::new(x1, n1).unwrap(), Arm::new(x0, n0).unwrap()).unwrap()
    }

    #[test]
    fn one_sided_p_values_agree_with_50_digits_and_statrs() {
        let tables = oracle::tables();
        for case in tables["fisher"].as_array().unwrap() {
            let [x1, n1, x0, n0] = ["x1", "n1", "x0", "n0"].map(|name| oracle::count(&case[name]));
            let t = table(x1, n1, x0, n0);
            let cells = [x1, n1 - x1, x0, n0 - x0];
            for (got, name, side) in [
                (t.fisher_p_value(), "greater", Alternative::Greater),
                (t.swapped().fisher_p_value(), "less", Alternative::Less),
            ] {
                assert_close(got, oracle::number(&case[name]), 1e-11, 0.0, case);
                let statrs = fishers_exact(&cells, side).unwrap();
                assert_close(got, statrs, STATRS_REL, 0.0, case);
            }
        }
    }

    #[test]
    fn a_table_without_information_has_a_p_value_of_one() {
        for t in [table(0, 0, 3, 9), table(0, 5, 0, 5), table(5, 5, 5, 5)] {
            assert_eq!(t.fisher_p_value(), 1.0);
        }
    }
}
