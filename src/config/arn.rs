//! The names that AWS gives to things, taken apart and checked.
//!
//! A plan that names a listener instead of its rule, or a group in another region, would fail hours later
//! with an answer of the service that nobody understands. Here it fails when it is read, in plain words.

/// Which thing an ARN must name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ArnKind {
    /// A rule of an Application Load Balancer's listener.
    ListenerRule,
    /// A target group.
    TargetGroup,
    /// A standard SNS topic.
    Topic,
    /// A CloudWatch alarm, of metrics or of other alarms.
    Alarm,
    /// An IAM role.
    Role,
}

impl ArnKind {
    /// The form, in a regular expression that JSON Schema and this module agree on.
    pub(super) fn pattern(self) -> &'static str {
        match self {
            Self::ListenerRule => {
                "^arn:(aws|aws-cn|aws-us-gov):elasticloadbalancing:[a-z][a-z0-9-]*[0-9]:[0-9]{12}:\
                 listener-rule/app/[0-9A-Za-z-]{1,64}(/[0-9A-Za-z-]{1,64}){3}$"
            }
            Self::TargetGroup => {
                "^arn:(aws|aws-cn|aws-us-gov):elasticloadbalancing:[a-z][a-z0-9-]*[0-9]:[0-9]{12}:\
                 targetgroup/[0-9A-Za-z-]{1,64}/[0-9A-Za-z-]{1,64}$"
            }
            Self::Topic => {
                "^arn:(aws|aws-cn|aws-us-gov):sns:[a-z][a-z0-9-]*[0-9]:[0-9]{12}:[0-9A-Za-z_-]{1,256}$"
            }
            Self::Alarm => {
                "^arn:(aws|aws-cn|aws-us-gov):cloudwatch:[a-z][a-z0-9-]*[0-9]:[0-9]{12}:\
                 alarm:(?=.*[^ ]).{1,255}$"
            }
            Self::Role => {
                "^arn:(aws|aws-cn|aws-us-gov):iam::[0-9]{12}:\
                 role/([0-9A-Za-z_+=,.@-]{1,64}/){0,8}[0-9A-Za-z_+=,.@-]{1,64}$"
            }
        }
    }

    fn service(self) -> &'static str {
        match self {
            Self::ListenerRule | Self::TargetGroup => "elasticloadbalancing",
            Self::Topic => "sns",
            Self::Alarm => "cloudwatch",
            Self::Role => "iam",
        }
    }

    /// What is wanted, with its form.
    pub(super) fn wanted(self) -> &'static str {
        match self {
            Self::ListenerRule => {
                "must be the ARN of a listener rule, arn:aws:elasticloadbalancing:REGION:ACCOUNT:\
                 listener-rule/app/NAME/ID/LISTENER/RULE"
            }
            Self::TargetGroup => {
                "must be the ARN of a target group, arn:aws:elasticloadbalancing:REGION:ACCOUNT:\
                 targetgroup/NAME/ID"
            }
            Self::Topic => "must be the ARN of a standard SNS topic, arn:aws:sns:REGION:ACCOUNT:NAME",
            Self::Alarm => "must be the ARN of an alarm, arn:aws:cloudwatch:REGION:ACCOUNT:alarm:NAME",
            Self::Role => "must be the ARN of an IAM role, arn:aws:iam::ACCOUNT:role/NAME",
        }
    }
}

/// The parts of an ARN that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Arn {
    /// Partition, region and account; all three ARNs of a plan share it. A role's region is empty.
    pub(super) place: [String; 3],
    /// The name of a target group, a topic, an alarm or a role; of a rule, its load balancer's name.
    pub(super) name: String,
}

impl Arn {
    /// # Errors
    /// The rule that `text` breaks, in words.
    pub(super) fn parse(text: &str, kind: ArnKind) -> Result<Self, String> {
        let wanted = kind.wanted();
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let &["arn", partition, service, region, account, resource] = parts.as_slice() else {
            return Err(wanted.to_owned());
        };
        if !matches!(partition, "aws" | "aws-cn" | "aws-us-gov") {
            return Err(format!("{wanted}: the partition must be aws, aws-cn or aws-us-gov"));
        }
        if kind == ArnKind::Role && (service, resource.split('/').next()) == ("sts", Some("assumed-role")) {
            return Err(format!("{wanted}: this is a session of a role; name the role itself"));
        }
        if service != kind.service() {
            return Err(format!("{wanted}: the service must be {}", kind.service()));
        }
        if kind == ArnKind::Role && !region.is_empty() {
            return Err(format!("{wanted}: the region must be empty, for roles have none"));
        }
        if kind != ArnKind::Role && !is_region(region) {
            return Err(format!("{wanted}: the region must look like eu-west-1"));
        }
        if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!("{wanted}: the account must have 12 digits"));
        }
        let name = resource_name(resource, kind)?;
        Ok(Self { place: [partition, region, account].map(str::to_owned), name: name.to_owned() })
    }

    /// Partition, region and account, as a message names them.
    pub(super) fn place_name(&self) -> String {
        self.place.join(" ")
    }
}

