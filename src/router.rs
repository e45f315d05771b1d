//! Which route a request takes.

use worker::{
    Env,
    web_sys::{Headers, Request, Response},
};

#[cfg(feature = "rest-api")]
use crate::{
    config::SecretsStoreApi,
    gateway::administration::{self, Refused},
};
use crate::{
    config::{Settings, Upstream},
    gateway::{self, Call, Progress, batch, readiness},
    json::quoted,
    log,
    response::{Answer, Failure, Refusal},
    runtime,
    secrets::Secrets,
    status_page,
};

/// The longest request id that is taken over from a caller.
const MAX_REQUEST_ID: usize = 128;

/// Where a request goes.
#[derive(Debug)]
pub enum Route<'a> {
    /// `/`
    Root,
    /// `/healthz`
    Health,
    /// `/readyz`
    Readiness,
    /// `/batch`
    Batch,
    /// An upstream, and what comes after its name.
    Proxy(&'a Upstream, &'a str),
    /// The REST API: its settings, the account in the path, and what comes after `secrets_store`.
    #[cfg(feature = "rest-api")]
    SecretsStoreApi(&'a SecretsStoreApi, &'a str, &'a str),
    /// None that there is.
    Unknown,
}

/// What became of a request.
struct Served {
    progress: Progress,
    response: Response,
    failure: Option<Failure>,
}

/// Answers a request, and logs it.
pub async fn respond(request: Request, env: Env) -> Response {
    let started = runtime::now();
    let headers = request.headers();
    let given_id = runtime::header(&headers, "x-request-id");
    let given_id = given_id.map(|id| id.expose_secret().to_string()).filter(|id| is_request_id(id));
    let request_id = given_id.unwrap_or_else(runtime::new_request_id);
    let url = request.url();
    let (host, path_and_query) = split_url(&url);

    let settings = runtime::settings(&env);
    let nothing = Settings::default();
    let (settings, mistakes) = match settings.as_ref() {
        Ok(settings) => (settings, None),
        Err(mistakes) => (&nothing, Some(mistakes)),
    };
    let route = Route::of(host, path_and_query, settings);
    let served = match mistakes {
        // A client of the REST API gets the envelope that it knows.
        #[cfg(feature = "rest-api")]
        Some(mistakes) if secrets_store_path(path_and_query).is_some() => {
            Served::refused_in_full(Refusal::Configuration.because(mistakes).into())
        }
        Some(mistakes) if !matches!(route, Route::Root | Route::Health) => {
            Served::refused(Refusal::Configuration.because(mistakes))
        }
        _ => route.serve(&request, &headers, host, settings, env).await,
    };

    // Its headers can be set: each answer was made here.
    let _ = runtime::set_header(&served.response.headers(), "x-request-id", &request_id);
    log::Line {
        request_id: &request_id,
        route: route.name(),
        upstream: match route {
            Route::Proxy(upstream, _) => Some(&upstream.name),
            _ => None,
        },
        caller: served.progress.caller.as_deref(),
        status: served.response.status(),
        ms: runtime::now().saturating_sub(started),
        retries: served.progress.retries,
        error: served.failure.as_ref().map(|failure| failure.kind.as_ref()),
        cause: served.failure.as_ref().and_then(|failure| failure.cause.as_deref()),
    }
    .write();
    served.response
}

