//! The rules, written from the contract and not from the Worker: which answers a request may get,
//! what may arrive at an upstream, what the log says.
//!
//! Secrets change while requests are under way, so a rule asks what a secret may have been between
//! the request's first byte and its answer's last. Where several states are possible, so is each of
//! their outcomes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use base64ct::{Base64, Encoding as _};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};

use super::{
    scene::{ADMIN, API, Credential, Place, Scene, State},
    shots::{
        Ask, Batch, Body, End, Lend, RequestId, Rest, Shot, Shown, Verdict, What, could_leave,
    },
    target::{Arrival, BODY, LONG_BODY, PACKED_BODY},
    wire::{self, Ended, Reply},
};
use crate::{client::MARK, stubs::ACCOUNT};

/// A span of time.
pub type Span = (Instant, Instant);

/// What the log has to say about an answer.
#[derive(Debug)]
pub struct Receipt {
    pub n: u64,
    pub request_id: String,
    pub status: u16,
    pub route: &'static str,
    pub upstream: Option<&'static str>,
    /// Who may have been admitted.
    pub callers: BTreeSet<&'static str>,
    /// Whether the Worker itself failed, and with which kinds of error it may have.
    pub fails: bool,
    pub errors: BTreeSet<String>,
    /// The entries of a batch that failed.
    pub parts: Vec<usize>,
    /// How often it may have been sent again.
    pub retries: u64,
}

/// What a shot came to.
#[derive(Default)]
pub struct Judgement {
    pub violations: Vec<String>,
    pub receipts: Vec<Receipt>,
    /// Who answered, and with what.
    pub statuses: Vec<(&'static str, u16)>,
    /// Requests whose arrival may come after their answer.
    pub open: Vec<Lend>,
}

/// What may come of a request to an upstream.
#[derive(Debug, Default)]
struct Allowed {
    own: BTreeSet<u16>,
    /// Kinds of error of a 500.
    errors: BTreeSet<String>,
    callers: BTreeSet<&'static str>,
    /// It may reach the upstream.
    passes: bool,
}

/// An answer to one request, alone or in a batch.
struct Part<'a> {
    status: u16,
    headers: &'a dyn Fn(&str) -> Vec<String>,
    body: &'a [u8],
    is_whole: bool,
}

pub struct Oracle<'a> {
    pub scene: &'a Scene,
    /// The gateway's own host.
    pub host: &'a str,
}

/// Headers that end at the gateway (the contract's list).
const ENDING: [&str; 10] = [
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "cookie",
    "x-real-ip",
    "true-client-ip",
    "set-cookie",
];

