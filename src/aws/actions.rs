//! A rule's actions: what they say of the pair, and how they are rewritten. Pure.
//!
//! ModifyRule replaces the whole list, so a rewrite starts from the list as it was read and changes the
//! pair's weights only. Authentication, order, other groups and stickiness belong to somebody else.

use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, ForwardActionConfig, TargetGroupStickinessConfig, TargetGroupTuple,
};

use crate::ports::Split;
use crate::rollout::plan::Targets;
use crate::units::Share;

/// The largest weight that ALB takes.
const MAX_WEIGHT: u32 = 999;
/// Sum of the pair's weights for whole percents ...
const TOTAL: u32 = 100;
/// ... and for shares with a decimal. Neither weight reaches this, so neither exceeds [`MAX_WEIGHT`].
const FINE_TOTAL: u32 = 1000;
/// The weights must meet the share this well, relative to the smaller arm. Beside it, they must be the same
/// share in the sense of [`Share::same_as`]: that is what the handler compares.
const SHARE_TOLERANCE: f64 = 0.05;

/// The weights that stand for a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Weights {
    pub(super) stable: u32,
    pub(super) canary: u32,
    /// The weights of other groups are multiplied by this, so that their part stays what it was.
    pub(super) factor: u32,
}

/// What a drain does about clients that stick to the canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Nothing: stickiness stays as it was read.
    Keep,
    /// Group stickiness is switched off, its duration kept.
    Unstick,
    /// The canary's group is taken out of the action, stickiness stays.
    Remove,
}

/// How the rule splits its traffic, or why that can't be told.
pub(super) fn split_of(actions: &[Action], targets: &Targets) -> Result<Split, String> {
    let forward = forward(actions)?;
    let groups = groups(forward);
    let named = |arn: &str| groups.iter().find(|(group, _)| group == arn).map(|(_, weight)| *weight);
    let (stable, canary) = (named(&targets.stable), named(&targets.canary));
    if stable.is_none() && canary.is_none() {
        let found = groups.iter().map(|(group, _)| group.as_str()).collect::<Vec<_>>().join(", ");
        return Err(format!("the rule forwards to neither stable nor canary, but to: {found}"));
    }
    let ours = |group: &str| group == targets.stable || group == targets.canary;
    let others = groups.iter().filter(|(group, _)| !ours(group)).map(|(_, weight)| *weight).sum();
    Ok(Split {
        stable: stable.unwrap_or(0),
        canary: canary.unwrap_or(0),
        others,
        sticky: stickiness(forward).and_then(TargetGroupStickinessConfig::enabled) == Some(true),
    })
}

/// No forward action of the rule names one of the pair.
pub(super) fn names_neither(actions: &[Action], targets: &Targets) -> bool {
    let ours = |(group, _): &(String, u32)| *group == targets.stable || *group == targets.canary;
    !actions.iter().filter(|action| is_forward(action)).flat_map(groups).any(|group| ours(&group))
}

