//! HTTP callers: one router, and one file for each caller's wire format.
//!
//! The order is: who is it, is there such a path, does it know the method, may the caller do that. So whoever
//! is not known learns nothing of what exists.

mod api;
mod asked;
mod auth;
mod flagger;
mod github;
mod kayenta;
mod loadtester;
mod rate;
pub(super) mod request;
mod run_id;
mod spinnaker;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::event::{EventError, HttpRequest, Invocation};
use crate::ports::Platform;
use request::{Request, Response};

pub(super) use asked::has_ended_long_ago;
pub use auth::Doors;

/// Whose wire format a path speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaks {
    /// The one path that is open to everybody.
    Health,
    Api,
    Flagger,
    LoadTester,
    Kayenta,
    Spinnaker,
    /// Signs its requests in its own way.
    GitHub,
}

/// A path with its methods; of the path, `{...}` stands for any one part.
struct Route {
    path: &'static str,
    methods: &'static [&'static str],
    speaks: Speaks,
    /// Parts of the path before those that the caller's file looks at.
    prefix: usize,
}

const fn route(path: &'static str, methods: &'static [&'static str], speaks: Speaks, prefix: usize) -> Route {
    Route { path, methods, speaks, prefix }
}

/// All paths there are. `infra/openapi.json` describes each, and no other.
const ROUTES: [Route; 32] = [
    route("/healthz", &["GET"], Speaks::Health, 0),
    route("/v1/verdict", &["GET"], Speaks::Api, 1),
    route("/v1/rollouts", &["GET", "POST"], Speaks::Api, 1),
    route("/v1/rollouts/{name}", &["GET"], Speaks::Api, 1),
    route("/v1/rollouts/{name}/history", &["GET"], Speaks::Api, 1),
    route("/v1/rollouts/{name}/promote", &["POST"], Speaks::Api, 1),
    route("/v1/rollouts/{name}/pause", &["POST"], Speaks::Api, 1),
    route("/v1/rollouts/{name}/resume", &["POST"], Speaks::Api, 1),
    route("/v1/rollouts/{name}/abort", &["POST"], Speaks::Api, 1),
    route("/v1/freeze", &["POST"], Speaks::Api, 1),
    route("/v1/thaw", &["POST"], Speaks::Api, 1),
    route("/v1/openapi.json", &["GET"], Speaks::Api, 1),
    route("/flagger/v1/{hook}", &["POST"], Speaks::Flagger, 2),
    route("/gate/check", &["POST"], Speaks::LoadTester, 0),
    route("/gate/open", &["POST"], Speaks::LoadTester, 0),
    route("/gate/close", &["POST"], Speaks::LoadTester, 0),
    route("/gate/approve", &["POST"], Speaks::LoadTester, 0),
    route("/gate/halt", &["POST"], Speaks::LoadTester, 0),
    route("/rollback/check", &["POST"], Speaks::LoadTester, 0),
    route("/rollback/open", &["POST"], Speaks::LoadTester, 0),
    route("/rollback/close", &["POST"], Speaks::LoadTester, 0),
    route("/canaryConfig", &["GET"], Speaks::Kayenta, 0),
    route("/credentials", &["GET"], Speaks::Kayenta, 0),
    route("/canary/{id}", &["GET", "POST"], Speaks::Kayenta, 0),
    route("/pipelines/{id}/cancel", &["PUT"], Speaks::Kayenta, 0),
    route("/kayenta/canaryConfig", &["GET"], Speaks::Kayenta, 1),
    route("/kayenta/credentials", &["GET"], Speaks::Kayenta, 1),
    route("/kayenta/canary/{id}", &["GET", "POST"], Speaks::Kayenta, 1),
    route("/kayenta/pipelines/{id}/cancel", &["PUT"], Speaks::Kayenta, 1),
    route("/spinnaker/v1/start", &["POST"], Speaks::Spinnaker, 2),
    route("/spinnaker/v1/run/{id}", &["GET", "POST", "DELETE"], Speaks::Spinnaker, 2),
    route("/github/v1/webhook", &["POST"], Speaks::GitHub, 2),
];

impl Route {
    fn matches(&self, parts: &[&str]) -> bool {
        let own = self.path.split('/').skip(1);
        let same = |(own, part): (&str, &&str)| own == *part || (own.starts_with('{') && !part.is_empty());
        own.clone().count() == parts.len() && own.zip(parts).all(same)
    }

    fn allows(&self, method: &str) -> bool {
        self.methods.contains(&method) || (method == "HEAD" && self.methods.contains(&"GET"))
    }

    fn allowed(&self) -> String {
        let head = self.methods.contains(&"GET").then_some("HEAD");
        self.methods.iter().copied().chain(head).collect::<Vec<_>>().join(", ")
    }
}

/// Answers a request, in the words of payload format 2.0.
pub(super) async fn http<P: Platform>(
    platform: &P,
    doors: &Doors,
    http: &HttpRequest,
    now: Timestamp,
) -> Value {
    let response = respond(platform, doors, http, now).await;
    tracing::debug!(method = http.method, status = response.status, "request answered");
    answer(&response, http.method == "HEAD")
}

/// The answer to a request that can't be read. It says what is wrong and quotes nothing.
pub(super) fn unreadable(error: &EventError) -> Value {
    tracing::warn!(%error, "request refused");
    let status = error.http_status().unwrap_or(400);
    let problem = error.problems().first().map_or_else(String::new, ToString::to_string);
    answer(&Response::error(status, &problem), false)
}

/// The answer to an HTTP request that was given up; `None` for other events, which fail.
pub(super) fn too_slow(event: &Value) -> Option<Value> {
    Invocation::is_http(event).then(|| answer(&unavailable("it took too long"), false))
}

/// A failure that may be over soon.
fn unavailable(why: &str) -> Response {
    // The next tick's time: verdicts don't change before it.
    Response::error(503, why).with("retry-after", "60".to_owned())
}

async fn respond<P: Platform>(platform: &P, doors: &Doors, http: &HttpRequest, now: Timestamp) -> Response {
    let parts: Vec<&str> = http.path.split('/').skip(1).collect();
    let route = ROUTES.iter().find(|route| route.matches(&parts));
    let open = route.filter(|route| route.allows(&http.method)).map(|route| route.speaks);
    if open == Some(Speaks::Health) {
        return Response::text(200, "ok");
    }
    if open == Some(Speaks::GitHub) {
        return webhook(platform, doors, http, now).await;
    }
    let admitted = match doors.admit(http, now) {
        Ok(admitted) => admitted,
        Err(refusal) => return refusal.response(),
    };
    let Some(route) = route else { return Response::error(404, "not found") };
    if !route.allows(&http.method) {
        return Response::error(405, "method not allowed").with("allow", route.allowed());
    }
    if let Some((key, until)) = admitted.counts_once(now)
        && let Some(refused) = came_before(platform, doors, http, (&key, until), now).await
    {
        return refused;
    }
    // What is answered to HEAD is what GET would say, without the body.
    let as_get = (http.method == "HEAD").then(|| HttpRequest { method: "GET".to_owned(), ..http.clone() });
    let rest = parts[route.prefix..].iter().map(|part| (*part).to_owned()).collect();
    let request = Request { http: as_get.as_ref().unwrap_or(http), rest, caller: admitted.caller };
    match route.speaks {
        Speaks::Api | Speaks::Health | Speaks::GitHub => api::answer(platform, &request, now).await,
        Speaks::Flagger => flagger::answer(platform, &request, now).await,
        Speaks::LoadTester => loadtester::answer(platform, &request, now).await,
        Speaks::Kayenta => kayenta::answer(platform, &request, now).await,
        Speaks::Spinnaker => spinnaker::answer(platform, &request, now).await,
    }
}

/// A change that a caller has signed counts once, whichever process of the function it comes to.
async fn came_before<P: Platform>(
    platform: &P,
    doors: &Doors,
    http: &HttpRequest,
    (key, until): (&str, Timestamp),
    now: Timestamp,
) -> Option<Response> {
    match platform.take_once(key, until).await {
        Ok(true) => None,
        Ok(false) => Some(doors.refuse(http, "signed and sent before", now).response()),
        Err(failure) => {
            tracing::error!(%failure, "whether a signed request came before was not read");
            Some(unavailable("whether this request came before could not be read: sign and send it again"))
        }
    }
}

/// GitHub's webhook has a signature of its own; one that is wrong counts as a failure at the door. Where no App is
/// configured nobody is GitHub.
async fn webhook<P: Platform>(platform: &P, doors: &Doors, http: &HttpRequest, now: Timestamp) -> Response {
    let (agreed, caller) = match doors.admit_github(http, now) {
        Ok(admitted) => admitted,
        Err(refusal) => return refusal.response(),
    };
    let request = Request { http, rest: Vec::new(), caller };
    github::answer(platform, &request, agreed, now).await
}

/// A response as a function URL takes it.
fn answer(response: &Response, without_body: bool) -> Value {
    let mut headers = Map::new();
    headers.insert("content-type".to_owned(), response.content_type.into());
    headers.insert("cache-control".to_owned(), "no-store".into());
    headers.insert("x-content-type-options".to_owned(), "nosniff".into());
    for (name, value) in &response.headers {
        headers.insert((*name).to_owned(), value.clone().into());
    }
    json!({
        "statusCode": response.status,
        "headers": headers,
        "body": if without_body { "" } else { response.body.as_str() },
        "isBase64Encoded": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_document_and_the_router_have_the_same_paths_and_methods() {
        let document: Value = serde_json::from_str(api::OPENAPI).unwrap();
        let methods = ["get", "post", "put", "delete", "patch", "head", "options", "trace"];
        let described: BTreeSet<String> = document["paths"].as_object().unwrap().iter().fold(
            BTreeSet::new(),
            |mut described, (path, item)| {
                for method in methods.iter().filter(|method| item.get(**method).is_some()) {
                    described.insert(format!("{} {path}", method.to_uppercase()));
                }
                described
            },
        );
        let routed: BTreeSet<String> = ROUTES
            .iter()
            .flat_map(|route| route.methods.iter().map(|method| format!("{method} {}", route.path)))
            .collect();
        assert_eq!(described, routed);
    }

    #[test]
    fn every_path_leads_to_its_own_route() {
        for route in &ROUTES {
            let path = route.path.replace("{name}", "a").replace("{id}", "b").replace("{hook}", "c");
            let parts: Vec<&str> = path.split('/').skip(1).collect();
            let found: Vec<&str> = ROUTES.iter().filter(|r| r.matches(&parts)).map(|r| r.path).collect();
            assert_eq!(found, [route.path]);
            assert!(parts.len() > route.prefix || route.speaks == Speaks::Health);
        }
        for path in
            ["", "/", "/v1", "/v1/", "/v1/rollouts/", "/v1/rollouts//history", "/V1/verdict", "//healthz"]
        {
            let parts: Vec<&str> = path.split('/').skip(1).collect();
            assert!(!ROUTES.iter().any(|route| route.matches(&parts)), "{path}");
        }
    }

    #[test]
    fn only_http_requests_that_took_too_long_get_an_answer() {
        let request = json!({ "version": "2.0", "requestContext": { "http": { "method": "GET" } } });
        assert_eq!(too_slow(&request).unwrap()["statusCode"], 503);
        assert_eq!(too_slow(&json!({ "kind": "tick" })), None);
    }
}
