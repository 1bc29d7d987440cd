//! The common odds ratio of many tables.

use super::design_effect::DesignEffect;
use super::error::exact;
use super::odds::{ODDS_RATIO_MAX, ODDS_RATIO_MIN, OddsRatio};
use super::table::Table;

/// An odds ratio that many tables have in common.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CommonOdds {
    /// First arm to second.
    pub ratio: OddsRatio,
    /// Standard error of its logarithm, with independent requests.
    pub ln_error: f64,
}

impl CommonOdds {
    /// What of the ratio's distance from 1 is more than `errors` standard errors, where the variance is
    /// `design_effect` times that of independent requests.
    ///
    /// ```text
    /// sign(ln psi) max(0, |ln psi| - errors sqrt(D) se),   exponentiated
    /// ```
    #[must_use]
    pub fn surely(self, errors: f64, design_effect: DesignEffect) -> f64 {
        let ln = self.ratio.get().ln();
        let rest = (ln.abs() - errors * design_effect.get().sqrt() * self.ln_error).max(0.0);
        rest.copysign(ln).exp()
    }
}

/// The odds ratio, first arm to second, that the tables have in common, whatever their base rates.
///
/// ```text
/// R_t = x1 (n0 - x0) / N,  S_t = x0 (n1 - x1) / N,  P_t = (x1 + n0 - x0) / N,  Q_t = (x0 + n1 - x1) / N
/// psi = sum R / sum S
/// se^2 = sum P R / (2 (sum R)^2) + sum (P S + Q R) / (2 sum R sum S) + sum Q S / (2 (sum S)^2)
/// ```
///
/// Mantel and Haenszel (1959), with the variance of Robins, Breslow and Greenland (1986): consistent also for
/// many small tables. `None` where one of the sums is zero.
#[must_use]
pub fn mantel_haenszel(tables: &[Table]) -> Option<CommonOdds> {
    let (mut r, mut s) = (0.0, 0.0);
    let (mut pr, mut mixed, mut qs) = (0.0, 0.0, 0.0);
    for table in tables {
        let (first, second) = (table.first(), table.second());
        let whole = exact(first.total()) + exact(second.total());
        if whole <= 0.0 {
            continue;
        }
        let [x1, y1] = [exact(first.bad()), exact(first.total() - first.bad())];
        let [x0, y0] = [exact(second.bad()), exact(second.total() - second.bad())];
        let (r_t, s_t) = (x1 * y0 / whole, x0 * y1 / whole);
        let (p_t, q_t) = ((x1 + y0) / whole, (x0 + y1) / whole);
        r += r_t;
        s += s_t;
        pr += p_t * r_t;
        mixed += p_t * s_t + q_t * r_t;
        qs += q_t * s_t;
    }
    if r <= 0.0 || s <= 0.0 {
        return None;
    }
    let variance = pr / (2.0 * r * r) + mixed / (2.0 * r * s) + qs / (2.0 * s * s);
    let ratio = OddsRatio::new((r / s).clamp(ODDS_RATIO_MIN, ODDS_RATIO_MAX)).ok()?;
    Some(CommonOdds { ratio, ln_error: variance.sqrt() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Arm;

    fn table(x1: u64, n1: u64, x0: u64, n0: u64) -> Table {
        Table::new(Arm::new(x1, n1).unwrap(), Arm::new(x0, n0).unwrap()).unwrap()
    }

    fn ratio(tables: &[Table]) -> Option<f64> {
        mantel_haenszel(tables).map(|common| common.ratio.get())
    }

    #[test]
    fn one_table_has_its_own_odds_ratio_and_its_error_is_that_of_woolf() {
        let common = mantel_haenszel(&[table(20, 100, 10, 100)]).unwrap();
        assert!((common.ratio.get() - (20.0 / 80.0) / (10.0 / 90.0)).abs() < 1e-12);
        let woolf = (1.0 / 20.0 + 1.0 / 80.0 + 1.0 / 10.0 + 1.0 / 90.0_f64).sqrt();
        assert!((common.ln_error - woolf).abs() < 1e-12);
    }

    #[test]
    fn many_tables_agree_with_statsmodels() {
        // statsmodels 0.14, StratifiedTable([[[20, 80], [10, 90]], [[3, 197], [9, 1791]], [[40, 60], [300, 700]]]):
        // oddsratio_pooled and logodds_pooled_se.
        let common =
            mantel_haenszel(&[table(20, 100, 10, 100), table(3, 200, 9, 1_800), table(40, 100, 300, 1_000)])
                .unwrap();
        assert!((common.ratio.get() - 1.747_802_687_897_19).abs() < 1e-9, "{common:?}");
        assert!((common.ln_error - 0.183_815_654_506_401_22).abs() < 1e-9, "{common:?}");
    }

    #[test]
    fn base_rates_that_change_with_the_share_do_not_matter() {
        // Odds ratio 1 in both, and 2.2 in their sum.
        let tables = [table(1, 100, 9, 900), table(100, 1_000, 10, 100)];
        assert!((ratio(&tables).unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn without_a_bad_request_in_each_arm_there_is_none() {
        assert_eq!(ratio(&[]), None);
        assert_eq!(ratio(&[table(0, 10, 3, 10)]), None);
        assert_eq!(ratio(&[table(3, 10, 0, 10), table(0, 0, 0, 0)]), None);
    }

    #[test]
    fn only_what_is_beyond_its_error_is_sure() {
        let common = mantel_haenszel(&[table(20, 100, 10, 100)]).unwrap();
        assert_eq!(common.surely(2.0, DesignEffect::NONE), 1.0);
        assert!((common.surely(0.0, DesignEffect::new(9.0).unwrap()) - common.ratio.get()).abs() < 1e-12);
        let other = mantel_haenszel(&[table(10, 100, 20, 100)]).unwrap();
        assert!(
            (other.surely(1.0, DesignEffect::NONE) * common.surely(1.0, DesignEffect::NONE) - 1.0).abs()
                < 1e-12
        );
        assert!(common.surely(1.0, DesignEffect::NONE) < common.ratio.get());
    }
}
