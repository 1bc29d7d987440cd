//! Looks at the world past the function: requests made by hand, answers taken apart here.

use roxmltree::{Document, Node};
use serde_json::{Value, json};

use crate::endpoint::Endpoint;
use crate::gate::TABLE;
use crate::world::{ROLLOUT, World};

/// One call of AWS, from the endpoint's journal.
#[derive(Debug)]
pub(crate) struct Call {
    /// Such as `elbv2 ModifyRule`.
    pub(crate) name: String,
    pub(crate) params: Value,
    pub(crate) error: Option<String>,
    /// The role whose credentials it was signed with.
    pub(crate) role: Option<String>,
}

impl Call {
    /// All calls since the journal was last emptied.
    pub(crate) fn read(endpoint: &Endpoint) -> Vec<Self> {
        let entries = endpoint.get("journal");
        let calls = entries.as_array().expect("a list").iter().map(|entry| Self {
            name: format!(
                "{} {}",
                entry["service"].as_str().unwrap_or("?"),
                entry["operation"].as_str().unwrap_or("?")
            ),
            params: entry["params"].clone(),
            error: entry["error"].as_str().map(str::to_owned),
            role: entry["role"].as_str().map(str::to_owned),
        });
        calls.collect()
    }
}

/// How many of the calls are of this name, or of this service.
pub(crate) fn count(calls: &[Call], name: &str) -> usize {
    calls.iter().filter(|call| call.name == name || call.name.split(' ').next() == Some(name)).count()
}

/// The names of the calls, in order.
pub(crate) fn names(calls: &[Call]) -> Vec<&str> {
    calls.iter().map(|call| call.name.as_str()).collect()
}

/// Everything but letters and digits, escaped.
pub(crate) fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// The fields by which a value goes over the query protocol, each with a leading `&`.
fn fields(name: &str, value: &Value) -> String {
    match value {
        Value::Object(members) => {
            members.iter().map(|(member, value)| fields(&format!("{name}.{member}"), value)).collect()
        }
        Value::Array(items) => {
            (1..).zip(items).map(|(at, item)| fields(&format!("{name}.member.{at}"), item)).collect()
        }
        Value::String(text) => format!("&{name}={}", percent_encoded(text)),
        other => format!("&{name}={other}"),
    }
}

/// A forward action to these groups of the world.
pub(crate) fn forward_to(world: &World, order: u32, groups: &[(&str, u32)]) -> Value {
    let tuple =
        |(name, weight): &(&str, u32)| json!({ "TargetGroupArn": world.group(name), "Weight": weight });
    let groups: Vec<Value> = groups.iter().map(tuple).collect();
    json!({ "Type": "forward", "Order": order, "ForwardConfig": { "TargetGroups": groups } })
}

/// The actions of a rule, as the load balancer tells them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Byte by byte.
    pub(crate) xml: String,
    /// Each forwarded group with its weight.
    groups: Vec<(String, u32)>,
    /// Group stickiness: on, and for how long.
    pub(crate) sticky: (bool, Option<u32>),
}

fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    node.children().find(|child| child.tag_name().name() == name)
}

fn below<'a, 'i: 'a>(node: Node<'a, 'i>, name: &'a str) -> impl Iterator<Item = Node<'a, 'i>> + 'a {
    node.descendants().filter(move |node| node.tag_name().name() == name)
}

impl Rule {
    fn parse(answer: &str) -> Self {
        let document = Document::parse(answer).expect("XML");
        let actions = below(document.root(), "Actions").next().expect("a rule has actions");
        let text = |tuple, name| child(tuple, name).and_then(|node| node.text());
        let group =
            |tuple| Some((text(tuple, "TargetGroupArn")?.to_owned(), text(tuple, "Weight")?.parse().ok()?));
        let tuples = below(actions, "TargetGroups").flat_map(|groups| groups.children());
        let sticky = below(actions, "TargetGroupStickinessConfig").next();
        let setting = |name| text(sticky?, name);
        let place = answer.find("<Actions>").zip(answer.find("</Actions>")).expect("a rule has actions");
        Self {
            xml: answer[place.0..place.1].to_owned(),
            groups: tuples.filter_map(group).collect(),
            sticky: (
                setting("Enabled") == Some("true"),
                setting("DurationSeconds").and_then(|s| s.parse().ok()),
            ),
        }
    }