impl Oracle<'_> {
    pub fn judge(&self, shot: &Shot, result: &wire::Result) -> Judgement {
        let mut judgement = Judgement::default();
        let span = (result.sent, result.done);
        if shows_a_value(&result.bytes) {
            judgement.violations.push("a value came back".to_owned());
        }
        let mut asks = shot.asks.iter();
        for reply in &result.replies {
            self.judge_reply(shot, reply, asks.next(), span, &mut judgement);
        }
        // What gets no answer may have arrived all the same, and later.
        for ask in asks {
            match &ask.what {
                What::Lend(lend) => judgement.open.push(lend.clone()),
                What::Batch(Batch::Entries(lends)) => {
                    judgement.open.extend(lends.iter().flatten().cloned());
                }
                _ => {}
            }
            let may_close = ask.is_malformed || shot.asks.iter().any(|it| it.is_malformed);
            let is_right = match result.end {
                Ended::BrokenOff | Ended::Well => true,
                // The runtime may close where it cannot tell what is asked.
                Ended::Closed => may_close,
                Ended::TimedOut | Ended::Garbage => false,
            };
            if !is_right {
                judgement.violations.push(format!("no answer: {:?}", result.end));
            }
        }
        if shot.asks.is_empty() && [Ended::TimedOut, Ended::Garbage].contains(&result.end) {
            judgement.violations.push(format!("garbage was answered with {:?}", result.end));
        }
        if shot.end == End::Read && result.end == Ended::TimedOut {
            judgement.violations.push("it took too long".to_owned());
        }
        judgement
    }

    fn judge_reply(
        &self,
        shot: &Shot,
        reply: &Reply,
        ask: Option<&Ask>,
        span: Span,
        judgement: &mut Judgement,
    ) {
        let ids = reply.values("x-request-id");
        let is_from_upstream = reply.value("x-storm-answer").is_some();
        let (who, malformed) = match ask {
            _ if is_from_upstream => ("upstream", false),
            Some(ask) if ids.is_empty() => ("runtime", ask.is_malformed),
            None if ids.is_empty() => ("runtime", true),
            _ => ("gateway", false),
        };
        judgement.statuses.push((who, reply.status));
        let violations = &mut judgement.violations;
        if who == "runtime" {
            let is_connect = shot.begins_with("CONNECT ");
            // It knows no envelope; but it must not be the Worker's end. For CONNECT, which never
            // comes to `fetch`, workerd looks for a handler of its own and says 500.
            let is_an_end = reply.status == 500 && !is_connect;
            if !malformed || !(400..=505).contains(&reply.status) || is_an_end {
                violations.push(format!(
                    "an answer of the runtime's own: {} {:?}",
                    reply.status,
                    String::from_utf8_lossy(&reply.body)
                ));
            }
            if let Some(Ask { what: What::Lend(lend), .. }) = ask {
                violations.extend(self.arrivals(lend, span, Some((true, reply.status))));
            }
            return;
        }
        let [id] = ids.as_slice() else {
            violations.push(format!("{} times x-request-id", ids.len()));
            return;
        };
        let is_made =
            |id: &str| id.len() == 36 && id.bytes().all(|it| it.is_ascii_hexdigit() || it == b'-');
        match ask.map(|it| &it.request_id) {
            Some(RequestId::Good(good)) if good != id => {
                violations.push("x-request-id is not the caller's".to_owned());
            }
            Some(RequestId::Other) if !is_made(id) => {
                violations.push("x-request-id is neither the caller's nor a new one".to_owned());
            }
            _ => {}
        }
        for name in ["set-cookie", "keep-alive", "proxy-authenticate", "x-named", "trailer"] {
            if !reply.values(name).is_empty() {
                violations.push(format!("{name} came back"));
            }
        }
        let mut receipt = Receipt {
            n: shot.n,
            request_id: id.clone(),
            status: reply.status,
            route: "",
            upstream: None,
            callers: BTreeSet::new(),
            fails: who == "gateway" && reply.status >= 500,
            errors: BTreeSet::new(),
            parts: Vec::new(),
            retries: 0,
        };
        match ask.map(|ask| (&ask.what, ask)) {
            None => {
                if is_from_upstream {
                    violations.push("garbage reached an upstream".to_owned());
                }
            }
            Some((what, ask)) => {
                let is_head = ask.method == "HEAD";
                let told =
                    self.judge_what(what, reply, is_head, span, &mut receipt, &mut judgement.open);
                violations.extend(told);
            }
        }
        judgement.receipts.push(receipt);
    }

    fn judge_what(
        &self,
        what: &What,
        reply: &Reply,
        is_head: bool,
        span: Span,
        receipt: &mut Receipt,
        open: &mut Vec<Lend>,
    ) -> Vec<String> {
        let own = |statuses: &[u16], extra: &[&str]| {
            let mut told = own_answer(reply, is_head, extra);
            if !statuses.contains(&reply.status) {
                told.push(format!("{} instead of {statuses:?}", reply.status));
            }
            told
        };
        match what {
            What::Anything => own_answer(reply, is_head, &[]),
            What::Open(route) => {
                receipt.route = route;
                let mut told = own(&[200], &[]);
                let result = || json_of(&reply.body)["result"].clone();
                if !is_head && route == &"healthz" && result() != "ok" {
                    told.push("healthz says something else".to_owned());
                }
                told
            }
            What::Unknown => {
                receipt.route = "unknown";
                own(&[404], &[])
            }
            What::WrongMethod { route, allow } => {
                receipt.route = route;
                let mut told = own(&[405], &[]);
                if reply.value("allow").as_deref() != Some(allow) {
                    told.push("Allow is wrong".to_owned());
                }
                told
            }
            What::Ready { shown } => {
                receipt.route = "readyz";
                self.judge_ready(shown, reply, is_head, span, receipt)
            }
            What::Rest(rest) => {
                receipt.route = "secrets_store_api";
                self.judge_rest(rest, reply, is_head, span, receipt)
            }
            What::Lend(lend) => {
                receipt.route = "proxy";
                receipt.upstream = Some(lend.lender.name);
                let headers = |name: &str| reply.values(name);
                let part = Part {
                    status: reply.status,
                    headers: &headers,
                    body: &reply.body,
                    is_whole: reply.is_whole,
                };
                let mut told = self.judge_lend(lend, &part, is_head, span, receipt);
                if reply.value("x-storm-answer").is_none() {
                    told.extend(own_answer(reply, is_head, &[]));
                }
                if reply.status == 101 && reply.echoed.is_none() {
                    told.push("the WebSocket does not answer".to_owned());
                }
                // A request that was given up may still arrive.
                match reply.status {
                    502 | 504 if told.is_empty() => open.push(lend.clone()),
                    _ => {}
                }
                told
            }
            What::Batch(batch) => {
                receipt.route = "batch";
                self.judge_batch(batch, reply, span, receipt, open)
            }
        }
    }

    // --- Who is admitted ---

    /// Whether a caller may have been admitted, by which tokens, and whether it may have been not.
    fn admission(
        &self,
        callers: &[&'static str],
        surely: &[String],
        perhaps: &[String],
        span: Span,
    ) -> (BTreeSet<&'static str>, bool) {
        let mut admitted = BTreeSet::new();
        let mut is_sure = false;
        for binding in callers {
            let states = self.scene.secrets.possible(binding, span.0, span.1);
            let is = |state: &State, shown: &[String]| {
                state.value(false).is_some_and(|value| shown.iter().any(|it| it == value))
            };
            if states.iter().any(|state| is(state, surely) || is(state, perhaps)) {
                admitted.insert(*binding);
            }
            is_sure |= states.iter().all(|state| is(state, surely));
        }
        (admitted, !is_sure)
    }

    /// What may come of it, as far as the gateway decides.
    fn allowed(&self, lend: &Lend, span: Span) -> Allowed {
        let mut allowed = Allowed::default();
        let lender = lend.lender;
        if lend.is_odd {
            allowed.own.insert(400);
        }
        if !lender.callers.is_empty() {
            let (surely, perhaps) = lend.shown.to(lender);
            let (admitted, perhaps_not) = self.admission(lender.callers, &surely, &perhaps, span);
            allowed.callers = admitted;
            if perhaps_not {
                allowed.own.insert(401);
            }
            if allowed.callers.is_empty() {
                return allowed;
            }
        }
        let method = lend.method.as_str();
        let is_echo = ["TRACE", "TRACK"].contains(&method);
        let is_listed = lender.methods.contains(&method);
        if (lender.methods.is_empty() && is_echo) || (!lender.methods.is_empty() && !is_listed) {
            allowed.own.insert(405);
            return allowed;
        }
        match lend.verdict {
            Verdict::Fine => {}
            Verdict::Unsure => _ = allowed.own.insert(403),
            Verdict::Refused => {
                allowed.own.insert(403);
                return allowed;
            }
        }
        let mut all_can_be_had = true;
        for credential in lender.credentials {
            let (values, kinds) = self.resolved(credential, span);
            all_can_be_had &= !values.is_empty();
            if !kinds.is_empty() {
                allowed.own.insert(500);
                allowed.errors.extend(kinds.into_iter().map(|kind| format!("secret_{kind}")));
            }
        }
        if !all_can_be_had {
            return allowed;
        }
        if lend.loops {
            allowed.own.insert(500);
            allowed.errors.insert("configuration".to_owned());
            return allowed;
        }
        allowed.passes = true;
        allowed
    }

    /// The values that a credential may have had at the first try, and the kinds of error with which
    /// it may have failed.
    fn resolved(
        &self,
        credential: &Credential,
        span: Span,
    ) -> (BTreeSet<String>, BTreeSet<&'static str>) {
        let encoded = is_encoded(credential);
        let (mut values, errors) = self.had(credential.secret, encoded, span);
        if errors.is_empty() {
            return (values, errors);
        }
        // The fallback is asked where the primary one failed. The primary's error comes first.
        let Some(fallback) = credential.fallback else { return (values, errors) };
        let (more, failures) = self.had(fallback, encoded, span);
        values.extend(more);
        (values, if failures.is_empty() { BTreeSet::new() } else { errors })
    }

    fn had(
        &self,
        binding: &str,
        encoded: bool,
        span: Span,
    ) -> (BTreeSet<String>, BTreeSet<&'static str>) {
        let states = self.scene.secrets.possible(binding, span.0, span.1);
        let values = states.iter().filter_map(|it| it.value(encoded)).map(str::to_owned);
        (values.collect(), states.iter().filter_map(|it| it.error(encoded)).collect())
    }

    // --- One request to an upstream ---

    fn judge_lend(
        &self,
        lend: &Lend,
        part: &Part<'_>,
        is_head: bool,
        span: Span,
        receipt: &mut Receipt,
    ) -> Vec<String> {
        let allowed = self.allowed(lend, span);
        receipt.callers.extend(&allowed.callers);
        let is_own = (part.headers)("x-storm-answer").is_empty();
        let mut told = self.arrivals(lend, span, Some((is_own, part.status)));
        receipt.retries += u64::from(self.retries(lend, span).0);
        let elapsed = span.1 - span.0;
        let (passing, own) = outcomes(lend, is_head, elapsed);
        let answer = (part.headers)("x-storm-answer");
        let Some(answer) = answer.first() else {
            let mut right = allowed.own.clone();
            if allowed.passes {
                right.extend(own);
            }
            if !right.contains(&part.status) {
                told.push(format!(
                    "{} instead of {right:?}, or {passing:?} of the upstream's",
                    part.status
                ));
            }
            if part.status == 500 {
                receipt.errors.extend(allowed.errors);
            }
            return told;
        };
        if !allowed.passes {
            told.push(format!("an upstream's answer instead of {:?}", allowed.own));
        }
        if answer != lend.wish {
            told.push(format!("somebody else's answer: {answer} and not {}", lend.wish));
        }
        if !passing.contains(&part.status) {
            told.push(format!("{} of the upstream's instead of {passing:?}", part.status));
        }
        let timing = (part.headers)("server-timing").join(", ");
        if !timing.contains("secrets;dur=") || !timing.contains("upstream;dur=") {
            told.push("no Server-Timing".to_owned());
        }
        let bare = ["obs-text", "two-lengths", "socket"];
        if !bare.contains(&lend.wish) && (part.headers)("x-kept") != ["yes"] {
            told.push("the upstream's own header is lost".to_owned());
        }
        if lend.wish == "redirect" && (part.headers)("location").len() != 1 {
            told.push("Location is lost".to_owned());
        }
        for name in ["set-cookie", "keep-alive", "proxy-authenticate", "x-named"] {
            if !(part.headers)(name).is_empty() {
                told.push(format!("{name} came back"));
            }
        }
        if !is_head {
            told.extend(wrong_body(lend, part));
        }
        told
    }

    /// Takes what arrived for this request, and says what is wrong with it. `answer` is who gave the
    /// answer and its status, where there was one.
    pub fn arrivals(&self, lend: &Lend, span: Span, answer: Option<(bool, u16)>) -> Vec<String> {
        let Some(target) = self.scene.target(lend.lender.name) else { return Vec::new() };
        let arrivals = target.take(&lend.id);
        let mut told = Vec::new();
        let (may_retry, must_retry) = self.retries(lend, span);
        let right = match answer {
            // Refused before anything was sent. (413 tells that the answer is too long for a batch.)
            Some((true, 400..=405 | 500)) => 0..=0,
            Some((false, status)) => {
                let once = lend.wish == "401-once";
                if must_retry && once && status == 401 {
                    told.push("the fallback's value was not tried".to_owned());
                }
                if must_retry { 2..=2 } else { 1..=1 + usize::from(may_retry) }
            }
            // It may have been given up on the way.
            _ => 0..=1 + usize::from(may_retry),
        };
        if !right.contains(&arrivals.len()) {
            told.push(format!("it arrived {} times instead of {right:?}", arrivals.len()));
        }
        for (index, arrival) in arrivals.iter().enumerate() {
            // The answer may be later than the arrival, and so may a state.
            let span = (span.0, span.1.min(arrival.at).max(span.0));
            let wrong = self.arrival(lend, arrival, index, &target.host(), span);
            told.extend(wrong.into_iter().map(|it| format!("arrived: {it}")));
        }
        told
    }

    /// Whether it may be sent a second time, with a fallback's value, and whether it must be.
    fn retries(&self, lend: &Lend, span: Span) -> (bool, bool) {
        let can_be_repeated = match &lend.body {
            Body::None => true,
            Body::Whole { can_be_repeated, .. } => *can_be_repeated,
            Body::Broken => false,
        };
        if !["401", "401-once"].contains(&lend.wish) || !can_be_repeated {
            return (false, false);
        }
        let (mut may, mut must) = (false, false);
        for credential in lend.lender.credentials {
            let Some(fallback) = credential.fallback else { continue };
            let both = [credential.secret, fallback]
                .map(|binding| self.had(binding, is_encoded(credential), span));
            may |= both.iter().all(|(values, _)| !values.is_empty());
            must |= both.iter().all(|(_, errors)| errors.is_empty());
        }
        (may, must)
    }

    fn arrival(
        &self,
        lend: &Lend,
        arrival: &Arrival,
        index: usize,
        host: &str,
        span: Span,
    ) -> Vec<String> {
        let mut told = Vec::new();
        let lender = lend.lender;
        if !self.allowed(lend, span).passes {
            told.push("it should not have".to_owned());
        }
        if arrival.method != lend.method {
            told.push(format!("the method is {}", arrival.method));
        }
        if arrival.values("host") != [host.as_bytes()] {
            told.push("Host is another one".to_owned());
        }
        // The credentials, each at its place.
        let mut own_places = vec!["host"];
        let mut query = None;
        for credential in lender.credentials {
            let values = self.attached(credential, index, span);
            match credential.place {
                Place::Header { name, prefix } => {
                    own_places.push(name);
                    let right = values.iter().map(|it| format!("{prefix}{it}").into_bytes());
                    told.extend(one_of(name, &arrival.values(name), right));
                }
                Place::Basic { username } => {
                    own_places.push("authorization");
                    let encode =
                        |it: &String| Base64::encode_string(format!("{username}:{it}").as_bytes());
                    let right =
                        values.iter().map(|it| format!("Basic {}", encode(it)).into_bytes());
                    told.extend(one_of("authorization", &arrival.values("authorization"), right));
                }
                Place::Query { name } => query = Some((name, values)),
            }
        }
        told.extend(wrong_target(lend, &arrival.target, query));
        for (name, _) in &arrival.headers {
            let is_upgrade =
                lend.wish == "socket" || arrival.values("sec-websocket-key").len() == 1;
            let ends = ENDING.contains(&name.as_str())
                || name.starts_with("cf-")
                || name.starts_with("x-forwarded-")
                || lend.dropped.contains(name)
                || (["connection", "upgrade"].contains(&name.as_str()) && !is_upgrade);
            if ends {
                told.push(format!("with {name}"));
            }
        }
        let gateway = if lend.by_host { "own.storm.example" } else { self.host };
        let hops = arrival.values("cdn-loop");
        let names_gateway =
            |it: &&[u8]| String::from_utf8_lossy(it).to_ascii_lowercase().contains(gateway);
        if hops.len() != 1 || !hops.iter().all(names_gateway) {
            told.push("without the gateway's name in CDN-Loop".to_owned());
        }
        for (name, value) in &lend.kept {
            if arrival.values(name) != [value.as_slice()] {
                told.push(format!("without {name}, which goes on as it is"));
            }
        }
        for (name, value) in &arrival.headers {
            if !own_places.contains(&name.as_str()) {
                told.extend(self.left_over(lend, name, value, span));
            }
        }
        if let (Body::Whole { bytes, .. }, Some(got)) = (&lend.body, &arrival.body)
            && bytes != got
        {
            told.push(format!("with {} bytes of a body of {}", got.len(), bytes.len()));
        }
        told
    }

    /// The values that may be attached at the first try, or at the second.
    fn attached(&self, credential: &Credential, index: usize, span: Span) -> BTreeSet<String> {
        match credential.fallback {
            Some(fallback) if index > 0 => self.had(fallback, is_encoded(credential), span).0,
            _ => self.resolved(credential, span).0,
        }
    }

    /// A value in a header where none belongs.
    fn left_over(&self, lend: &Lend, name: &str, value: &[u8], span: Span) -> Option<String> {
        let text = String::from_utf8_lossy(value);
        let decoded = text.split_once(' ').and_then(|(scheme, rest)| {
            scheme.eq_ignore_ascii_case("basic").then(|| Base64::decode_vec(rest).ok())?
        });
        let decoded =
            decoded.map(|it| String::from_utf8_lossy(&it).into_owned()).unwrap_or_default();
        if !text.contains(MARK) && !decoded.contains(MARK) {
            return None;
        }
        for binding in lend.lender.callers {
            let states = self.scene.secrets.possible(binding, span.0, span.1);
            let stands = |state: &State| {
                state.value(false).is_some_and(|it| text.contains(it) || decoded.contains(it))
            };
            if !states.is_empty() && states.iter().all(stands) {
                return Some(format!("with the caller's token in {name}"));
            }
        }
        let is_the_callers = |(own, sent): &(String, Vec<u8>)| {
            own == name && text.contains(String::from_utf8_lossy(sent).trim())
        };
        let is_known = lend.headers.iter().any(is_the_callers);
        (!is_known).then(|| format!("with a value in {name} that nobody put there"))
    }

    // --- The other routes ---

    fn judge_batch(
        &self,
        batch: &Batch,
        reply: &Reply,
        span: Span,
        receipt: &mut Receipt,
        open: &mut Vec<Lend>,
    ) -> Vec<String> {
        let mut told = own_answer(reply, false, &[]);
        let lends = match batch {
            Batch::Refused(status) => {
                if reply.status != *status {
                    told.push(format!("{} instead of {status}", reply.status));
                }
                return told;
            }
            Batch::Entries(lends) => lends,
        };
        let parts = json_of(&reply.body)["result"].clone();
        let refused = |lend: &Option<Lend>| {
            lend.as_ref().is_none_or(|it| self.allowed(it, span).own.contains(&401))
        };
        match reply.status {
            200 => {}
            401 => {
                if !lends.iter().all(refused) || lends.iter().all(Option::is_none) {
                    told.push("401 for a batch that has something for its caller".to_owned());
                }
                for lend in lends.iter().flatten() {
                    told.extend(self.arrivals(lend, span, Some((true, 401))));
                }
                return told;
            }
            status => {
                told.push(format!("{status} for a batch"));
                return told;
            }
        }
        let Some(parts) = parts.as_array().filter(|it| it.len() == lends.len()) else {
            told.push("a batch with another number of answers".to_owned());
            return told;
        };
        let mut outcomes = Vec::new();
        for (index, (lend, part)) in lends.iter().zip(parts).enumerate() {
            let status = part["status"].as_u64().unwrap_or(0) as u16;
            let headers = |name: &str| -> Vec<String> {
                part["headers"][name].as_str().map(str::to_owned).into_iter().collect()
            };
            let text = part["body"].as_str().unwrap_or_default();
            let body = match part["encoding"].as_str() {
                Some("base64") => Base64::decode_vec(text).unwrap_or_default(),
                _ => text.as_bytes().to_vec(),
            };
            let is_own = headers("x-storm-answer").is_empty();
            outcomes.push((is_own, status));
            let mut wrong = Vec::new();
            match lend {
                None if status != 404 || !is_own => wrong.push(format!("{status} instead of 404")),
                None => {}
                Some(lend) => {
                    let part = Part { status, headers: &headers, body: &body, is_whole: true };
                    wrong.extend(self.judge_lend(lend, &part, false, span, receipt));
                    if [502, 504].contains(&status) && is_own {
                        open.push(lend.clone());
                    }
                }
            }
            if is_own {
                receipt.parts.push(index);
                wrong.extend(own_body(status, &body, &[]));
                if headers("content-type") != ["application/json"] {
                    wrong.push("no content-type".to_owned());
                }
                if status >= 500 {
                    receipt.fails = true;
                }
            }
            told.extend(wrong.into_iter().map(|it| format!("entry {index}: {it}")));
        }
        let is_refused = |it: &(bool, u16)| it.0 && [401, 404].contains(&it.1);
        if outcomes.iter().all(is_refused) && outcomes.iter().any(|it| it.1 == 401) {
            told.push("200 for a batch that has nothing for its caller".to_owned());
        }
        // Its log line has the kind of the first that failed, whichever that is.
        receipt.errors.clear();
        told
    }

    fn judge_ready(
        &self,
        shown: &Shown,
        reply: &Reply,
        is_head: bool,
        span: Span,
        receipt: &mut Receipt,
    ) -> Vec<String> {
        let mut told = own_answer(reply, is_head, &["result"]);
        let (admitted, perhaps_not) = self.admission(&[ADMIN], &shown.surely, &shown.perhaps, span);
        let mut right: BTreeSet<u16> = if perhaps_not { [401].into() } else { BTreeSet::new() };
        if !admitted.is_empty() {
            let all = || {
                self.scene.secrets.names().map(|it| self.scene.secrets.possible(it, span.0, span.1))
            };
            if all().all(|states| states.iter().any(|it| it.error(false).is_none())) {
                right.insert(200);
            }
            if all().any(|states| states.iter().any(|it| it.error(false).is_some())) {
                right.insert(503);
            }
        }
        if !right.contains(&reply.status) {
            told.push(format!("{} instead of {right:?}", reply.status));
        }
        receipt.callers = admitted;
        if !is_head && [200, 503].contains(&reply.status) {
            let bindings = json_of(&reply.body)["result"]["bindings"].clone();
            let count = self.scene.secrets.names().count();
            if bindings.as_object().is_none_or(|it| it.len() != count) {
                told.push("readyz names other bindings".to_owned());
            }
            for name in self.scene.secrets.names() {
                let states = self.scene.secrets.possible(name, span.0, span.1);
                let state = bindings[name]["state"].as_str().unwrap_or_default();
                if !states.iter().any(|it| it.error(false).unwrap_or("ok") == state) {
                    told.push(format!("readyz calls {name} {state}"));
                }
            }
        }
        told
    }

    fn judge_rest(
        &self,
        rest: &Rest,
        reply: &Reply,
        is_head: bool,
        span: Span,
        receipt: &mut Receipt,
    ) -> Vec<String> {
        let mut told = Vec::new();
        let is_from_api = reply.value("x-storm-answer").is_some();
        if !is_from_api {
            told.extend(own_answer(reply, is_head, &["messages", "result"]));
        }
        let (admitted, perhaps_not) =
            self.admission(&[ADMIN], &rest.shown.surely, &rest.shown.perhaps, span);
        let mut right: BTreeSet<u16> = if perhaps_not { [401].into() } else { BTreeSet::new() };
        let mut passes = false;
        if !admitted.is_empty() {
            if let Some(status) = rest.refused_account {
                right.insert(status);
            } else if let Some(status) = rest.refused {
                right.insert(status);
            } else {
                let (values, errors) = self.had(API, false, span);
                if !errors.is_empty() {
                    right.insert(500);
                    receipt.errors.extend(errors.iter().map(|kind| format!("secret_{kind}")));
                }
                if !values.is_empty() && rest.loops {
                    right.insert(500);
                    receipt.errors.insert("configuration".to_owned());
                } else if !values.is_empty() {
                    passes = true;
                    let is_no_metadata = rest.reads_its_source && rest.wish == "long";
                    if ["reset", "close", "garbage", "cut"].contains(&rest.wish) || is_no_metadata {
                        right.insert(502);
                    }
                }
            }
        }
        receipt.callers = admitted;
        match is_from_api {
            true if !passes => told.push(format!("the API's answer instead of {right:?}")),
            false if !right.contains(&reply.status) => {
                told.push(format!("{} instead of {right:?}", reply.status));
            }
            _ => {}
        }
        told
    }

    /// What arrived at the REST API in all this time: operations, made anew, with the API's token.
    /// `refused` are the tags of what must not be in any of them.
    pub fn api(&self, refused: &BTreeSet<String>) -> Vec<String> {
        let mut told = Vec::new();
        for arrival in self.scene.api.take_all().into_values().flatten() {
            // Nothing tells whose it is, so that its request may have begun as early as this.
            let begun = arrival.at.checked_sub(Duration::from_secs(20)).unwrap_or(arrival.at);
            let mut wrong = Vec::new();
            let (values, _) = self.had(API, false, (begun, arrival.at));
            let right = values.iter().map(|it| format!("Bearer {it}").into_bytes());
            wrong.extend(one_of("authorization", &arrival.values("authorization"), right));
            if arrival.values("host") != [self.scene.api.host().as_bytes()] {
                wrong.push("Host is another one".to_owned());
            }
            let known = ["host", "authorization", "cdn-loop", "content-type", "content-length"];
            for (name, value) in &arrival.headers {
                if !known.contains(&name.as_str()) {
                    wrong.push(format!("with {name}"));
                }
                if name != "authorization" && shows_a_value(value) {
                    wrong.push(format!("with a value in {name}"));
                }
            }
            let prefix = format!("/client/v4/accounts/{ACCOUNT}/secrets_store");
            match arrival.target.strip_prefix(&prefix) {
                Some(rest) if is_operation(&arrival.method, rest) => {}
                _ => wrong.push("it is no operation".to_owned()),
            }
            let body = arrival.body.as_deref().unwrap_or_default();
            let text = format!("{} {}", arrival.target, String::from_utf8_lossy(body));
            let mut tags = text.split(|c: char| !c.is_ascii_alphanumeric());
            if let Some(tag) = tags.find(|it| refused.contains(*it)) {
                wrong.push(format!("{tag} should not have"));
            }
            if shows_a_value(arrival.target.as_bytes()) {
                wrong.push("with a value in its target".to_owned());
            }
            if !body.is_empty() {
                let mut value: Value = json_of(body);
                hide_values(&mut value);
                if value.is_null() || value.to_string().contains(MARK) {
                    wrong.push("with a value where none belongs".to_owned());
                }
            }
            let what = format!("the API got {} {}", arrival.method, arrival.target);
            told.extend(wrong.into_iter().map(|it| format!("{what}: {it}")));
        }
        told
    }

    /// What is wrong with a log line, by what it should tell.
    pub fn line(&self, line: &Value, receipt: &Receipt) -> Vec<String> {
        let mut told = line_alone(line);
        let mut is = |field: &str, right: Value| {
            if line[field] != right {
                told.push(format!("the log says {field} {} and not {right}", line[field]));
            }
        };
        is("status", receipt.status.into());
        if !receipt.route.is_empty() {
            is("route", receipt.route.into());
            is("upstream", receipt.upstream.map_or(Value::Null, Value::from));
        }
        if line["retries"].as_u64().unwrap_or(0) > receipt.retries {
            told.push(format!("the log says {} retries", line["retries"]));
        }
        let error = line["error"].as_str();
        let cause = line["cause"].as_str().unwrap_or_default();
        if receipt.fails && (error.is_none() || cause.is_empty()) {
            told.push("a failure without its cause in the log".to_owned());
        }
        if receipt.fails
            && receipt.status == 500
            && !error.is_some_and(|it| receipt.errors.contains(it))
        {
            told.push(format!("the log says {error:?} and not one of {:?}", receipt.errors));
        }
        for part in &receipt.parts {
            if !cause.contains(&format!("requests[{part}]: ")) {
                told.push(format!("the cause of entry {part} is not in the log"));
            }
        }
        if let Some(callers) = line["caller"].as_str() {
            for caller in callers.split(", ") {
                if !receipt.callers.contains(caller) {
                    told.push(format!("the log says that {caller} was admitted"));
                }
            }
        } else if receipt.route == "proxy"
            && receipt.upstream != Some("open")
            && ![400, 401].contains(&receipt.status)
        {
            told.push("the log names no caller".to_owned());
        }
        told
    }
}

