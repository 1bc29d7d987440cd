//! What stands in for AWS on one machine: records in a file instead of DynamoDB, pages to a command or to standard
//! error instead of SNS. Metrics, weights and deployments stay with the cloud that [`Local`] is put before.

mod pages;
mod platform;
mod store;

pub use pages::Pages;
pub use platform::Local;
pub use store::{FileStore, NotOpened};
