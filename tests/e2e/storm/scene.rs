//! The stage of the storm: upstreams with a listener each, and secrets that change.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use fastrand::Rng;
use serde_json::{Value, json};

use super::target::{Decoy, Target};
use crate::{
    rest::local_api,
    stubs::{ACCOUNT, API_TOKEN, STORE, Stubs},
};

/// How long an upstream of the storm has, where its settings do not say otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(3);

/// The host name that is one upstream's alone.
pub const OWN_HOST: &str = "own.storm.example";

/// An upstream, as the settings have it and as the oracle reads it.
#[derive(Debug)]
pub struct Lender {
    pub name: &'static str,
    /// What stands before each path at the listener.
    pub base: &'static str,
    /// None for a public one.
    pub callers: &'static [&'static str],
    pub credentials: &'static [Credential],
    pub methods: &'static [&'static str],
    pub paths: &'static [&'static str],
    pub timeout: Duration,
    pub hosts: &'static [&'static str],
    /// Whether anybody listens.
    pub is_there: bool,
}

#[derive(Debug)]
pub struct Credential {
    pub place: Place,
    pub secret: &'static str,
    pub fallback: Option<&'static str>,
}

#[derive(Debug, Clone, Copy)]
pub enum Place {
    Header { name: &'static str, prefix: &'static str },
    Basic { username: &'static str },
    Query { name: &'static str },
}

const BEARER: Place = Place::Header { name: "authorization", prefix: "Bearer " };

const fn credential(
    place: Place,
    secret: &'static str,
    fallback: Option<&'static str>,
) -> Credential {
    Credential { place, secret, fallback }
}

const LENDER: Lender = Lender {
    name: "",
    base: "",
    callers: &["S_TOKEN_A"],
    credentials: &[credential(BEARER, "S_KEY_A", None)],
    methods: &[],
    paths: &[],
    timeout: TIMEOUT,
    hosts: &[],
    is_there: true,
};

pub const LENDERS: [Lender; 8] = [
    Lender { name: "one", base: "/one/v2", ..LENDER },
    Lender {
        name: "two",
        callers: &["S_TOKEN_A", "S_TOKEN_B"],
        credentials: &[credential(
            Place::Header { name: "x-api-key", prefix: "" },
            "S_KEY_B",
            Some("S_KEY_C"),
        )],
        ..LENDER
    },
    Lender {
        name: "both",
        base: "/both",
        callers: &["S_TOKEN_B"],
        credentials: &[
            credential(Place::Basic { username: "alice" }, "S_KEY_C", None),
            credential(Place::Query { name: "key" }, "S_KEY_A", Some("S_KEY_B")),
        ],
        ..LENDER
    },
    Lender {
        name: "narrow",
        base: "/narrow",
        callers: &["S_TOKEN_B"],
        credentials: &[credential(BEARER, "S_KEY_A", Some("S_KEY_C"))],
        methods: &["GET", "POST"],
        paths: &["/charges", "/customers/*"],
        ..LENDER
    },
    Lender {
        name: "open",
        callers: &[],
        credentials: &[credential(
            Place::Header { name: "authorization", prefix: "Token " },
            "S_KEY_B",
            None,
        )],
        ..LENDER
    },
    Lender {
        name: "own",
        credentials: &[credential(BEARER, "S_KEY_A", Some("S_KEY_B"))],
        hosts: &[OWN_HOST],
        ..LENDER
    },
    Lender { name: "gone", is_there: false, ..LENDER },
    Lender { name: "quick", timeout: Duration::from_millis(300), ..LENDER },
];

/// The binding of the API's token, and that of the admins'.
pub const API: &str = "S_API";
pub const ADMIN: &str = "S_ADMIN";

const SECRETS: [&str; 7] = ["S_TOKEN_A", "S_TOKEN_B", ADMIN, API, "S_KEY_A", "S_KEY_B", "S_KEY_C"];

/// What a binding answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Value(String),
    BeyondAscii(String),
    LineBreak(String),
    Throws(String),
    NotFound,
    Hangs,
    Null,
    Undefined,
    Empty,
    Number,
}

impl State {
    /// The value, where it can travel: encoded, or as it is in a header.
    pub fn value(&self, encoded: bool) -> Option<&str> {
        match self {
            Self::Value(value) => Some(value),
            Self::BeyondAscii(value) if encoded => Some(value),
            _ => None,
        }
    }

