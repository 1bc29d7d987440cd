//! Lifecycle hooks of deployments that other systems carry out.

use serde_json::{Map, Value};

use super::fields::Fields;
use super::{EventError, Fault};
use crate::config::Problem;
use crate::units::Share;

/// CodeDeploy asks whether a deployment may go on. It says no more than this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeDeployHook {
    /// `d-...`.
    pub deployment: String,
    /// To be given back with the answer.
    pub execution: String,
}

/// ECS asks whether a service deployment may go on.
#[derive(Debug, Clone, PartialEq)]
pub struct EcsHook {
    /// The service deployment's ARN.
    pub deployment: String,
    /// The stage, in ECS's word.
    pub stage: String,
    /// The part of the production traffic that the new revision gets, where the event says so.
    pub share: Option<Share>,
    /// What the service's configuration says to this hook, or what we said in the last answer.
    pub details: Map<String, Value>,
}

/// An ECS service deployment waits at a pause hook: EventBridge says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EcsPaused {
    /// The service deployment's ARN.
    pub deployment: String,
}

/// Identifiers of AWS are far shorter.
const ID_MAX: usize = 2_048;

pub(super) fn is_code_deploy(map: &Map<String, Value>) -> bool {
    map.contains_key("LifecycleEventHookExecutionId")
}

pub(super) fn code_deploy(map: &Map<String, Value>) -> Result<CodeDeployHook, EventError> {
    let mut fields = Fields::of_aws(map);
    let deployment = fields.text("DeploymentId", ID_MAX);
    let execution = fields.text("LifecycleEventHookExecutionId", ID_MAX);
    let hook = deployment.zip(execution);
    fields
        .done(Fault::Unreadable, hook.map(|(deployment, execution)| CodeDeployHook { deployment, execution }))
}

pub(super) fn is_ecs(map: &Map<String, Value>) -> bool {
    map.contains_key("lifecycleStage")
}

pub(super) fn ecs(map: &Map<String, Value>) -> Result<EcsHook, EventError> {
    let mut fields = Fields::of_aws(map);
    let (deployment, stage) = (fields.text("resourceArn", ID_MAX), fields.text("lifecycleStage", ID_MAX));
    let details = match map.get("hookDetails") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(details)) => details.clone(),
        // CloudFormation has it as text.
        Some(other) => other.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| {
            fields.add(Problem::new("hookDetails", other, "must be a JSON object"));
            Map::new()
        }),
    };
    // Older descriptions have the inner members at the top.
    let execution = map.get("executionDetails").and_then(Value::as_object).unwrap_or(map);
    let share = share(execution);
    let hook = deployment.zip(stage).map(|(deployment, stage)| EcsHook { deployment, stage, share, details });
    fields.done(Fault::Unreadable, hook)
}

/// The word of EventBridge for it.
const HOOK_CHANGED: &str = "ECS Hook State Change";
/// How the ARN of a service deployment is told from others.
const SERVICE_DEPLOYMENT: &str = ":service-deployment/";

pub(super) fn is_ecs_change(map: &Map<String, Value>) -> bool {
    let is = |key: &str, word: &str| map.get(key).and_then(Value::as_str) == Some(word);
    is("source", "aws.ecs") && is("detail-type", HOOK_CHANGED)
}

/// Every change of a hook, not only that it waits, makes us look at its deployment. Its ARN stands among the resources,
/// and in the detail.
pub(super) fn ecs_change(map: &Map<String, Value>) -> Result<EcsPaused, EventError> {
    let mut fields = Fields::of_aws(map);
    let resources = map.get("resources").and_then(Value::as_array).into_iter().flatten();
    let detail = map.get("detail").and_then(Value::as_object).into_iter().flat_map(Map::values);
    let texts = resources.chain(detail).filter_map(Value::as_str);
    let found = texts.filter(|text| text.len() <= ID_MAX).find(|text| text.contains(SERVICE_DEPLOYMENT));
    if found.is_none() {
        let rule = "must name the service deployment's ARN, here or in the detail".to_owned();
        fields.add(Problem::of_text("resources", "", rule));
    }
    fields.done(Fault::Unreadable, found.map(|deployment| EcsPaused { deployment: deployment.to_owned() }))
}

fn share(execution: &Map<String, Value>) -> Option<Share> {
    let target = execution.get("targetServiceRevisionArn")?.as_str()?;
    let weights = execution.get("productionTrafficWeights")?.as_object()?;
    Share::from_percent(weights.get(target)?.as_f64()?).ok()
}
