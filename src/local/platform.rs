//! A cloud of which some parts are replaced.

use std::future::Future;

use jiff::Timestamp;

use super::pages::{PATIENCE, Pages, hand_to, write};
use super::store::FileStore;
use crate::analysis::window::Arm;
use crate::ports::{
    Deployment, Deployments, Failure, Home, Message, MetricRead, MetricRequest, MetricSource, Pager,
    Platform, RecordStore, Running, Split, TrafficRouter,
};
use crate::rollout::effect::Write;
use crate::rollout::gate::{Guard, Owner, Told, Waiting};
use crate::rollout::plan::Targets;
use crate::rollout::record::{Audit, LogEntry, Record};

/// A cloud, with what is on this machine in place of its store and its pager.
#[derive(Debug)]
pub struct Local<C> {
    cloud: C,
    store: Option<FileStore>,
    pages: Pages,
}

impl<C: Platform> Local<C> {
    /// Nothing is opened or sent. Without a store, the cloud's is used.
    #[must_use]
    pub fn new(cloud: C, store: Option<FileStore>, pages: Pages) -> Self {
        Self { cloud, store, pages }
    }
}

impl<C: Platform> MetricSource for Local<C> {
    fn read_metrics(
        &self,
        requests: &[MetricRequest],
    ) -> impl Future<Output = Vec<Result<MetricRead, Failure>>> + Send {
        self.cloud.read_metrics(requests)
    }
}

impl<C: Platform> TrafficRouter for Local<C> {
    type Snapshot = C::Snapshot;

    fn read_splits(
        &self,
        targets: &[Targets],
    ) -> impl Future<Output = Vec<Result<(Split, Self::Snapshot), Failure>>> + Send {
        self.cloud.read_splits(targets)
    }

    fn write_split(
        &self,
        targets: &Targets,
        snapshot: &Self::Snapshot,
        write: Write,
    ) -> impl Future<Output = Result<Split, Failure>> + Send {
        self.cloud.write_split(targets, snapshot, write)
    }

    fn healthy_targets(
        &self,
        targets: &Targets,
        arm: Arm,
    ) -> impl Future<Output = Result<u32, Failure>> + Send {
        self.cloud.healthy_targets(targets, arm)
    }
}

/// The file's answer if there is a file, else the cloud's.
macro_rules! kept {
    ($self:ident.$method:ident($($argument:ident),*)) => {
        match &$self.store {
            Some(file) => file.$method($($argument),*).await,
            None => $self.cloud.$method($($argument),*).await,
        }
    };
}

impl<C: Platform> RecordStore for Local<C> {
    async fn running(&self) -> Result<Running, Failure> {
        kept!(self.running())
    }

    async fn get(&self, rollout: &str) -> Result<Option<Record>, Failure> {
        kept!(self.get(rollout))
    }

    async fn list(&self) -> Result<Vec<Record>, Failure> {
        kept!(self.list())
    }

    async fn create(&self, record: &Record) -> Result<Record, Failure> {
        kept!(self.create(record))
    }

    async fn put(&self, record: &Record) -> Result<Record, Failure> {
        kept!(self.put(record))
    }

    async fn freeze(&self) -> Result<Option<Audit>, Failure> {
        kept!(self.freeze())
    }

    async fn set_freeze(&self, freeze: Option<&Audit>) -> Result<(), Failure> {
        kept!(self.set_freeze(freeze))
    }

    async fn guard(&self, of: &str) -> Result<Option<Guard>, Failure> {
        kept!(self.guard(of))
    }

    async fn guards(&self) -> Result<Vec<Guard>, Failure> {
        kept!(self.guards())
    }

    async fn set_guard(&self, of: &str, guard: Option<&Guard>) -> Result<(), Failure> {
        kept!(self.set_guard(of, guard))
    }

    async fn take_once(&self, key: &str, until: Timestamp) -> Result<bool, Failure> {
        kept!(self.take_once(key, until))
    }

    async fn log(&self, entry: &LogEntry) -> Result<(), Failure> {
        kept!(self.log(entry))
    }

    async fn history(&self, rollout: &str, limit: u32) -> Result<Vec<LogEntry>, Failure> {
        kept!(self.history(rollout, limit))
    }
}

impl<C: Platform> Pager for Local<C> {
    fn home(&self) -> Home {
        self.cloud.home()
    }

    async fn page(&self, message: &Message) -> Result<(), Failure> {
        match &self.pages {
            Pages::Cloud => self.cloud.page(message).await,
            Pages::Stderr => write(message),
            Pages::Command(command) => hand_to(command, message, PATIENCE).await,
        }
    }
}

impl<C: Platform> Deployments for Local<C> {
    fn deployment(&self, owner: &Owner) -> impl Future<Output = Result<Deployment, Failure>> + Send {
        self.cloud.deployment(owner)
    }

    fn find_targets(&self, owner: &Owner) -> impl Future<Output = Result<Targets, Failure>> + Send {
        self.cloud.find_targets(owner)
    }

    fn tell(&self, waiting: &Waiting, told: &Told) -> impl Future<Output = Result<(), Failure>> + Send {
        self.cloud.tell(waiting, told)
    }

    fn stop(&self, owner: &Owner) -> impl Future<Output = Result<(), Failure>> + Send {
        self.cloud.stop(owner)
    }
}