    /// The weight of a group; 0 where the rule does not name it.
    pub(crate) fn weight(&self, arn: &str) -> u32 {
        self.groups.iter().find(|(group, _)| group == arn).map_or(0, |(_, weight)| *weight)
    }

    /// Weights of stable and canary.
    pub(crate) fn weights(&self, world: &World) -> (u32, u32) {
        (self.weight(world.group("stable")), self.weight(world.group("canary")))
    }

    /// Percent of the pair's traffic that the canary gets.
    pub(crate) fn share(&self, world: &World) -> f64 {
        let (stable, canary) = self.weights(world);
        100.0 * f64::from(canary) / f64::from((stable + canary).max(1))
    }

    /// The text with our two weights blotted out: what may never change.
    pub(crate) fn but_our_weights(&self, world: &World) -> String {
        let mut text = self.xml.clone();
        for group in ["stable", "canary"] {
            let arn =
                text.find(&format!("{}</TargetGroupArn>", world.group(group))).expect("the rule names it");
            let start = arn + text[arn..].find("<Weight>").expect("a weight") + "<Weight>".len();
            let end = start + text[start..].find('<').expect("its end");
            text.replace_range(start..end, "#");
        }
        text
    }
}

/// A page as a subscriber gets it.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) subject: String,
    /// What a reader of e-mail gets: the text for everybody who has no form of their own.
    pub(crate) body: String,
    /// What the queue got.
    pub(crate) message: String,
    /// All forms by their protocol; `Null` if the page went out as plain text.
    pub(crate) forms: Value,
    /// The attribute `event`.
    pub(crate) event: String,
    /// The attribute `severity`.
    pub(crate) severity: String,
    /// All attributes.
    pub(crate) attributes: Value,
}

/// A rollout's item in the table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    pub(crate) version: u64,
    /// `running` or `ended`: what ticks look for. A drained one runs until nobody is served by its canary.
    pub(crate) state: String,
    pub(crate) body: Value,
}

impl Record {
    /// The phase's word.
    pub(crate) fn phase(&self) -> &str {
        self.body["phase"].as_str().expect("a phase")
    }
}

/// The JSON text in an item's `body`.
fn body(item: &Value) -> Value {
    serde_json::from_str(item["body"]["S"].as_str().expect("a body")).expect("JSON")
}

impl World {
    /// The rule that rollouts drive.
    pub(crate) fn rule(&self) -> Rule {
        self.rule_of(self.rule_arn())
    }

    /// Any rule.
    pub(crate) fn rule_of(&self, arn: &str) -> Rule {
        let arn = percent_encoded(arn);
        Rule::parse(&self.query(&format!("Action=DescribeRules&Version=2015-12-01&RuleArns.member.1={arn}")))
    }

    /// A call of the load balancer's API.
    pub(crate) fn query(&self, form: &str) -> String {
        let form_type = ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8");
        // As somebody of the account that the load balancer is in.
        let account = ("x-moto-account-id", self.rule_arn().split(':').nth(4).expect("an account"));
        self.endpoint.aws("elasticloadbalancing", &[form_type, account], form)
    }

    /// A call of the load balancer's API with parameters as its documentation has them.
    pub(crate) fn elb(&self, action: &str, parameters: &Value) -> String {
        let members = parameters.as_object().expect("an object of parameters");
        let fields: String = members.iter().map(|(name, value)| fields(name, value)).collect();
        self.query(&format!("Action={action}&Version=2015-12-01{fields}"))
    }

    /// Somebody else writes weights.
    pub(crate) fn foreign_weights(&self, stable: u32, canary: u32) {
        self.foreign_groups(&[("stable", stable), ("canary", canary)]);
    }

