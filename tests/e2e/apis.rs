//! Stand-ins for the APIs of `docs/clients.md`: each answers to its own key alone, at its own paths, in
//! its own form, so that an official client tells whether all reached it unchanged.
//!
//! The first segment of a target names the API by its host.

use std::{io::Write as _, net::TcpStream};

use serde_json::{Value, json};

use crate::{
    client::MARK,
    stubs::TOKEN,
    upstream::{Upstream, answer},
};

/// The key of an API, by the binding that holds it.
pub fn key(binding: &str) -> String {
    format!("{MARK}-{binding}")
}

/// A request, as the API sees it.
pub struct Asked<'a> {
    pub method: &'a str,
    /// The path and the query, without the API's host.
    pub target: &'a str,
    /// Everything before the body.
    pub head: &'a [u8],
    pub header: &'a dyn Fn(&str) -> Option<String>,
    pub body: Vec<u8>,
}

impl Asked<'_> {
    fn is(&self, header: &str, value: &str) -> bool {
        (self.header)(header).as_deref() == Some(value)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The parts of a form: the name, the file's name, and the value.
    fn form(&self) -> Option<Vec<(String, Option<String>, String)>> {
        let kind = (self.header)("content-type")?;
        let (_, boundary) = kind.strip_prefix("multipart/form-data")?.split_once("boundary=")?;
        let text = self.text();
        let parts = text.strip_suffix("\r\n").unwrap_or(&text);
        let parts = parts.strip_suffix(&format!("--{boundary}--"))?;
        let between = format!("--{boundary}\r\n");
        let parts = parts.split(&between).skip(1);
        let part = |part: &str| {
            let (head, value) = part.strip_suffix("\r\n")?.split_once("\r\n\r\n")?;
            let field = |name: &str| {
                let (_, rest) = head.split_once(&format!(" {name}=\""))?;
                Some(rest.split_once('"')?.0.to_owned())
            };
            Some((field("name")?, field("filename"), value.to_owned()))
        };
        parts.map(part).collect()
    }
}

/// An answer.
pub enum Reply {
    Whole(&'static str, Vec<(&'static str, String)>, Vec<u8>),
    /// Server-sent events. Those after the first wait until the client has that one, and opens the
    /// gate of this name; without a gate they do not.
    Events(Option<String>, Vec<String>),
}

fn reply(status: &'static str, body: &Value) -> Reply {
    Reply::Whole(status, Vec::new(), body.to_string().into_bytes())
}

impl Reply {
    fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Whole(_, headers, _) = &mut self {
            headers.push((name, value.to_owned()));
        }
        self
    }
}

/// What an API answers to a request.
pub type Api = fn(&Upstream, &Asked) -> Reply;

/// The APIs, by their hosts.
const APIS: [(&str, Api); 6] = [
    ("api.openai.com", openai),
    ("api.anthropic.com", anthropic),
    ("api.stripe.com", stripe),
    ("api.github.com", github),
    ("api.mailgun.net", mailgun),
    ("maps.googleapis.com", maps),
];

/// The API that a target is for, and the target there.
pub fn of(target: &str) -> Option<(Api, &str)> {
    APIS.iter().find_map(|(host, api)| {
        let target = target.strip_prefix('/')?.strip_prefix(host)?;
        target.starts_with('/').then_some((*api, target))
    })
}

/// Answers as the API does.
pub fn serve(upstream: &Upstream, stream: &mut TcpStream, api: Api, asked: &Asked) -> Option<()> {
    let got_a_token = [asked.head, &asked.body].map(String::from_utf8_lossy);
    let reply = if got_a_token.iter().any(|it| it.contains(TOKEN)) {
        let told = json!({ "error": { "message": "the gateway's token has come here" } });
        reply("418 I'm a teapot", &told)
    } else {
        api(upstream, asked)
    };
    match reply {
        Reply::Whole(status, headers, body) => {
            let mut all = vec![("content-type", "application/json")];
            all.extend(headers.iter().map(|(name, value)| (*name, value.as_str())));
            answer(stream, status, &all, &body);
        }
        Reply::Events(gate, events) => {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
                        cache-control: no-cache\r\nconnection: close\r\n\r\n";
            stream.write_all(head.as_bytes()).ok()?;
            let mut events = events.iter();
            stream.write_all(events.next()?.as_bytes()).ok()?;
            if let Some(gate) = gate {
                upstream.wait_for(&format!("open {gate}"));
            }
            for event in events {
                stream.write_all(event.as_bytes()).ok()?;
            }
        }
    }
    Some(())
}