/// What is wrong with a log line by itself.
pub fn line_alone(line: &Value) -> Vec<String> {
    const FIELDS: [&str; 9] =
        ["request_id", "route", "upstream", "caller", "status", "ms", "retries", "error", "cause"];
    let mut told = Vec::new();
    for (name, value) in line.as_object().into_iter().flatten() {
        let is_number = ["status", "ms", "retries"].contains(&name.as_str());
        if !FIELDS.contains(&name.as_str()) || is_number != value.is_u64() {
            told.push(format!("the log has {name}"));
        }
    }
    if shows_a_value(line.to_string().as_bytes()) {
        told.push("a value in the log".to_owned());
    }
    told
}

fn is_encoded(credential: &Credential) -> bool {
    !matches!(credential.place, Place::Header { .. })
}

/// Whether a secret's value stands in these bytes, plain or as `Basic` would have it.
fn shows_a_value(bytes: &[u8]) -> bool {
    // Whatever a value begins with is aligned so after `alice:`.
    let encoded = Base64::encode_string(MARK.as_bytes());
    let text = String::from_utf8_lossy(bytes);
    text.contains(MARK) || text.contains(&encoded)
}

fn json_of(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_default()
}

/// What is wrong with an answer of the Worker's own. `extra` are the fields that it may have beside
/// `success` and `errors`.
fn own_answer(reply: &Reply, is_head: bool, extra: &[&str]) -> Vec<String> {
    let mut told = Vec::new();
    if reply.value("content-type").as_deref() != Some("application/json") {
        told.push("no content-type".to_owned());
    }
    if reply.value("cache-control").as_deref() != Some("no-store") {
        told.push("no cache-control".to_owned());
    }
    if (reply.status == 401) != (reply.value("www-authenticate").is_some()) {
        told.push("WWW-Authenticate is there or not, wrongly".to_owned());
    }
    if (reply.status == 405) != (reply.value("allow").is_some()) {
        told.push("Allow is there or not, wrongly".to_owned());
    }
    if !reply.is_whole {
        told.push("it breaks off".to_owned());
    }
    if !is_head {
        told.extend(own_body(reply.status, &reply.body, extra));
    }
    told
}