    /// Somebody else says which groups the rule forwards to.
    pub(crate) fn foreign_groups(&self, groups: &[(&str, u32)]) {
        let actions = json!([forward_to(self, 1, groups)]);
        self.elb("ModifyRule", &json!({ "RuleArn": self.rule_arn(), "Actions": actions }));
    }

    /// Somebody deletes a group that no rule names any more.
    pub(crate) fn delete_group(&self, group: &str) {
        self.elb("DeleteTargetGroup", &json!({ "TargetGroupArn": self.group(group) }));
    }

    fn dynamodb(&self, operation: &str, body: &Value) -> Value {
        let target = format!("DynamoDB_20120810.{operation}");
        let headers = [("X-Amz-Target", target.as_str()), ("Content-Type", "application/x-amz-json-1.0")];
        let text = self.endpoint.aws("dynamodb", &headers, &body.to_string());
        serde_json::from_str(&text).expect("JSON")
    }

    /// The rollout's record.
    pub(crate) fn record(&self) -> Record {
        self.record_of(ROLLOUT).expect("a record")
    }

    /// A rollout's record, if there is one.
    pub(crate) fn record_of(&self, rollout: &str) -> Option<Record> {
        let key = json!({ "pk": { "S": format!("rollout#{rollout}") }, "sk": { "S": "record" } });
        let item = &self.dynamodb("GetItem", &json!({ "TableName": TABLE, "Key": key }))["Item"];
        item.is_object().then(|| Record {
            version: item["version"]["N"].as_str().expect("a version").parse().expect("a number"),
            state: item["state"]["S"].as_str().expect("a state").to_owned(),
            body: body(item),
        })
    }

    /// The rollout's decision log, oldest first.
    pub(crate) fn log(&self) -> Vec<Value> {
        self.log_of(ROLLOUT)
    }

    /// A rollout's decision log, oldest first; rows that lie in items of their own are left out.
    pub(crate) fn log_of(&self, rollout: &str) -> Vec<Value> {
        let mut request = json!({
            "TableName": TABLE,
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": { ":pk": { "S": format!("rollout#{rollout}") } },
        });
        let mut entries = Vec::new();
        loop {
            let page = self.dynamodb("Query", &request);
            let items = page["Items"].as_array().expect("items");
            let is_entry = |item: &&Value| {
                let key = item["sk"]["S"].as_str().expect("a key");
                key.starts_with("log#") && !key.contains("#part")
            };
            entries.extend(items.iter().filter(is_entry).map(body));
            match &page["LastEvaluatedKey"] {
                Value::Null => break,
                key => request["ExclusiveStartKey"] = key.clone(),
            }
        }
        entries
    }

    /// Every page that went out, oldest first.
    pub(crate) fn pages(&self) -> Vec<Page> {
        let messages = self.endpoint.get(&format!("messages?queue={}", self.queue()));
        let topic = percent_encoded(self.scene["topic_arn"].as_str().expect("a topic"));
        let published = self.endpoint.get(&format!("published?topic={topic}"));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let page = |(message, published): (&Value, &Value)| {
            let attributes = &message["MessageAttributes"];
            let (got, sent) = (text(&message["Message"]), text(published));
            let forms = if got == sent { Value::Null } else { serde_json::from_str(&sent).expect("JSON") };
            Page {
                subject: text(&message["Subject"]),
                body: forms["default"].as_str().map_or(sent, str::to_owned),
                message: got,
                forms,
                event: text(&attributes["event"]["Value"]),
                severity: text(&attributes["severity"]["Value"]),
                attributes: attributes.clone(),
            }
        };
        let (messages, published) =
            (messages.as_array().expect("a list"), published.as_array().expect("a list"));
        assert_eq!(messages.len(), published.len(), "the queue gets what is published");
        messages.iter().zip(published).map(page).collect()
    }

    /// What the pages were about, oldest first.
    pub(crate) fn paged(&self) -> Vec<String> {
        self.pages().into_iter().map(|page| page.event).collect()
    }
}