fn openai(_: &Upstream, asked: &Asked) -> Reply {
    let error = |status, kind: &str, code: &str, message: &str| {
        let error = json!({ "message": message, "type": kind, "param": null, "code": code });
        reply(status, &json!({ "error": error })).with("x-request-id", "req_of_openai")
    };
    if !asked.is("authorization", &format!("Bearer {}", key("OPENAI_KEY"))) {
        let message = "Incorrect API key provided";
        return error("401 Unauthorized", "invalid_request_error", "invalid_api_key", message);
    }
    match (asked.method, asked.target) {
        ("POST", "/v1/chat/completions") if !asked.is("content-type", "application/json") => {
            error("400 Bad Request", "invalid_request_error", "", "the body is no JSON")
        }
        ("POST", "/v1/chat/completions") => {
            let wanted = asked.json();
            let completion = |object: &str, name: &str, said: Value, finish: Value| {
                json!({
                    "id": "chatcmpl-1", "object": object, "created": 1, "model": wanted["model"],
                    "choices": [{ "index": 0, name: said, "finish_reason": finish }],
                })
            };
            if wanted["stream"] != true {
                let said = json!({ "role": "assistant", "content": "Hello there!" });
                let whole = completion("chat.completion", "message", said, json!("stop"));
                return reply("200 OK", &whole);
            }
            let delta = |said: Value, finish: Value| {
                let chunk = completion("chat.completion.chunk", "delta", said, finish);
                format!("data: {chunk}\n\n")
            };
            let events = vec![
                delta(json!({ "role": "assistant", "content": "Hello" }), Value::Null),
                delta(json!({ "content": " there" }), Value::Null),
                delta(json!({ "content": "!" }), Value::Null),
                delta(json!({}), json!("stop")),
                "data: [DONE]\n\n".to_owned(),
            ];
            Reply::Events(wanted["user"].as_str().map(str::to_owned), events)
        }
        // At the first try it is too much.
        ("GET", "/v1/models") if !asked.is("x-stainless-retry-count", "1") => {
            let message = "Rate limit reached";
            error("429 Too Many Requests", "requests", "rate_limit_exceeded", message)
                .with("retry-after-ms", "1")
        }
        ("GET", "/v1/models") => {
            let model =
                json!({ "id": "gpt-5", "object": "model", "created": 1, "owned_by": "openai" });
            reply("200 OK", &json!({ "object": "list", "data": [model] }))
        }
        ("POST", "/v1/files") => {
            let form = asked.form().unwrap_or_default();
            let file = form.iter().find(|(name, ..)| name == "file");
            let purpose = form.iter().find(|(name, ..)| name == "purpose");
            let (Some((_, filename, file)), Some((.., purpose))) = (file, purpose) else {
                let message = "the form has no file, or no purpose";
                return error("400 Bad Request", "invalid_request_error", "", message);
            };
            let file = json!({
                "id": "file-1", "object": "file", "bytes": file.len(), "created_at": 1,
                "filename": filename, "purpose": purpose, "status": "processed",
            });
            reply("200 OK", &file)
        }
        ("GET", "/v1/models/no-such-model") => {
            let message = "The model 'no-such-model' does not exist";
            error("404 Not Found", "invalid_request_error", "model_not_found", message)
        }
        (method, target) => {
            let message = format!("Invalid URL ({method} {target})");
            error("404 Not Found", "invalid_request_error", "unknown_url", &message)
        }
    }
}