fn own_body(status: u16, body: &[u8], extra: &[&str]) -> Vec<String> {
    let envelope = json_of(body);
    if status == 200 {
        let is_right = envelope["success"] == true && envelope.get("result").is_some();
        return if is_right { Vec::new() } else { vec!["no envelope of a success".to_owned()] };
    }
    // The table of the contract; what a 400 says is its own.
    let table = [
        (400, 40001, None),
        (401, 40101, Some("Authentication required")),
        (403, 40301, Some("Path not allowed")),
        (404, 40401, Some("Not found")),
        (405, 40501, Some("Method not allowed")),
        (413, 41301, Some("Too large")),
        (500, 50001, Some("Configuration error")),
        (502, 50201, Some("Upstream unreachable")),
        (503, 50301, Some("Not ready")),
        (504, 50401, Some("Upstream timed out")),
    ];
    let Some((_, code, message)) = table.iter().find(|(known, ..)| *known == status) else {
        return vec![format!("{status} is no status of the Worker's own")];
    };
    let mut told = Vec::new();
    let errors = envelope["errors"].as_array().cloned().unwrap_or_default();
    let is_of_rest = extra.contains(&"messages");
    let Some(own) = errors.last().filter(|_| is_of_rest || errors.len() == 1) else {
        return vec![format!("{status} without its envelope")];
    };
    let says = own["message"].as_str().unwrap_or_default();
    if own["code"] != *code || message.is_some_and(|it| it != says) || says.is_empty() {
        told.push(format!("{status} with another code or message: {own}"));
    }
    if envelope["success"] != false {
        told.push(format!("{status} is a success?"));
    }
    for name in envelope.as_object().into_iter().flat_map(|it| it.keys()) {
        if !["success", "errors"].contains(&name.as_str()) && !extra.contains(&name.as_str()) {
            told.push(format!("the envelope has {name}"));
        }
    }
    if is_of_rest
        && (envelope["messages"] != json!([])
            || !envelope.get("result").is_some_and(Value::is_null))
    {
        told.push("the REST API's envelope is not whole".to_owned());
    }
    told
}