    /// The kind of error, where it cannot.
    pub fn error(&self, encoded: bool) -> Option<&'static str> {
        match self {
            _ if self.value(encoded).is_some() => None,
            Self::Value(_) | Self::BeyondAscii(_) | Self::LineBreak(_) => Some("not_header_safe"),
            Self::Throws(_) => Some("failed"),
            Self::NotFound => Some("not_found"),
            Self::Hangs => Some("timed_out"),
            Self::Null | Self::Undefined => Some("null"),
            Self::Empty => Some("empty"),
            Self::Number => Some("wrong_kind"),
        }
    }

    fn told(&self) -> (&'static str, Value) {
        match self {
            Self::Value(value) | Self::BeyondAscii(value) | Self::LineBreak(value) => {
                ("answer", value.as_str().into())
            }
            Self::Throws(text) => ("throw", text.as_str().into()),
            Self::NotFound => ("throw", "Secret \"x\" not found".into()),
            Self::Hangs => ("hang", Value::Null),
            Self::Null => ("answer", Value::Null),
            Self::Undefined => ("nothing", Value::Null),
            Self::Empty => ("answer", "".into()),
            Self::Number => ("answer", 5.into()),
        }
    }
}

/// One state of a binding, and when it may have been in force: from before it was told until after
/// the next one was.
#[derive(Debug, Clone)]
struct Version {
    state: State,
    from: Instant,
    until: Option<Instant>,
}

/// All secrets with their histories.
#[derive(Debug, Default)]
pub struct Secrets {
    histories: Mutex<BTreeMap<&'static str, Vec<Version>>>,
    /// One change at a time, so that histories are in the order of what the store was told.
    changing: Mutex<u64>,
}

impl Secrets {
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        SECRETS.into_iter()
    }

    /// How often they have changed.
    pub fn changes(&self) -> u64 {
        *self.changing.lock().unwrap()
    }

    /// A good value for every binding.
    pub fn begin(&self, stubs: &Stubs) {
        for name in SECRETS {
            self.change(stubs, name, |generation| State::Value(good_value(name, generation)));
        }
    }

    /// Changes one of them.
    pub fn change_any(&self, stubs: &Stubs, random: &mut Rng) {
        // What fails works again at the next change: otherwise soon nothing would work at all, and
        // what hangs keeps whoever asks for five seconds.
        let is_failing = |name: &&&str| !matches!(self.now(name), State::Value(_));
        let failing = SECRETS.iter().find(is_failing).copied();
        let name = failing.unwrap_or_else(|| SECRETS[random.usize(..SECRETS.len())]);
        let kind = if failing.is_some() { 0 } else { random.u8(8..24) };
        self.change(stubs, name, |generation| {
            let good = good_value(name, generation);
            match kind {
                0..=13 => State::Value(good),
                14 => State::Throws(format!("boom: the value is {good}")),
                15 => State::NotFound,
                16 => State::Hangs,
                17 => State::Null,
                18 => State::Undefined,
                19 => State::Empty,
                20 => State::Number,
                21 => State::LineBreak(format!("{good}\n")),
                22 => State::BeyondAscii(format!("{good}\u{fc}\u{2713}")),
                // Long ones move the allocator.
                _ => State::Value(format!("{good}{}", "l".repeat(6000))),
            }
        });
    }

    fn change(&self, stubs: &Stubs, name: &'static str, state: impl Fn(u64) -> State) {
        let mut generation = self.changing.lock().unwrap();
        *generation += 1;
        let state = state(*generation);
        let (does, value) = state.told();
        let version = Version { state, from: Instant::now(), until: None };
        self.histories.lock().unwrap().entry(name).or_default().push(version);
        stubs.tell(name, does, &value);
        let mut histories = self.histories.lock().unwrap();
        let versions = histories.get_mut(name).unwrap();
        if let [.., before, _] = versions.as_mut_slice() {
            before.until = Some(Instant::now());
        }
    }

    /// What a binding is now, as far as one can know.
    pub fn now(&self, name: &str) -> State {
        self.histories.lock().unwrap()[name].last().unwrap().state.clone()
    }

    /// A value that it had before, if it ever had another.
    pub fn stale(&self, name: &str) -> Option<String> {
        let histories = self.histories.lock().unwrap();
        let (_, before) = histories[name].split_last()?;
        before.iter().rev().find_map(|it| it.state.value(false)).map(str::to_owned)
    }

    /// All that it may have been in this time.
    pub fn possible(&self, name: &str, from: Instant, until: Instant) -> Vec<State> {
        let histories = self.histories.lock().unwrap();
        let was = |it: &&Version| it.from <= until && it.until.is_none_or(|end| end >= from);
        histories[name].iter().filter(was).map(|it| it.state.clone()).collect()
    }
}