impl<'a> Route<'a> {
    /// The route of a request to this host, which may have a port.
    pub fn of(host: &str, path_and_query: &'a str, settings: &'a Settings) -> Self {
        if let Some(upstream) = settings.upstream_of_host(host) {
            return Self::Proxy(upstream, path_and_query);
        }
        match path_and_query.split('?').next().unwrap_or_default() {
            "/" => return Self::Root,
            "/healthz" => return Self::Health,
            "/readyz" => return Self::Readiness,
            "/batch" => return Self::Batch,
            _ => {}
        }
        if let Some(rest) = path_and_query.strip_prefix("/proxy/") {
            let (name, rest) = split_segment(rest);
            return settings.upstream(name).map_or(Self::Unknown, |it| Self::Proxy(it, rest));
        }
        #[cfg(feature = "rest-api")]
        if let Some(api) = &settings.secrets_store_api
            && let Some((account, rest)) = secrets_store_path(path_and_query)
        {
            return Self::SecretsStoreApi(api, account, rest);
        }
        Self::Unknown
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Health => "healthz",
            Self::Readiness => "readyz",
            Self::Batch => "batch",
            Self::Proxy(..) => "proxy",
            #[cfg(feature = "rest-api")]
            Self::SecretsStoreApi(..) => "secrets_store_api",
            Self::Unknown => "unknown",
        }
    }

    async fn serve(
        &self,
        request: &Request,
        headers: &Headers,
        host: &str,
        settings: &Settings,
        env: Env,
    ) -> Served {
        let secrets = Secrets::new(env);
        let allowed = match self {
            Self::Root | Self::Health | Self::Readiness => "GET, HEAD",
            Self::Batch => "POST",
            _ => "",
        };
        if !allowed.is_empty()
            && !allowed.split(',').any(|method| method.trim() == request.method())
        {
            return Served::refused(Refusal::MethodNotAllowed(allowed.to_owned()).into());
        }
        match self {
            Self::Root => {
                let accept = headers.get("accept").ok().flatten();
                Served::answered(&status_page::answer(&accept.unwrap_or_default()))
            }
            Self::Health => Served::answered(&Answer::success(quoted("ok"))),
            Self::Unknown => Served::refused(Refusal::NotFound.into()),
            Self::Readiness => match readiness::check(settings, headers, &secrets).await {
                Ok((admin, answer, failure)) => Served {
                    progress: Progress { caller: Some(admin.to_owned()), retries: 0 },
                    failure,
                    ..Served::answered(&answer)
                },
                Err(failure) => Served::refused(failure),
            },
            Self::Batch => match batch::run(settings, host, request, &secrets).await {
                Ok(batch) => Served {
                    progress: batch.progress,
                    response: batch.answer,
                    failure: batch.failure,
                },
                Err(failure) => Served::refused(failure),
            },
            Self::Proxy(upstream, path_and_query) => {
                let call = Call {
                    upstream,
                    path_and_query,
                    request,
                    is_repeatable: gateway::forward::is_repeatable(request),
                    host,
                    caller_headers: headers,
                };
                let gateway::Outcome { progress, result } = gateway::call(call, &secrets).await;
                match result {
                    Ok(response) => Served { progress, response, failure: None },
                    Err(failure) => Served { progress, ..Served::refused(failure) },
                }
            }
            #[cfg(feature = "rest-api")]
            Self::SecretsStoreApi(api, account, path_and_query) => {
                let call = administration::Call { api, account, path_and_query, request, host };
                let gateway::Outcome { progress, result } =
                    administration::call(call, &secrets).await;
                match result {
                    Ok(response) => Served { progress, response, failure: None },
                    Err(refused) => Served { progress, ..Served::refused_in_full(refused) },
                }
            }
        }
    }
}

impl Served {
    fn answered(answer: &Answer) -> Self {
        Self { progress: Progress::default(), response: runtime::response(answer), failure: None }
    }

    fn refused(failure: Failure) -> Self {
        let answered = Self::answered(&failure.refusal.answer());
        Self { failure: Some(failure), ..answered }
    }

    /// The same, for a client of the REST API.
    #[cfg(feature = "rest-api")]
    fn refused_in_full(refused: Refused) -> Self {
        let answered = Self::answered(&refused.answer());
        Self { failure: Some(refused.failure), ..answered }
    }
}

/// The host of a request's URL, perhaps with a port, and what comes after it. The runtime gives the
/// URL as it came, so that what is cut out of it is what the caller sent, byte for byte.
pub fn split_url(url: &str) -> (&str, &str) {
    let after_scheme = url.split_once(':').and_then(|(_, rest)| rest.strip_prefix("//"));
    split_segment(after_scheme.unwrap_or(url))
}

/// The account in a path of the REST API, and what comes after `secrets_store`.
#[cfg(feature = "rest-api")]
fn secrets_store_path(path_and_query: &str) -> Option<(&str, &str)> {
    let (account, rest) = split_segment(path_and_query.strip_prefix("/client/v4/accounts/")?);
    let (name, rest) = split_segment(rest.strip_prefix('/')?);
    (name == "secrets_store").then_some((account, rest))
}