/// The statuses of an upstream's answer that may come back, and those of the Worker's own, once a
/// request has reached its upstream.
fn outcomes(lend: &Lend, is_head: bool, elapsed: Duration) -> (BTreeSet<u16>, BTreeSet<u16>) {
    let (mut passing, mut own) = (BTreeSet::new(), BTreeSet::new());
    // Never before its time.
    if elapsed >= lend.lender.timeout {
        own.insert(504);
    }
    if !lend.lender.is_there {
        own.insert(502);
        return (passing, own);
    }
    match lend.wish {
        "hang" => {}
        "reset" | "close" | "cut-head" | "garbage" | "odd-status" | "no-status" => {
            _ = own.insert(502)
        }
        // The runtime's own limits, which are another's elsewhere.
        "huge-header" | "many-headers" | "two-lengths" | "obs-text" | "early" | "early-hints" => {
            passing.insert(200);
            own.insert(502);
        }
        "unasked-101" => _ = own.insert(502),
        "long" if lend.in_batch => _ = own.insert(413),
        "cut" | "bad-chunk" | "bad-gzip" if lend.in_batch => _ = own.insert(502),
        "cut" if is_head => {
            passing.insert(200);
            own.insert(502);
        }
        "401" => _ = passing.insert(401),
        "401-once" => passing.extend([200, 401]),
        "redirect" => _ = passing.insert(302),
        "redirect-to-itself" => _ = passing.insert(307),
        "empty" => _ = passing.insert(204),
        "not-modified" => _ = passing.insert(304),
        "html" => _ = passing.insert(502),
        "socket" => _ = passing.insert(101),
        wish => {
            let status = wish.strip_prefix("status-").and_then(|it| it.parse().ok());
            passing.insert(status.unwrap_or(200));
        }
    }
    (passing, own)
}