fn anthropic(_: &Upstream, asked: &Asked) -> Reply {
    let error = |status, kind: &str, message: &str| {
        let error = json!({ "type": kind, "message": message });
        reply(status, &json!({ "type": "error", "error": error, "request_id": "req_1" }))
            .with("request-id", "req_1")
    };
    if !asked.is("x-api-key", &key("ANTHROPIC_KEY")) {
        return error("401 Unauthorized", "authentication_error", "invalid x-api-key");
    }
    if (asked.header)("anthropic-version").is_none() {
        let message = "anthropic-version: header is required";
        return error("400 Bad Request", "invalid_request_error", message);
    }
    let wanted = asked.json();
    match (asked.method, asked.target) {
        ("POST", "/v1/messages") if wanted["model"] == "no-such-model" => {
            error("404 Not Found", "not_found_error", "model: no-such-model")
        }
        ("POST", "/v1/messages") => {
            let message = |content: Value, stop: Value| {
                json!({
                    "id": "msg_1", "type": "message", "role": "assistant",
                    "model": wanted["model"], "content": content, "stop_reason": stop,
                    "stop_sequence": null, "usage": { "input_tokens": 3, "output_tokens": 3 },
                })
            };
            if wanted["stream"] != true {
                let content = json!([{ "type": "text", "text": "Hello there!" }]);
                return reply("200 OK", &message(content, json!("end_turn")));
            }
            let event = |kind: &str, mut event: Value| {
                event["type"] = json!(kind);
                format!("event: {kind}\ndata: {event}\n\n")
            };
            let delta = |text: &str| {
                let delta = json!({ "type": "text_delta", "text": text });
                event("content_block_delta", json!({ "index": 0, "delta": delta }))
            };
            let message = message(json!([]), Value::Null);
            let block = json!({ "type": "text", "text": "" });
            let end = json!({ "stop_reason": "end_turn", "stop_sequence": null });
            let begin = [
                event("message_start", json!({ "message": message })),
                event("content_block_start", json!({ "index": 0, "content_block": block })),
                event("ping", json!({})),
                delta("Hello"),
            ];
            let events = vec![
                begin.concat(),
                delta(" there"),
                delta("!"),
                event("content_block_stop", json!({ "index": 0 })),
                event("message_delta", json!({ "delta": end, "usage": { "output_tokens": 3 } })),
                event("message_stop", json!({})),
            ];
            Reply::Events(wanted["metadata"]["user_id"].as_str().map(str::to_owned), events)
        }
        ("GET", "/v1/models?limit=1") if !asked.is("x-stainless-retry-count", "1") => {
            error("529 Overloaded", "overloaded_error", "Overloaded").with("retry-after-ms", "1")
        }
        ("GET", "/v1/models?limit=1") => {
            let model = json!({
                "type": "model", "id": "claude-1", "display_name": "Claude",
                "created_at": "2026-01-01T00:00:00Z",
            });
            let page = json!({
                "data": [model], "has_more": false, "first_id": "claude-1", "last_id": "claude-1",
            });
            reply("200 OK", &page)
        }
        (method, target) => {
            error("404 Not Found", "not_found_error", &format!("{method} {target}"))
        }
    }
}

fn stripe(upstream: &Upstream, asked: &Asked) -> Reply {
    let error = |status, mut error: Value, message: &str| {
        error["message"] = json!(message);
        reply(status, &json!({ "error": error })).with("request-id", "req_1")
    };
    let invalid = json!({ "type": "invalid_request_error" });
    if !asked.is("authorization", &format!("Bearer {}", key("STRIPE_KEY"))) {
        return error("401 Unauthorized", invalid, "Invalid API Key provided");
    }
    let customer = |id: &str| json!({ "id": id, "object": "customer", "email": "a@example.com" });
    let page = |ids: &[&str], has_more: bool| {
        let data: Vec<Value> = ids.iter().map(|id| customer(id)).collect();
        let page = json!({
            "object": "list", "url": "/v1/customers", "has_more": has_more, "data": data,
        });
        reply("200 OK", &page)
    };
    match (asked.method, asked.target) {
        ("POST", "/v1/customers") if asked.text() == "email=a%40example.com" => {
            let Some(key) = (asked.header)("idempotency-key") else {
                return error("400 Bad Request", invalid, "no idempotency key");
            };
            // At the first try, it is not a good moment.
            if upstream.is_first(&format!("idempotency key {key}")) {
                let kind = json!({ "type": "api_error" });
                return error("503 Service Unavailable", kind, "Try again");
            }
            reply("200 OK", &customer("cus_1"))
        }
        ("GET", "/v1/customers?limit=2") => page(&["cus_1", "cus_2"], true),
        ("GET", "/v1/customers?limit=2&starting_after=cus_2") => page(&["cus_3"], false),
        ("POST", "/v1/charges") => {
            let kind = json!({ "type": "card_error", "code": "card_declined", "charge": "ch_1" });
            error("402 Payment Required", kind, "Your card was declined.")
        }
        (method, target) => {
            let message = format!("Unrecognized request URL ({method}: {target}).");
            error("404 Not Found", invalid, &message)
        }
    }
}

