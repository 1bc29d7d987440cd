//! Deployments of other systems, in memory.

use crate::ports::Deployment;
use crate::rollout::gate::{Owner, Told, Waiting};
use crate::rollout::plan::Targets;

/// A deployment, what was told to those who wait in it, and whether it was stopped.
#[derive(Debug, Clone, Default)]
pub struct SimDeployment {
    /// As it is now.
    pub state: Deployment,
    /// Where its traffic is split, if that can be found out.
    pub targets: Option<Targets>,
    /// Who was told what, in order; the first answer to somebody counts.
    pub told: Vec<(Waiting, Told)>,
    /// Every answer that came, the first ones and those that changed nothing.
    pub heard: Vec<(Waiting, bool)>,
    /// It was told to stop and to go back.
    pub stopped: bool,
    /// It ends in this way just before it can be stopped.
    pub ends_at_stop: Option<String>,
}

impl SimDeployment {
    /// Takes an answer, as often as it comes. Whoever is told to go back does.
    pub(super) fn take(&mut self, waiting: &Waiting, told: &Told) {
        self.heard.push((waiting.clone(), told.pass));
        if self.told.iter().all(|(other, _)| other != waiting) {
            self.told.push((waiting.clone(), told.clone()));
            match waiting {
                Waiting::CodeDeployHook { .. } if !told.pass => self.undone("Failed"),
                Waiting::EcsPause { .. } if !told.pass => self.state.is_going_back = true,
                _ => {}
            }
        }
        if let Waiting::EcsPause { hook, .. } = waiting {
            self.state.pauses.retain(|pause| pause != hook);
        }
    }

    /// ECS goes back under the same name; CodeDeploy ends the deployment and begins another one.
    pub(super) fn stop(&mut self, owner: &Owner) {
        self.stopped = true;
        match owner {
            Owner::Ecs { .. } => self.state.is_going_back = true,
            Owner::CodeDeploy { .. } => self.undone("Stopped"),
        }
    }

    fn undone(&mut self, how: &str) {
        self.state.ended = Some(how.to_owned());
        self.state.is_undone = true;
    }
}

/// Under which name a deployment is kept.
pub(super) fn id(owner: &Owner) -> &str {
    match owner {
        Owner::CodeDeploy { deployment } | Owner::Ecs { deployment } => deployment,
    }
}

/// The deployment in which somebody waits; what waits elsewhere is kept under its own name.
pub(super) fn id_of(waiting: &Waiting) -> &str {
    match waiting {
        Waiting::CodeDeployHook { deployment, .. } | Waiting::EcsPause { deployment, .. } => deployment,
        Waiting::Github { callback_url, .. } => callback_url,
    }
}