fn is_region(region: &str) -> bool {
    let plain = region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    plain
        && region.len() <= 32
        && region.starts_with(|c: char| c.is_ascii_lowercase())
        && region.ends_with(|c: char| c.is_ascii_digit())
}

fn is_role_part(part: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b);
    (1..=64).contains(&part.len()) && part.bytes().all(fits)
}

fn is_part(part: &str) -> bool {
    (1..=64).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// The name in the resource part, if it is the resource that is wanted.
fn resource_name(resource: &str, kind: ArnKind) -> Result<&str, String> {
    let wanted = kind.wanted();
    if kind == ArnKind::Alarm {
        let name = resource.strip_prefix("alarm:").filter(|name| is_alarm_name(name));
        return name.ok_or_else(|| wanted.to_owned());
    }
    let parts: Vec<&str> = resource.split('/').collect();
    match (kind, parts.as_slice()) {
        (ArnKind::ListenerRule, ["listener-rule", "app", rest @ ..])
            if rest.len() == 4 && rest.iter().all(|part| is_part(part)) =>
        {
            Ok(rest[0])
        }
        (ArnKind::TargetGroup, ["targetgroup", name, id]) if is_part(name) && is_part(id) => Ok(name),
        (ArnKind::Topic, [topic]) => topic_name(topic, wanted),
        (ArnKind::Role, ["role", path @ .., name])
            if path.len() <= 8 && path.iter().chain([name]).all(|part| is_role_part(part)) =>
        {
            Ok(name)
        }
        (ArnKind::Role, found) => Err(format!("{wanted}{}", mistaken(found, kind))),
        (ArnKind::ListenerRule | ArnKind::TargetGroup, found) => {
            Err(format!("{wanted}{}", mistaken(found, kind)))
        }
        (ArnKind::Topic | ArnKind::Alarm, _) => Err(wanted.to_owned()),
    }
}

/// Whether CloudWatch takes it as the name of an alarm.
pub(super) fn is_alarm_name(name: &str) -> bool {
    let fits = (1..=255).contains(&name.chars().count());
    fits && !name.trim().is_empty() && !name.contains(char::is_control)
}

fn topic_name<'a>(topic: &'a str, wanted: &str) -> Result<&'a str, String> {
    if topic.ends_with(".fifo") {
        return Err(format!("{wanted}: this is a FIFO topic, which pages can't go through"));
    }
    let plain = topic.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if plain && (1..=256).contains(&topic.len()) { Ok(topic) } else { Err(wanted.to_owned()) }
}