/// `{"full_name":"o/r","private":false}`, packed by gzip.
const PACKED: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\x4a\x2b\xcd\xc9\x89\xcf\x4b\xcc\x4d\x55\xb2\x52\xca\xd7\x2f\x52\xd2\x51\x2a\x28\xca\x2c\x4b\x2c\x01\xf2\xd3\x12\x73\x8a\x53\x6b\x01\xa0\x63\x53\x6c\x23\x00\x00\x00";

fn github(_: &Upstream, asked: &Asked) -> Reply {
    let error = |status: &'static str, message: &str| {
        let error = json!({
            "message": message, "documentation_url": "https://docs.github.com/rest",
            "status": status[..3],
        });
        reply(status, &error)
    };
    if !asked.is("authorization", &format!("token {}", key("GITHUB_TOKEN"))) {
        return error("401 Unauthorized", "Bad credentials");
    }
    match (asked.method, asked.target) {
        ("GET", "/repos/o/r") => {
            Reply::Whole("200 OK", vec![("content-encoding", "gzip".to_owned())], PACKED.to_vec())
        }
        ("GET", "/repos/o/r/issues?per_page=1") => {
            let next = "<https://api.github.com/repositories/1/issues?per_page=1&page=2>";
            reply("200 OK", &json!([{ "number": 1 }]))
                .with("link", &format!("{next}; rel=\"next\""))
        }
        ("GET", "/repositories/1/issues?per_page=1&page=2") => {
            reply("200 OK", &json!([{ "number": 2 }]))
        }
        _ => error("404 Not Found", "Not Found"),
    }
}

fn mailgun(_: &Upstream, asked: &Asked) -> Reply {
    let message = |status, message: &str| reply(status, &json!({ "message": message }));
    // Base64 of `api:` and the key, by another program.
    if !asked.is("authorization", "Basic YXBpOjVlY3JldC1NQUlMR1VOX0tFWQ==") {
        return Reply::Whole("401 Unauthorized", Vec::new(), b"Forbidden".to_vec())
            .with("content-type", "text/plain");
    }
    match (asked.method, asked.target) {
        ("POST", "/v3/mg.example.com/messages") => {
            let form = asked.form().unwrap_or_default();
            let has = |wanted: &str| form.iter().any(|(name, ..)| name == wanted);
            let attached = form.iter().find(|(name, ..)| name == "attachment");
            if !has("to") {
                return message("400 Bad Request", "to parameter is missing");
            }
            let length = attached.map_or(0, |(.., file)| file.len());
            let queued = json!({
                "id": "<1@mg.example.com>", "message": format!("Queued, {length} bytes attached"),
            });
            reply("200 OK", &queued)
        }
        _ => message("404 Not Found", "Domain not found"),
    }
}

fn maps(_: &Upstream, asked: &Asked) -> Reply {
    let wanted = format!("/maps/api/geocode/json?address=Berlin&key={}", key("MAPS_KEY"));
    if (asked.method, asked.target) == ("GET", wanted.as_str()) {
        reply("200 OK", &json!({ "status": "OK", "results": [] }))
    } else {
        reply("200 OK", &json!({ "status": "REQUEST_DENIED", "results": [] }))
    }
}