/// A value that names its binding and its generation, and has what must be encoded somewhere.
fn good_value(name: &str, generation: u64) -> String {
    let odd = if generation.is_multiple_of(3) && name.starts_with("S_KEY") {
        "/&=+ ?#%41:\"'"
    } else {
        ""
    };
    format!("5ecret-{name}-{generation}{odd}.")
}

/// Everything that the storm needs beside the Worker.
pub struct Scene {
    pub secrets: Arc<Secrets>,
    targets: BTreeMap<&'static str, Target>,
    pub api: Target,
    pub decoy: Decoy,
}

impl Scene {
    /// Listens. What is asked is answered at once; that nobody asks costs nothing.
    pub fn set() -> Self {
        let decoy = Decoy::start();
        let start = |name: &'static str| Target::start(name, None, decoy.address);
        let there = LENDERS.iter().filter(|it| it.is_there);
        let targets = there.map(|it| (it.name, start(it.name))).collect();
        let behind = local_api(40, &[STORE]);
        let api = Target::start("api", Some(behind), decoy.address);
        Self { secrets: Arc::default(), targets, api, decoy }
    }

    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.targets.values()
    }

    pub fn target(&self, lender: &str) -> Option<&Target> {
        self.targets.get(lender)
    }

    pub fn upstreams(&self) -> Value {
        let entry = |it: &Lender| {
            let address = self.target(it.name).map_or("127.0.0.1:1".to_owned(), Target::host);
            let credentials: Vec<Value> = it.credentials.iter().map(setting).collect();
            let mut entry = json!({
                "base_url": format!("http://{address}{}", it.base),
                "callers": it.callers,
                "credentials": credentials,
                "timeout_ms": it.timeout.as_millis() as u64,
                "hosts": it.hosts,
            });
            if it.callers.is_empty() {
                entry["callers"] = "public".into();
            }
            if !it.methods.is_empty() {
                entry["methods"] = json!(it.methods);
            }
            if !it.paths.is_empty() {
                entry["paths"] = json!(it.paths);
            }
            (it.name.to_owned(), entry)
        };
        Value::Object(LENDERS.iter().map(entry).collect())
    }

    pub fn secrets_store_api(&self) -> Value {
        json!({
            "base_url": format!("http://{}/client/v4", self.api.host()),
            "account_id": ACCOUNT,
            "token": API,
            "callers": [ADMIN],
        })
    }
}

fn setting(credential: &Credential) -> Value {
    let mut setting = match credential.place {
        Place::Header { name: "authorization", prefix: "Bearer " } => json!({ "type": "bearer" }),
        Place::Header { name, prefix } => {
            json!({ "type": "header", "name": name, "prefix": prefix })
        }
        Place::Basic { username } => json!({ "type": "basic", "username": username }),
        Place::Query { name } => json!({ "type": "query", "name": name }),
    };
    setting["secret"] = credential.secret.into();
    if let Some(fallback) = credential.fallback {
        setting["fallback"] = fallback.into();
    }
    setting
}

/// A listener whose port the system chose.
pub fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// What the local REST API wants to be shown.
pub const BEHIND_TOKEN: &str = API_TOKEN;