/// What somebody who gives this resource has probably mixed up.
fn mistaken(found: &[&str], kind: ArnKind) -> &'static str {
    match (kind, found) {
        (_, ["listener-rule" | "listener", "net", ..] | ["loadbalancer", "net", ..]) => {
            ": this belongs to a Network Load Balancer, which has no rules with weighted groups"
        }
        (_, ["listener-rule" | "listener", "gwy", ..] | ["loadbalancer", "gwy", ..]) => {
            ": this belongs to a Gateway Load Balancer, which has no rules with weighted groups"
        }
        (ArnKind::ListenerRule, ["listener", ..]) => {
            ": this is a listener; name the one of its rules that splits the traffic (its default rule has \
             an ARN, too)"
        }
        (_, ["loadbalancer", ..]) => ": this is a load balancer",
        (ArnKind::ListenerRule, ["targetgroup", ..]) => ": this is a target group",
        (ArnKind::TargetGroup, ["listener-rule" | "listener", ..]) => ": this is a listener or its rule",
        (ArnKind::Role, ["user", ..]) => ": this is a user",
        (ArnKind::Role, ["instance-profile", ..]) => ": this is an instance profile; name its role",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:";

    fn rule(resource: &str) -> Result<Arn, String> {
        Arn::parse(&format!("{PREFIX}{resource}"), ArnKind::ListenerRule)
    }

    fn group(text: &str) -> Result<Arn, String> {
        Arn::parse(text, ArnKind::TargetGroup)
    }

    #[test]
    fn every_partition_is_taken() {
        for (partition, region) in
            [("aws", "eu-west-1"), ("aws-cn", "cn-north-1"), ("aws-us-gov", "us-gov-west-1")]
        {
            let text =
                format!("arn:{partition}:elasticloadbalancing:{region}:123456789012:targetgroup/shop-2/0a");
            let arn = group(&text).unwrap();
            assert_eq!(arn.name, "shop-2");
            assert_eq!(arn.place, [partition, region, "123456789012"]);
        }
        assert_eq!(rule("listener-rule/app/shop/50dc6c/f2f7dc/9683b2").unwrap().name, "shop");
    }

    #[test]
    fn what_was_mixed_up_is_said() {
        for (resource, word) in [
            ("listener/app/shop/50dc6c/f2f7dc", "this is a listener"),
            ("listener-rule/net/shop/50dc6c/f2f7dc/9683b2", "Network Load Balancer"),
            ("listener/net/shop/50dc6c/f2f7dc", "Network Load Balancer"),
            ("loadbalancer/app/shop/50dc6c", "this is a load balancer"),
            ("targetgroup/shop/50dc6c", "this is a target group"),
        ] {
            let said = rule(resource).unwrap_err();
            assert!(said.contains(word), "{resource}: {said}");
        }
        let said = group(&format!("{PREFIX}listener-rule/app/a/b/c/d")).unwrap_err();
        assert!(said.contains("a listener or its rule"));
    }

    #[test]
    fn parts_that_are_missing_malformed_or_too_many_are_refused() {
        for resource in [
            "listener-rule/app/shop/50dc6c/f2f7dc",
            "listener-rule/app/shop/50dc6c/f2f7dc/9683b2/more",
            "listener-rule/app/shop//f2f7dc/9683b2",
            "listener-rule/app/shop/50dc6c/f2f7dc/9683b2 ",
            "listener-rule/app/s hop/50dc6c/f2f7dc/9683b2",
            "",
        ] {
            assert!(rule(resource).is_err(), "{resource:?} was taken");
        }
        for text in [
            "",
            "targetgroup/shop/50dc6c",
            "arn:aws-x:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop/50dc6c",
            "arn:aws:elasticache:eu-west-1:123456789012:targetgroup/shop/50dc6c",
            "arn:aws:elasticloadbalancing::123456789012:targetgroup/shop/50dc6c",
            "arn:aws:elasticloadbalancing:Europe:123456789012:targetgroup/shop/50dc6c",
            "arn:aws:elasticloadbalancing:eu-west-1:12345678901:targetgroup/shop/50dc6c",
            "arn:aws:elasticloadbalancing:eu-west-1:12345678901x:targetgroup/shop/50dc6c",
        ] {
            assert!(group(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn a_role_has_no_region_and_what_was_mixed_up_is_said() {
        let role = |text| Arn::parse(text, ArnKind::Role);
        let read = role("arn:aws-cn:iam::123456789012:role/teams/web/canary-gate").unwrap();
        assert_eq!((read.name.as_str(), read.place[2].as_str()), ("canary-gate", "123456789012"));
        for (text, word) in [
            ("arn:aws:iam:eu-west-1:123456789012:role/gate", "region must be empty"),
            ("arn:aws:sts::123456789012:assumed-role/gate/me", "a session of a role"),
            ("arn:aws:iam::123456789012:user/gate", "this is a user"),
            ("arn:aws:iam::123456789012:instance-profile/gate", "instance profile"),
            ("arn:aws:iam::12345:role/gate", "12 digits"),
            ("arn:aws:sns::123456789012:gate", "service must be iam"),
            ("arn:aws:iam::123456789012:role/", "must be the ARN of an IAM role"),
            ("arn:aws:iam::123456789012:role/ga te", "must be the ARN of an IAM role"),
            ("arn:aws:iam::123456789012:role//gate", "must be the ARN of an IAM role"),
        ] {
            let said = role(text).unwrap_err();
            assert!(said.contains(word), "{text}: {said}");
        }
    }

    #[test]
    fn a_topic_is_standard_and_lies_in_sns() {
        let topic = |text| Arn::parse(text, ArnKind::Topic);
        assert!(topic("arn:aws:sns:eu-west-1:123456789012:on_call-1").is_ok());
        assert!(topic("arn:aws:sns:eu-west-1:123456789012:on-call.fifo").unwrap_err().contains("FIFO"));
        assert!(topic("arn:aws:sns:eu-west-1:123456789012:on/call").is_err());
        assert!(topic("arn:aws:sqs:eu-west-1:123456789012:on-call").is_err());
        // A subscription, not a topic.
        assert!(topic("arn:aws:sns:eu-west-1:123456789012:on-call:6b0e71bd").is_err());
    }
}