/// The first segment of a path, and what comes after it.
fn split_segment(rest: &str) -> (&str, &str) {
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    rest.split_at_checked(end).unwrap_or((rest, ""))
}

/// Whether a caller's request id is taken over.
pub fn is_request_id(id: &str) -> bool {
    let of_an_id = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=MAX_REQUEST_ID).contains(&id.len()) && id.bytes().all(of_an_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        let upstreams = r#"{
            "demo": {"base_url":"https://a.example/v2","callers":["T"],"credentials":[]},
            "own": {"base_url":"https://b.example","callers":["T"],"credentials":[],
                    "hosts":["own.gateway.example"]}
        }"#;
        let api =
            r#"{"base_url":"https://c.example","account_id":"0a","token":"K","callers":["T"]}"#;
        Settings::parse(Some(upstreams.into()), Some(api.into())).unwrap()
    }

    fn route(url: &str) -> String {
        let settings = settings();
        let (host, path_and_query) = split_url(url);
        match Route::of(host, path_and_query, &settings) {
            Route::Proxy(upstream, rest) => format!("{} {rest}", upstream.name),
            #[cfg(feature = "rest-api")]
            Route::SecretsStoreApi(_, account, rest) => format!("api of {account} {rest}"),
            route => route.name().to_owned(),
        }
    }

    #[test]
    fn a_path_leads_to_its_route() {
        for (path, name) in [
            ("/healthz", "healthz"),
            ("/healthz?x", "healthz"),
            ("/readyz", "readyz"),
            ("/batch", "batch"),
            ("/proxy/demo/a/b?c=d", "demo /a/b?c=d"),
            ("/proxy/demo", "demo "),
            ("/proxy/demo/", "demo /"),
            ("/proxy/demo?q", "demo ?q"),
            ("/proxy/demo//a/%2f?x?y", "demo //a/%2f?x?y"),
            ("/proxy/demonstration/a", "unknown"),
            ("/proxy/Demo/a", "unknown"),
            ("/proxy/", "unknown"),
            ("/proxy", "unknown"),
            ("/", "root"),
            ("/?x", "root"),
            ("//", "unknown"),
            ("", "unknown"),
            ("/healthz/", "unknown"),
        ] {
            assert_eq!(route(&format!("http://gateway.example:8787{path}")), name, "{path}");
        }
    }

    #[cfg(feature = "rest-api")]
    #[test]
    fn a_path_of_the_rest_api_leads_to_it() {
        for (path, name) in [
            ("/client/v4/accounts/0a/secrets_store/stores?page=1", "api of 0a /stores?page=1"),
            ("/client/v4/accounts/other/secrets_store/stores/", "api of other /stores/"),
            ("/client/v4/accounts//secrets_store/quota", "api of  /quota"),
            ("/client/v4/accounts/0a/secrets_store", "api of 0a "),
            ("/client/v4/accounts/0a/secrets_store?x", "api of 0a ?x"),
            ("/client/v4/accounts/0a/secrets_stores", "unknown"),
            ("/client/v4/accounts/0a/workers", "unknown"),
            ("/client/v4/accounts/0a", "unknown"),
            ("/client/v4/user", "unknown"),
        ] {
            assert_eq!(route(&format!("http://gateway.example:8787{path}")), name, "{path}");
        }
    }

    #[test]
    fn a_host_of_its_own_leads_to_its_upstream_whatever_the_path() {
        for host in ["own.gateway.example", "OWN.Gateway.Example:8787"] {
            assert_eq!(route(&format!("https://{host}/healthz?a")), "own /healthz?a");
            assert_eq!(route(&format!("https://{host}/proxy/demo/x")), "own /proxy/demo/x");
            assert_eq!(route(&format!("https://{host}/")), "own /");
            assert_eq!(route(&format!("https://{host}")), "own ");
        }
        assert_eq!(route("https://x.own.gateway.example/healthz"), "healthz");
    }

    #[test]
    fn a_request_id_is_taken_over_if_it_is_plain() {
        assert!(is_request_id("0a.B_c-9"));
        assert!(is_request_id(&"x".repeat(128)));
        for id in ["", "a b", "a\"b", "ü", "a\n", &"x".repeat(129)] {
            assert!(!is_request_id(id), "{id}");
        }
    }
}
