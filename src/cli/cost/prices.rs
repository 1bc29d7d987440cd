//! What AWS charges.

use serde_json::{Map, Value, json};

use super::Item;
use crate::cli::Failure;

/// When the list below was looked up: list prices, in dollars, the first tier.
const AS_OF: &str = "2026-03";
/// Where its columns are from.
pub(super) const REGIONS: [&str; 2] = ["us-east-1", "eu-west-1"];

/// One line of the price list.
struct Price {
    key: &'static str,
    what: &'static str,
    unit: &'static str,
    /// Dollars for so many.
    per: f64,
    dollars: [f64; REGIONS.len()],
}

const fn price(
    key: &'static str,
    what: &'static str,
    unit: &'static str,
    per: f64,
    dollars: [f64; REGIONS.len()],
) -> Price {
    Price { key, what, unit, per, dollars }
}

/// The one place where prices are.
static PRICES: [Price; 15] = [
    price("lambda_requests", "Lambda, invocations", "requests", 1e6, [0.20, 0.20]),
    price("lambda_arm64", "Lambda, time on arm64", "GB-seconds", 1.0, [0.000_013_333_4, 0.000_013_333_4]),
    price("lambda_x86_64", "Lambda, time on x86-64", "GB-seconds", 1.0, [0.000_016_666_7, 0.000_016_666_7]),
    price("scheduler_invocations", "EventBridge Scheduler", "invocations", 1e6, [1.00, 1.00]),
    price("dynamodb_reads", "DynamoDB, on demand, reads", "read units", 1e6, [0.125, 0.141]),
    price("dynamodb_writes", "DynamoDB, on demand, writes", "write units", 1e6, [0.625, 0.705]),
    price("dynamodb_storage", "DynamoDB, the decision log for 90 days", "GB-months", 1.0, [0.25, 0.283]),
    price("dynamodb_backup", "DynamoDB, point-in-time recovery of it", "GB-months", 1.0, [0.20, 0.226]),
    price("metrics_read", "CloudWatch, GetMetricData", "metrics", 1e3, [0.01, 0.01]),
    price("metrics_published", "CloudWatch, metrics published", "metric-months", 1.0, [0.30, 0.30]),
    price("alarms", "CloudWatch, alarms", "alarm-months", 1.0, [0.10, 0.10]),
    price("logs_taken", "CloudWatch Logs, taken in", "GB", 1.0, [0.50, 0.57]),
    price("logs_stored", "CloudWatch Logs, stored for a month", "GB-months", 1.0, [0.03, 0.03]),
    price("pages", "SNS, pages", "messages", 1e6, [0.50, 0.50]),
    price("emails", "SNS, pages by e-mail to one reader", "messages", 1e5, [2.00, 2.00]),
];

/// A region's prices.
#[derive(Debug, Clone)]
pub(super) struct PriceList {
    /// The region's name.
    pub(super) region: String,
    /// When they were looked up.
    pub(super) as_of: String,
    /// In the order of the list.
    dollars: Vec<f64>,
}

impl PriceList {
    /// The list's own.
    pub(super) fn of(region: &str) -> Self {
        let column = REGIONS.iter().position(|known| *known == region).unwrap_or(0);
        Self {
            region: region.to_owned(),
            as_of: AS_OF.to_owned(),
            dollars: PRICES.iter().map(|price| price.dollars[column]).collect(),
        }
    }

    /// Takes the prices of a file, and tells all that is wrong with them.
    pub(super) fn replace(&mut self, name: &str, file: &Value) -> Result<(), Failure> {
        let Some(file) = file.as_object() else {
            return Err(Failure::Data(format!("{name}: prices are a mapping of names and dollars")));
        };
        let mut problems = Vec::new();
        for (key, value) in file {
            let at = PRICES.iter().position(|price| price.key == key);
            match (key.as_str(), at, value.as_f64(), value.as_str()) {
                ("region", _, _, Some(text)) => text.clone_into(&mut self.region),
                ("as_of", _, _, Some(text)) => text.clone_into(&mut self.as_of),
                (_, Some(at), Some(dollars), _) if dollars >= 0.0 => self.dollars[at] = dollars,
                (_, Some(_), _, _) => problems
                    .push(format!("{key} is {value}, and must be a number of dollars, no less than 0")),
                ("region" | "as_of", ..) => problems.push(format!("{key} is {value}, and must be a text")),
                _ => problems.push(format!("{key} is no price")),
            }
        }
        if problems.is_empty() {
            return Ok(());
        }
        let known: Vec<&str> = PRICES.iter().map(|price| price.key).collect();
        Err(Failure::Data(format!("{name}: {}; prices are {}", problems.join("; "), known.join(", "))))
    }

    /// Puts a price to each of several counts.
    pub(super) fn bill(&self, counts: &[(&str, f64)]) -> Vec<Item> {
        let item = |(key, count): &(&str, f64)| {
            let at = PRICES.iter().position(|price| price.key == *key).expect("what is counted has a price");
            let Price { key, what, unit, per, .. } = PRICES[at];
            Item { price: key, what, count: *count, unit, dollars: count / per * self.dollars[at] }
        };
        counts.iter().map(item).collect()
    }

    /// As a file of prices.
    pub(super) fn json(&self) -> Value {
        let mut list = Map::new();
        list.insert("region".to_owned(), json!(self.region));
        list.insert("as_of".to_owned(), json!(self.as_of));
        for (price, dollars) in PRICES.iter().zip(&self.dollars) {
            list.insert(price.key.to_owned(), json!(dollars));
        }
        Value::Object(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_for_so_many() {
        let list = PriceList::of("us-east-1");
        let [item] = &list.bill(&[("metrics_read", 720.0)])[..] else { panic!("one item") };
        assert!((item.dollars - 0.0072).abs() < 1e-12, "{item:?}");
        assert!(PriceList::of("eu-west-1").bill(&[("logs_taken", 1.0)])[0].dollars > 0.5);
    }

    #[test]
    fn a_file_replaces_what_it_has_and_is_told_all_that_is_wrong() {
        let mut list = PriceList::of("us-east-1");
        list.replace("p", &json!({ "alarms": 7, "as_of": "2030-01", "region": "mars-1" })).unwrap();
        let json = list.json();
        assert_eq!(
            (&json["alarms"], &json["pages"], &json["region"]),
            (&json!(7.0), &json!(0.5), &json!("mars-1"))
        );
        list.replace("p", &json).unwrap();
        let wrong = json!({ "alarms": -1, "pages": "two", "coffee": 3, "region": 4 });
        let Err(Failure::Data(told)) = list.replace("p", &wrong) else { panic!("taken") };
        for part in [
            "alarms is -1",
            "pages is \"two\"",
            "coffee is no price",
            "region is 4",
            "prices are lambda_requests",
        ] {
            assert!(told.contains(part), "{part} is not in {told}");
        }
    }
}