fn wrong_body(lend: &Lend, part: &Part<'_>) -> Option<String> {
    let is = |right: &[u8]| part.is_whole && part.body == right;
    let is_right = match lend.wish {
        "ok" | "chunked" | "slow" | "many-headers" => is(BODY.as_bytes()),
        "long" => part.is_whole && part.body.len() == LONG_BODY,
        // A batch hands back text; otherwise nobody unpacks what only goes through.
        "gzip" if lend.in_batch => is(BODY.as_bytes()),
        "gzip" => is(PACKED_BODY),
        "bad-gzip" => is(b"not packed at all"),
        "binary" => is(b"\x89PNG\xff\x00"),
        "cut" | "bad-chunk" => !part.is_whole,
        _ => true,
    };
    (!is_right)
        .then(|| format!("{} bytes of {}, whole: {}", part.body.len(), lend.wish, part.is_whole))
}

/// It stands there once, and is one of the right ones.
fn one_of(
    name: &str,
    values: &[&[u8]],
    mut right: impl Iterator<Item = Vec<u8>>,
) -> Option<String> {
    match values {
        [value] if right.any(|it| it == *value) => None,
        [_] => Some(format!("with another value in {name}")),
        [] => Some(format!("without {name}")),
        _ => Some(format!("with {} times {name}", values.len())),
    }
}