/// The one forward action.
fn forward(actions: &[Action]) -> Result<&Action, String> {
    let mut forwards = actions.iter().filter(|action| is_forward(action));
    match (forwards.next(), forwards.next()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => Err("the rule has several forward actions".to_owned()),
        (None, _) => {
            let types = actions.iter().filter_map(Action::r#type).map(ActionTypeEnum::as_str);
            let types = types.collect::<Vec<_>>().join(", ");
            Err(format!("the rule has no forward action, but: {types}"))
        }
    }
}

fn is_forward(action: &Action) -> bool {
    action.r#type() == Some(&ActionTypeEnum::Forward)
}

/// Groups and weights. The short form, one group without a configuration, stands for all of the traffic.
fn groups(forward: &Action) -> Vec<(String, u32)> {
    let weighted = forward.forward_config().map_or(&[][..], ForwardActionConfig::target_groups);
    if weighted.is_empty() {
        return forward.target_group_arn().map(|arn| (arn.to_owned(), 1)).into_iter().collect();
    }
    let pair = |group: &TargetGroupTuple| {
        let weight = group.weight().map_or(1, |weight| u32::try_from(weight).unwrap_or(0));
        (group.target_group_arn().unwrap_or_default().to_owned(), weight)
    };
    weighted.iter().map(pair).collect()
}

fn stickiness(forward: &Action) -> Option<&TargetGroupStickinessConfig> {
    forward.forward_config().and_then(ForwardActionConfig::target_group_stickiness_config)
}

/// The weights that give the canary `share` of the pair's traffic.
///
/// # Errors
/// If other groups take part and whole weights up to 999 can't express the share beside them.
pub(super) fn weights_for(share: Share, now: &Split, most_of_others: u32) -> Result<Weights, String> {
    if now.others == 0 {
        return Ok(alone(share));
    }
    let total = now.stable + now.canary;
    if total == 0 {
        return match share.percent() {
            0.0 => Ok(Weights { stable: 0, canary: 0, factor: 1 }),
            _ => Err("the pair has no weight beside other groups: give stable its weight first".to_owned()),
        };
    }
    let beside = |factor: u32| {
        let total = total.checked_mul(factor)?;
        let canary = part(share, total);
        let weights = Weights { stable: total - canary, canary, factor };
        let largest = weights.stable.max(canary).max(most_of_others.checked_mul(factor)?);
        (largest <= MAX_WEIGHT).then_some(weights)
    };
    (1..=MAX_WEIGHT).map_while(beside).find(|weights| expresses(*weights, share)).ok_or_else(|| {
        format!(
            "weights up to {MAX_WEIGHT} can't give the canary {share} of the pair's {total} beside other \
             groups with {}: scale the rule's weights by hand, in the same proportion, so that the pair's \
             sum to {TOTAL} for whole percents or to {FINE_TOTAL} for tenths",
            now.others
        )
    })
}

/// Nobody else takes part: the pair's total is free.
fn alone(share: Share) -> Weights {
    let total = if share.percent().fract() == 0.0 { TOTAL } else { FINE_TOTAL };
    let mut canary = part(share, total);
    if total == FINE_TOTAL {
        // Not whole, hence neither nothing nor all, however it is rounded.
        canary = canary.clamp(1, MAX_WEIGHT);
    }
    Weights { stable: total - canary, canary, factor: 1 }
}

/// A share of a total, in whole weights. The product lies between 0 and `total`.
fn part(share: Share, total: u32) -> u32 {
    (share.fraction() * f64::from(total)).round() as u32
}

/// Near enough to the share, seen from either arm.
fn expresses(weights: Weights, share: Share) -> bool {
    let got = Share::of_weights(weights.canary, weights.stable);
    let smaller = share.percent().min(100.0 - share.percent());
    let off = (got.percent() - share.percent()).abs();
    // The last bit of a quotient is no deviation.
    got.same_as(share) && off <= smaller * SHARE_TOLERANCE + 1e-9
}

/// The largest weight of a group that is not ours.
pub(super) fn most_of_others(actions: &[Action], targets: &Targets) -> u32 {
    let ours = |group: &str| group == targets.stable || group == targets.canary;
    let groups = forward(actions).map(groups).unwrap_or_default();
    groups.iter().filter(|(group, _)| !ours(group)).map(|(_, weight)| *weight).max().unwrap_or(0)
}

/// The actions with other weights for the pair, fit for ModifyRule and ModifyListener.
pub(super) fn rewritten(actions: &[Action], targets: &Targets, weights: Weights, way: Way) -> Vec<Action> {
    let one = |action: &Action| {
        if is_forward(action) { forwarding(action, targets, weights, way) } else { writable(action) }
    };
    actions.iter().map(one).collect()
}

/// An action that is not ours, in the form in which it is taken back: the client secret of an OIDC action
/// is never read out, and may be left out only if the stored one is asked for.
fn writable(action: &Action) -> Action {
    let mut same = action.clone();
    if let Some(oidc) = &mut same.authenticate_oidc_config {
        oidc.client_secret = None;
        oidc.use_existing_client_secret = Some(true);
    }
    same
}

fn forwarding(action: &Action, targets: &Targets, weights: Weights, way: Way) -> Action {
    let of = |arn: &str, weight: u32| match arn {
        arn if arn == targets.stable => weights.stable,
        arn if arn == targets.canary => weights.canary,
        _ => weight * weights.factor,
    };
    let mut wanted: Vec<(String, u32)> = groups(action);
    wanted.iter_mut().for_each(|(arn, weight)| *weight = of(arn, *weight));
    for (arn, weight) in [(&targets.stable, weights.stable), (&targets.canary, weights.canary)] {
        // A group that is to get nothing need not be named.
        if weight > 0 && wanted.iter().all(|(group, _)| group != arn) {
            wanted.push((arn.clone(), weight));
        }
    }
    if way == Way::Remove {
        wanted.retain(|(arn, _)| *arn != targets.canary);
    }
    let tuple = |(arn, weight): (String, u32)| {
        let weight = i32::try_from(weight).unwrap_or(i32::MAX);
        TargetGroupTuple::builder().target_group_arn(arn).weight(weight).build()
    };
    let mut sticky = stickiness(action).cloned();
    if let (Way::Unstick, Some(sticky)) = (way, &mut sticky) {
        sticky.enabled = Some(false);
    }
    let config = ForwardActionConfig::builder()
        .set_target_groups(Some(wanted.into_iter().map(tuple).collect()))
        .set_target_group_stickiness_config(sticky)
        .build();
    let mut next = action.clone();
    // Both forms together are taken only if they say the same.
    next.target_group_arn = None;
    next.forward_config = Some(config);
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_elasticloadbalancingv2::types::{
        AuthenticateCognitoActionConfig, AuthenticateOidcActionConfig, FixedResponseActionConfig,
    };

    fn targets() -> Targets {
        Targets {
            listener_rule: "rule".to_owned(),
            stable: "stable".to_owned(),
            canary: "canary".to_owned(),
            role_arn: None,
        }
    }

    fn forward_to(groups: &[(&str, i32)], sticky: Option<(bool, i32)>) -> Action {
        let tuple = |(arn, weight): &(&str, i32)| {
            TargetGroupTuple::builder().target_group_arn(*arn).weight(*weight).build()
        };
        let sticky = sticky.map(|(enabled, seconds)| {
            TargetGroupStickinessConfig::builder().enabled(enabled).duration_seconds(seconds).build()
        });
        let config = ForwardActionConfig::builder()
            .set_target_groups(Some(groups.iter().map(tuple).collect()))
            .set_target_group_stickiness_config(sticky)
            .build();
        Action::builder().r#type(ActionTypeEnum::Forward).order(2).forward_config(config).build()
    }

    fn share(percent: f64) -> Share {
        Share::from_percent(percent).unwrap()
    }

    fn pair(stable: u32, canary: u32, others: u32) -> Split {
        Split { stable, canary, others, sticky: false }
    }

    fn weights(stable: u32, canary: u32, factor: u32) -> Weights {
        Weights { stable, canary, factor }
    }

    #[test]
    fn alone_the_pair_uses_round_totals() {
        let cases = [
            (0.0, 100, 0),
            (5.0, 95, 5),
            (50.0, 50, 50),
            (100.0, 0, 100),
            (12.5, 875, 125),
            (0.1, 999, 1),
            (99.9, 1, 999),
            (0.01, 999, 1),
            (99.99, 1, 999),
        ];
        for (percent, stable, canary) in cases {
            let got = weights_for(share(percent), &pair(1, 0, 0), 0);
            assert_eq!(got, Ok(weights(stable, canary, 1)), "{percent}");
        }
    }

    #[test]
    fn every_share_with_one_decimal_is_what_the_handler_compares() {
        for tenths in 0..=1000 {
            let wanted = share(f64::from(tenths) / 10.0);
            let got = weights_for(wanted, &pair(0, 0, 0), 0).unwrap();
            assert!(got.stable <= MAX_WEIGHT && got.canary <= MAX_WEIGHT, "{wanted}");
            assert!(Share::of_weights(got.canary, got.stable).same_as(wanted), "{wanted}");
        }
    }

    #[test]
    fn other_groups_keep_their_part_of_the_traffic() {
        let five = share(5.0);
        assert_eq!(weights_for(five, &pair(60, 0, 40), 40), Ok(weights(57, 3, 1)));
        assert_eq!(weights_for(five, &pair(1, 0, 1), 1), Ok(weights(19, 1, 20)));
        assert_eq!(weights_for(share(0.0), &pair(7, 3, 90), 90), Ok(weights(10, 0, 1)));
        assert_eq!(weights_for(share(100.0), &pair(7, 3, 90), 90), Ok(weights(0, 10, 1)));
        for percent in [0.1, 0.5, 1.0, 12.5, 33.3, 99.9] {
            for (stable, others) in [(1, 1), (3, 2), (100, 50), (90, 9)] {
                let Ok(got) = weights_for(share(percent), &pair(stable, 0, others), others) else { continue };
                assert_eq!((got.stable + got.canary) / got.factor, stable);
                assert_eq!((got.stable + got.canary) % got.factor, 0);
                assert!(expresses(got, share(percent)), "{percent} of {stable} beside {others}");
            }
        }
    }

    #[test]
    fn a_share_that_weights_cannot_express_is_refused_but_a_drain_never_is() {
        let refused = weights_for(share(0.1), &pair(1, 0, 500), 500).unwrap_err();
        assert!(refused.contains("by hand") && refused.contains("0.1%"), "{refused}");
        assert!(weights_for(share(5.0), &pair(0, 0, 10), 10).is_err());
        for (stable, canary, others) in [(1, 1, 999), (0, 0, 7), (999, 0, 1), (1, 998, 999)] {
            let drained = weights_for(Share::ZERO, &pair(stable, canary, others), others).unwrap();
            assert_eq!((drained.canary, drained.factor), (0, 1));
        }
    }

    #[test]
    fn a_split_is_read_from_either_form() {
        let short = Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn("stable").build();
        assert_eq!(split_of(&[short], &targets()), Ok(pair(1, 0, 0)));
        let long = forward_to(&[("other", 3), ("canary", 5), ("stable", 95)], Some((true, 60)));
        let split = split_of(&[long], &targets()).unwrap();
        assert_eq!(split, Split { stable: 95, canary: 5, others: 3, sticky: true });
        let unweighted = TargetGroupTuple::builder().target_group_arn("canary").build();
        let config = ForwardActionConfig::builder().target_groups(unweighted).build();
        let lone = Action::builder().r#type(ActionTypeEnum::Forward).forward_config(config).build();
        assert_eq!(split_of(&[lone], &targets()), Ok(pair(0, 1, 0)));
    }

    #[test]
    fn rules_that_split_nothing_between_the_pair_are_refused() {
        let fixed = Action::builder()
            .r#type(ActionTypeEnum::FixedResponse)
            .fixed_response_config(FixedResponseActionConfig::builder().status_code("503").build())
            .build();
        assert!(split_of(&[fixed], &targets()).unwrap_err().contains("fixed-response"));
        let foreign = forward_to(&[("a", 1), ("b", 1)], None);
        assert!(split_of(std::slice::from_ref(&foreign), &targets()).unwrap_err().contains("a, b"));
        let ours = forward_to(&[("stable", 1)], None);
        assert!(split_of(&[ours, foreign], &targets()).is_err());
        assert!(split_of(&[], &targets()).is_err());
    }

    #[test]
    fn everything_that_is_not_ours_is_written_back_as_it_was() {
        let oidc = AuthenticateOidcActionConfig::builder()
            .issuer("https://id")
            .authorization_endpoint("https://id/a")
            .token_endpoint("https://id/t")
            .user_info_endpoint("https://id/u")
            .client_id("us")
            .client_secret("never to be seen")
            .session_timeout(600)
            .build();
        let oidc = Action::builder()
            .r#type(ActionTypeEnum::AuthenticateOidc)
            .order(1)
            .authenticate_oidc_config(oidc)
            .build();
        let cognito = AuthenticateCognitoActionConfig::builder()
            .user_pool_arn("pool")
            .user_pool_client_id("id")
            .user_pool_domain("domain")
            .build();
        let cognito = Action::builder()
            .r#type(ActionTypeEnum::AuthenticateCognito)
            .order(1)
            .authenticate_cognito_config(cognito)
            .build();
        let forward =
            forward_to(&[("other", 3), ("stable", 100), ("idle", 0), ("canary", 0)], Some((true, 3600)));
        let before = [oidc.clone(), cognito.clone(), forward];
        let after = rewritten(&before, &targets(), weights(95, 5, 2), Way::Keep);
        let secret = after[0].authenticate_oidc_config().unwrap();
        assert_eq!((secret.client_secret(), secret.use_existing_client_secret()), (None, Some(true)));
        let mut expected = oidc;
        let config = expected.authenticate_oidc_config.as_mut().unwrap();
        (config.client_secret, config.use_existing_client_secret) = (None, Some(true));
        assert_eq!(after[0], expected);
        assert_eq!(after[1], cognito);
        let groups = [("other", 6), ("stable", 95), ("idle", 0), ("canary", 5)];
        assert_eq!(after[2], forward_to(&groups, Some((true, 3600))));
    }

    #[test]
    fn the_short_form_becomes_the_long_one_and_the_canary_is_added() {
        let short =
            Action::builder().r#type(ActionTypeEnum::Forward).order(2).target_group_arn("stable").build();
        let after = rewritten(std::slice::from_ref(&short), &targets(), weights(95, 5, 1), Way::Keep);
        assert_eq!(after, [forward_to(&[("stable", 95), ("canary", 5)], None)]);
        let drained = rewritten(&[short], &targets(), weights(100, 0, 1), Way::Keep);
        assert_eq!(drained, [forward_to(&[("stable", 100)], None)]);
    }

    #[test]
    fn a_drain_frees_sticky_clients_in_the_way_asked_for() {
        let sticky = [forward_to(&[("stable", 95), ("canary", 5)], Some((true, 60)))];
        let drained = weights(100, 0, 1);
        let both = [("stable", 100), ("canary", 0)];
        let unstuck = rewritten(&sticky, &targets(), drained, Way::Unstick);
        assert_eq!(unstuck, [forward_to(&both, Some((false, 60)))]);
        let removed = rewritten(&sticky, &targets(), drained, Way::Remove);
        assert_eq!(removed, [forward_to(&[("stable", 100)], Some((true, 60)))]);
        let kept = rewritten(&sticky, &targets(), drained, Way::Keep);
        assert_eq!(kept, [forward_to(&both, Some((true, 60)))]);
        let plain = [forward_to(&[("stable", 95), ("canary", 5)], None)];
        assert_eq!(rewritten(&plain, &targets(), drained, Way::Unstick), [forward_to(&both, None)]);
    }
}