fn wrong_target(
    lend: &Lend,
    target: &str,
    query: Option<(&'static str, BTreeSet<String>)>,
) -> Vec<String> {
    let mut told = Vec::new();
    let lender = lend.lender;
    let (path, parameters) = target.split_once('?').unwrap_or((target, ""));
    // As a server reads them; then what is left is as it was.
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let name_of = |it: &&str| decoded(&it.split('=').next().unwrap_or_default().replace('+', " "));
    let mut sent = lend.path.clone();
    if let Some((name, values)) = query {
        let own: Vec<&str> = parameters.split('&').filter(|it| name_of(it) == name).collect();
        let is_right =
            |own: &str| values.iter().any(|it| own == format!("{name}={}", unreserved(it)));
        match own.as_slice() {
            [own] if is_right(own) => {}
            [_] => told.push(format!("with another value in the query's {name}")),
            _ => told.push(format!("with {} times {name} in the query", own.len())),
        }
        let (path, rest) = lend.path.split_once('?').unwrap_or((&lend.path, ""));
        let rest = rest.split('&').filter(|it| name_of(it) != name && !rest.is_empty());
        let rest: Vec<&str> = rest.chain(own.last().copied()).collect();
        sent = format!("{path}?{}", rest.join("&"));
    } else if target.contains(MARK) {
        told.push("with a value in the target".to_owned());
    }
    let whole = format!("{}{sent}", lender.base);
    let whole = if whole.starts_with('/') { whole } else { format!("/{whole}") };
    if lend.verdict == Verdict::Fine && target != whole {
        // Values are the only thing that could be told here.
        told.push("with another path or query".to_owned());
    }
    let below = path.strip_prefix(lender.base).filter(|it| it.is_empty() || it.starts_with('/'));
    match below {
        None => told.push("outside the base URL".to_owned()),
        Some(below) => {
            let is_in = |pattern: &&str| match pattern.strip_suffix('*') {
                Some(prefix) => below.starts_with(prefix),
                None => below == *pattern,
            };
            if !lender.paths.is_empty() && !lender.paths.iter().any(is_in) {
                told.push("outside the upstream's paths".to_owned());
            }
        }
    }
    if could_leave(path) {
        told.push("with a dot segment".to_owned());
    }
    told
}

/// Percent-encoded, but for the unreserved characters (RFC 3986, section 2.3).
fn unreserved(text: &str) -> String {
    let encoded = utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    encoded.replace("%2D", "-").replace("%2E", ".").replace("%5F", "_").replace("%7E", "~")
}

/// Whether this is one of the API's operations, with ids that are one segment each.
fn is_operation(method: &str, path_and_query: &str) -> bool {
    let path = path_and_query.split('?').next().unwrap_or_default();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let is_id = |id: &str| {
        !id.is_empty() && id.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it))
    };
    let known: &[&str] = match segments.as_slice() {
        ["quota"] => &["GET"],
        ["stores"] => &["GET", "POST"],
        ["stores", store] if is_id(store) => &["GET", "DELETE"],
        ["stores", store, "secrets"] if is_id(store) => &["GET", "POST", "DELETE"],
        ["stores", store, "secrets", id] if is_id(store) && is_id(id) => {
            &["GET", "PATCH", "DELETE"]
        }
        ["stores", store, "secrets", id, "duplicate"] if is_id(store) && is_id(id) => &["POST"],
        _ => &[],
    };
    known.contains(&method) && !path_and_query.contains('#')
}

/// Takes the values out of what creates and changes secrets: there they belong.
fn hide_values(body: &mut Value) {
    match body {
        Value::Array(entries) => entries.iter_mut().for_each(hide_values),
        Value::Object(fields) => _ = fields.remove("value"),
        _ => {}
    }
}

/// Counts.
pub fn count<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K) {
    *counts.entry(key).or_default() += 1;
}
