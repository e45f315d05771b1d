//! What is thrown: generated requests, as bytes, each with what it stands for.
//!
//! A request is made of choices whose meaning is known, and not parsed afterwards: so the oracle
//! knows what was asked without reading a path or a header as the Worker does.

use std::time::Duration;

use base64ct::{Base64, Encoding as _};
use fastrand::Rng;
use serde_json::{Map, Value, json};

use super::scene::{ADMIN, LENDERS, Lender, OWN_HOST, Place, Secrets, State};
use crate::stubs::{ACCOUNT, STORE};

/// A connection's worth of bytes.
pub struct Shot {
    pub n: u64,
    pub kind: &'static str,
    pub pieces: Vec<Piece>,
    pub end: End,
    /// One for each answer that is awaited; none where whatever comes is read.
    pub asks: Vec<Ask>,
}

impl Shot {
    pub fn begins_with(&self, text: &str) -> bool {
        matches!(self.pieces.first(), Some(Piece::Bytes(it)) if it.starts_with(text.as_bytes()))
    }
}

pub enum Piece {
    Bytes(Vec<u8>),
    Pause(Duration),
}

/// What is done when all is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The answers are read.
    Read,
    /// One side is closed, and whatever comes is read.
    HalfClose,
    /// The connection is reset after so many milliseconds.
    Reset(u64),
    /// A WebSocket, if it opens.
    Socket,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Ask {
    pub method: String,
    pub request_id: RequestId,
    pub what: What,
    /// The runtime may refuse it before the Worker sees it.
    pub is_malformed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestId {
    Good(String),
    /// None, or one that is not taken over.
    Other,
}

#[derive(Debug, Clone)]
pub enum What {
    /// A route for anyone, by its name in the log.
    Open(&'static str),
    /// A route of the Worker with a method that it has not.
    WrongMethod {
        route: &'static str,
        allow: &'static str,
    },
    Unknown,
    Ready {
        shown: Shown,
    },
    Lend(Lend),
    Batch(Batch),
    Rest(Rest),
    /// It says nothing that the rules speak of: nothing may come of it.
    Anything,
}

/// What a request shows that admits, if it is the right value.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// Where any caller's token is looked for.
    pub surely: Vec<String>,
    /// Perhaps there: the contract does not say what two of a header are.
    pub perhaps: Vec<String>,
    /// In `X-Api-Key`, where one lender's callers may show theirs.
    pub api_key: Vec<String>,
}

impl Shown {
    /// What is surely, and what is perhaps shown to this lender.
    pub fn to(&self, lender: &Lender) -> (Vec<String>, Vec<String>) {
        let (mut surely, mut perhaps) = (self.surely.clone(), self.perhaps.clone());
        let is_own = lender
            .credentials
            .iter()
            .any(|it| matches!(it.place, Place::Header { name: "x-api-key", .. }));
        match self.api_key.as_slice() {
            _ if !is_own => {}
            [one] => surely.push(one.clone()),
            several => perhaps.extend(several.iter().cloned()),
        }
        (surely, perhaps)
    }
}

/// A request to an upstream: by `/proxy`, by host, or in a batch.
#[derive(Debug, Clone)]
pub struct Lend {
    /// What stands in `x-storm`.
    pub id: String,
    pub lender: &'static Lender,
    pub method: String,
    /// What goes after the base URL.
    pub path: String,
    pub verdict: Verdict,
    pub shown: Shown,
    /// `CDN-Loop` names this gateway.
    pub loops: bool,
    pub wish: &'static str,
    pub body: Body,
    /// All headers that were sent, named in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Those that must arrive as they are.
    pub kept: Vec<(String, Vec<u8>)>,
    /// Those that must not, beside the ones that the contract names.
    pub dropped: Vec<String>,
    pub by_host: bool,
    pub in_batch: bool,
    /// The runtime's constructor of requests may refuse it (in a batch: 400).
    pub is_odd: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on byte for byte.
    Fine,
    /// 403.
    Refused,
    /// Either; what arrives must still be below the base URL.
    Unsure,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    None,
    Whole {
        bytes: Vec<u8>,
        can_be_repeated: bool,
    },
    /// It never ends.
    Broken,
}

#[derive(Debug, Clone)]
pub enum Batch {
    /// Each entry, or none for an upstream that there is not.
    Entries(Vec<Option<Lend>>),
    /// Malformed: this status.
    Refused(u16),
}

#[derive(Debug, Clone)]
pub struct Rest {
    pub shown: Shown,
    /// The status of the refusal for the account's sake; none for the settings' own.
    pub refused_account: Option<u16>,
    /// The status of the Worker's own refusal; none where the API is asked.
    pub refused: Option<u16>,
    /// What stands in what the API gets, and in nothing else.
    pub tag: String,
    pub loops: bool,
    /// A duplicate without scopes: the Worker reads the answer about its source.
    pub reads_its_source: bool,
    /// What the API is to do, if not to answer.
    pub wish: &'static str,
}

pub struct Maker<'a> {
    pub random: Rng,
    pub n: u64,
    pub host: &'a str,
    pub decoy: String,
    pub secrets: &'a Secrets,
    /// Ids of secrets that the REST API has told.
    pub known_ids: &'a [String],
    headers: Vec<(String, Vec<u8>)>,
    kept: Vec<(String, Vec<u8>)>,
    dropped: Vec<String>,
    is_malformed: bool,
}

const USUAL: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];
const ODD: [&str; 12] = [
    "TRACE", "OPTIONS", "PROPFIND", "PURGE", "get", "Post", "TRACK", "FOO", "M-SEARCH", "CONNECT",
    "QUERY", "G\u{cb}T",
];
/// Wishes that an upstream fulfils, by how often they are wished.
const WISHES: [&str; 44] = [
    "gzip",
    "bad-gzip",
    "early-hints",
    "unasked-101",
    "ok",
    "ok",
    "ok",
    "ok",
    "ok",
    "ok",
    "ok",
    "ok",
    "401",
    "401-once",
    "401-once",
    "401-once",
    "redirect",
    "redirect-to-itself",
    "empty",
    "not-modified",
    "reset",
    "close",
    "cut",
    "cut-head",
    "garbage",
    "odd-status",
    "no-status",
    "huge-header",
    "many-headers",
    "obs-text",
    "two-lengths",
    "chunked",
    "bad-chunk",
    "long",
    "binary",
    "slow",
    "early",
    "html",
    "status-201",
    "status-404",
    "status-429",
    "status-500",
    "status-503",
    "status-400",
];
/// What a path may be made of, to see whether it leaves.
const ATOMS: [&str; 58] = [
    "..",
    ".",
    "%2e%2e",
    "%2E.",
    ".%2e",
    "%252e%252e",
    "%25252e%25252e",
    "%2525252525252e.",
    "..;",
    "..;x=1",
    "%2e%2e%2f",
    "..%2f",
    "..%5c",
    "..\\",
    "\\..\\",
    "%c0%ae%c0%ae",
    "%u002e%u002e",
    "\u{ff0e}\u{ff0e}",
    "..%00",
    "%00..",
    "..%3b",
    "..%3f",
    "..%23",
    "%09..",
    "..%20",
    "%2e%2e%0a",
    "...",
    "..a",
    "a..",
    ".a",
    "a",
    "charges",
    "customers",
    "x%2fy",
    "%",
    "%zz",
    "%ff",
    "\u{e9}",
    "%e0%80%ae%e0%80%ae",
    "a;b=c",
    "a:b",
    "@",
    "http:",
    "%68ttp",
    "~",
    "*",
    "..%c0%af",
    "..%252f",
    "%5c..%5c",
    "\u{2025}",
    "\u{ff0f}..",
    "%u2025",
    "..%u2215",
    "%25%32%65%25%32%65",
    "%ef%bc%8e%ef%bc%8e",
    "..%ef%bc%8f",
    "....//",
    "..%e2%80%8b",
];
const CLEAN: [&str; 18] = [
    "",
    "/",
    "/a/b",
    "//a///b/",
    "/%61%2F%2f%zz",
    "/a;b=c,d:@!$&()*+~",
    "/x?",
    "/x?a=b+c&d=%41&&e?f=/../g",
    "?q",
    "/a..b/...",
    "/.well-known/x",
    "/long",
    "/%2561%252f/x%25252e",
    "/x?key=mine&a=1",
    "/x?a&k%65y=mine&key",
    "/x?key=1&KEY=2&key=3",
    "/x?monkey=1&key%00=2&&",
    "?key=%2e%2e",
];
const NARROW: [&str; 6] = [
    "/charges",
    "/charges?limit=1",
    "/customers/",
    "/customers/1/cards",
    "/customers/a..b",
    "/customers//x?key=1",
];
const OUTSIDE: [&str; 7] =
    ["", "/", "/charges/", "/customers", "/refunds", "/Charges", "/charges%2f"];

impl<'a> Maker<'a> {
    pub fn new(
        random: Rng,
        n: u64,
        host: &'a str,
        decoy: String,
        secrets: &'a Secrets,
        known_ids: &'a [String],
    ) -> Self {
        Self {
            random,
            n,
            host,
            decoy,
            secrets,
            known_ids,
            headers: Vec::new(),
            kept: Vec::new(),
            dropped: Vec::new(),
            is_malformed: false,
        }
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.random.usize(..of.len())]
    }

    fn chance(&mut self, one_in: u32) -> bool {
        self.random.u32(..one_in) == 0
    }

    pub fn shot(&mut self) -> Shot {
        match self.random.u32(..100) {
            0..=3 => self.health(),
            4..=5 => self.unknown(),
            6..=8 => self.ready(),
            9..=46 => self.proxy("proxy", false),
            47..=58 => self.proxy("hostile path", true),
            59..=71 => self.batch(),
            72..=83 => self.rest(),
            84..=86 => self.socket(),
            87..=91 => self.broken_off(),
            92..=94 => self.pipelined(),
            _ => self.garbage(),
        }
    }

    fn id(&self) -> String {
        format!("t{}x", self.n)
    }

    fn header(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
    }

    // --- What any request may have ---

    fn request_id(&mut self) -> RequestId {
        let good = format!("storm.{}_{:x}", self.n, self.random.u64(..));
        match self.random.u32(..12) {
            0 => RequestId::Other,
            1 => {
                let bad: [&[u8]; 9] = [
                    b"",
                    b"has space",
                    b"quo\"te",
                    b"<script>",
                    b"\xff\xfe",
                    b"a\tb",
                    b"../x",
                    b"{\"a\":1}",
                    b"a,b",
                ];
                let bad = self.pick(&bad);
                self.header("x-request-id", bad);
                RequestId::Other
            }
            2 => {
                let length = 129 + self.random.usize(..4000);
                self.header("X-Request-ID", "x".repeat(length));
                RequestId::Other
            }
            3 => {
                // Two become one with a comma in it.
                self.header("x-request-id", &good);
                self.header("x-request-id", &good);
                RequestId::Other
            }
            4 => {
                let long = format!("{good}{}", "l".repeat(128 - good.len()));
                self.header("X-REQUEST-ID", &long);
                RequestId::Good(long)
            }
            _ => {
                self.header("x-request-id", &good);
                RequestId::Good(good)
            }
        }
    }

    /// Headers that end at the gateway, that go on, and that are odd.
    fn junk(&mut self) {
        for _ in 0..self.random.u32(..5) {
            match self.random.u32(..30) {
                0 => self.header("Cookie", "session=1; other=2"),
                1 => self.header("cookie", "a=b"),
                2 => self.header("CF-Connecting-IP", "192.0.2.1"),
                3 => self.header("cf-ray", "1-FRA"),
                4 => self.header("Cf-Access-Jwt-Assertion", "e30.e30.x"),
                5 => self.header("X-Forwarded-For", "192.0.2.1, 127.0.0.1"),
                6 => self.header("x-forwarded-host", self.decoy.clone()),
                7 => self.header("X-Forwarded-Anything", "1"),
                8 => self.header("X-Real-IP", "192.0.2.1"),
                9 => self.header("True-Client-IP", "192.0.2.1"),
                10 => self.header("TE", "trailers"),
                11 => self.header("Keep-Alive", "timeout=5"),
                12 => self.header("Proxy-Connection", "keep-alive"),
                13 => self.header("Proxy-Authenticate", "Basic realm=x"),
                14 => self.header("Trailer", "x-t"),
                // One `Connection`: in a batch's JSON there is room for one alone.
                15 if self.dropped.is_empty() => {
                    let name = format!("X-Hop-{}", self.n % 7);
                    let connection = self.pick(&["keep-alive, ", "", "close ,\t", ",,"]);
                    self.header("Connection", format!("{connection}{name}"));
                    self.header(&name, "1");
                    self.dropped.push(name.to_ascii_lowercase());
                }
                16 => {
                    self.header("X-Odd", b"\xff\xfe\xe9");
                }
                17 => self.header("X-Utf8", "\u{fc}\u{2713}"),
                18 => {
                    // Where a runtime would warn of bytes beyond ASCII, it might quote them.
                    let token = self.a_token("S_TOKEN_A");
                    self.header("X-Odd-Token", format!("\u{fc} {token}"));
                }
                19 => {
                    let size = self.pick(&[100, 8_000, 30_000]);
                    self.header("X-Huge", "h".repeat(size));
                }
                20 => {
                    for index in 0..self.random.u32(..60) {
                        self.header(&format!("X-Many-{index}"), "1");
                    }
                }
                21 => {
                    let (name, value) = self.pick(&[
                        ("Accept-Encoding", "gzip, br"),
                        ("Expect", "100-continue"),
                        ("Range", "bytes=0-1"),
                        ("If-None-Match", "*"),
                        ("Max-Forwards", "0"),
                        ("Upgrade", "h2c"),
                        ("Via", "1.1 other"),
                        ("Service-Worker", "script"),
                    ]);
                    self.header(name, value);
                }
                22 => self.header("Origin", "null"),
                23 => self.header("X-HTTP-Method-Override", "DELETE"),
                24 => self.header("X-Original-URL", "/readyz"),
                25 => self.header("Forwarded", "for=192.0.2.1;host=a"),
                26 => self.header("CDN-Loop", "other.example; loops=1"),
                27 => {
                    let value = self.pick(&["text/x-own", "application/json; charset=utf-8"]);
                    self.header("Content-Type", value);
                }
                _ => {
                    let name = format!("x-kept-{}", self.headers.len());
                    let value =
                        self.pick(&["1", "a, b", "\"quoted\"", "5 = five; q=0.1", "=?utf-8?q?"]);
                    self.header(&name, value);
                    self.kept.push((name, value.into()));
                }
            }
        }
    }

    // --- Tokens ---

    /// The value that a token has now; an old or a broken one where it has none.
    fn a_token(&mut self, binding: &str) -> String {
        match self.secrets.now(binding) {
            State::Value(value) | State::BeyondAscii(value) => value,
            State::LineBreak(value) => value.trim_end().to_owned(),
            State::Empty => String::new(),
            State::Null => "null".to_owned(),
            State::Undefined => "undefined".to_owned(),
            State::Number => "5".to_owned(),
            _ => self.secrets.stale(binding).unwrap_or_default(),
        }
    }

    fn wrong_token(&mut self, right: &str, binding: &str) -> String {
        match self.random.u32(..8) {
            0 => String::new(),
            1 => " ".to_owned(),
            2 => right.chars().take(right.chars().count().saturating_sub(1)).collect(),
            3 => format!("{right}x"),
            4 => right.to_ascii_uppercase(),
            5 => self.secrets.stale(binding).unwrap_or_default(),
            6 => "S_TOKEN_A".to_owned(),
            _ => "wrong".to_owned(),
        }
    }

    /// Shows tokens where any caller may, and where this lender's own client puts its key.
    fn show(&mut self, callers: &[&'static str]) -> Shown {
        let mut shown = Shown::default();
        let binding = match callers {
            [] => "S_TOKEN_A",
            _ => self.pick(callers),
        };
        let right = self.a_token(binding);
        let (token, is_right) = match self.random.u32(..20) {
            0 => return shown,
            1..=2 => (self.wrong_token(&right, binding), false),
            3 => {
                let other = self.pick(&["S_TOKEN_A", "S_TOKEN_B", ADMIN, "S_KEY_A", "S_API"]);
                (self.a_token(other), false)
            }
            _ => (right.clone(), true),
        };
        // A value beyond ASCII is no token anywhere; as bytes in a header it is a hostile one.
        let place = self.random.u32(..16);
        // Only the one lender whose own header it is, which has two callers, looks there.
        let by_key = callers.len() == 2 || self.chance(4);
        match place {
            0..=6 | 11..=12 if place < 7 || !by_key => {
                let scheme = self.pick(&["Bearer ", "bearer  ", "bEaReR ", "BEARER "]);
                self.header("Authorization", format!("{scheme}{token}"));
                shown.surely.push(token.clone());
            }
            7..=8 => {
                self.header("Proxy-Authorization", format!("Bearer {token}"));
                shown.surely.push(token.clone());
            }
            9..=10 => {
                let user = self.pick(&["", "user", "5", "\u{fc}"]);
                let pair = Base64::encode_string(format!("{user}:{token}").as_bytes());
                self.header("authorization", format!("Basic {pair}"));
                shown.surely.push(token.clone());
            }
            11..=12 => {
                self.header("X-Api-Key", &token);
                shown.api_key.push(token.clone());
            }
            13 => {
                // Twice: the runtime makes one of them, and whether that admits is nobody's promise.
                self.header("Authorization", format!("Bearer {token}"));
                self.header("AUTHORIZATION", format!("Bearer {token}"));
                shown.perhaps.push(token.clone());
            }
            14 => {
                // Where none is looked for.
                match self.random.u32(..6) {
                    0 => self.header("Authorization", &token),
                    1 => self.header("Authorization", format!("Digest {token}")),
                    2 => {
                        let pair = Base64::encode_string(format!("user:{token}").as_bytes());
                        self.header("Proxy-Authorization", format!("Basic {pair}"));
                    }
                    3 => self.header("X-Api-Token", &token),
                    4 => self.header("Cookie", format!("token={token}")),
                    _ => {
                        let pair = Base64::encode_string(format!("{token}:").as_bytes());
                        self.header("Authorization", format!("Basic {pair}"));
                    }
                }
            }
            _ => {
                // A right one beside a wrong one.
                self.header("Proxy-Authorization", format!("Bearer {token}"));
                self.header("Authorization", "Bearer somebody-elses");
                shown.surely.push(token.clone());
            }
        }
        if is_right && self.chance(4) {
            // The same token where it has no business, which goes on nowhere.
            let (name, value) = match self.random.u32(..5) {
                0 => ("X-Anything", format!("key={token};q=1")),
                1 => ("Referer", format!("http://a.example/?t={token}&b")),
                2 => ("X-Api-Key", token.clone()),
                3 => ("X-Basic", {
                    let pair = Base64::encode_string(format!("u:{token}").as_bytes());
                    format!("Basic {pair}")
                }),
                _ => ("X-Storm-Token", token.clone()),
            };
            if name == "X-Api-Key" {
                shown.api_key.push(token.clone());
            }
            self.header(name, value);
        }
        // The runtime trims what stands at a header's end.
        for token in shown.surely.iter_mut().chain(&mut shown.perhaps).chain(&mut shown.api_key) {
            *token = token.trim().to_owned();
        }
        shown
    }

    // --- The kinds ---

    fn health(&mut self) -> Shot {
        let method =
            if self.chance(4) { self.odd_method() } else { self.pick(&["GET", "HEAD"]).to_owned() };
        let (route, path) = self.pick(&[("healthz", "/healthz"), ("root", "/")]);
        let what = if ["GET", "HEAD"].contains(&method.as_str()) {
            What::Open(route)
        } else {
            What::WrongMethod { route, allow: "GET, HEAD" }
        };
        let query = self.pick(&["", "?x", "?5=%00", "?//"]);
        self.junk();
        self.simple(route, &method, &format!("{path}{query}"), what)
    }

    fn odd_method(&mut self) -> String {
        let method = match self.random.u32(..10) {
            0..=3 => self.pick(&USUAL).to_owned(),
            4 => "A".repeat(self.random.usize(1..3000)),
            _ => self.pick(&ODD).to_owned(),
        };
        // The runtime knows a list of methods, and answers CONNECT by itself.
        self.is_malformed |= !USUAL.contains(&method.as_str());
        method
    }

    fn unknown(&mut self) -> Shot {
        let target = self.pick(&[
            "//",
            "/nowhere",
            "/proxy",
            "/proxy/",
            "/proxy/nobody/x",
            "/healthz/",
            "/Readyz",
            "/batch/",
            "/proxy/One/x",
            "/proxy/%6fne/x",
            "/proxy/one%2fx",
            "//proxy/one/x",
            "/%70roxy/one/x",
            "/client/v4/user",
            "/client/v4/accounts/x/workers",
            "/favicon.ico",
            "/.env",
            "/proxy/constructor/x",
            "/proxy/__proto__/x",
            "/proxy/one\\x",
        ]);
        self.is_malformed |= target.contains('\\');
        let _ = self.show(&["S_TOKEN_A"]);
        self.junk();
        let method = self.pick(&USUAL);
        let what = if target.contains('\\') { What::Anything } else { What::Unknown };
        self.simple("unknown route", method, target, what)
    }

    fn ready(&mut self) -> Shot {
        let method = if self.chance(6) { "POST" } else { self.pick(&["GET", "HEAD"]) };
        let shown = self.show(&[ADMIN]);
        self.junk();
        let what = match method {
            "POST" => What::WrongMethod { route: "readyz", allow: "GET, HEAD" },
            _ => What::Ready { shown },
        };
        self.simple("readyz", method, "/readyz", what)
    }

    fn simple(&mut self, kind: &'static str, method: &str, target: &str, what: What) -> Shot {
        let request_id = self.request_id();
        let head = self.head(method, target, None);
        let ask =
            Ask { method: method.to_owned(), request_id, what, is_malformed: self.is_malformed };
        Shot { n: self.n, kind, pieces: vec![Piece::Bytes(head)], end: End::Read, asks: vec![ask] }
    }

    /// The head of a request with the headers that were chosen, in any order.
    fn head(&mut self, method: &str, target: &str, host: Option<&str>) -> Vec<u8> {
        let mut headers = std::mem::take(&mut self.headers);
        self.random.shuffle(&mut headers);
        let host = host.unwrap_or(self.host);
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n").into_bytes();
        for (name, value) in headers {
            head.extend(name.bytes());
            head.extend(b": ");
            head.extend(value);
            head.extend(b"\r\n");
        }
        head.extend(b"\r\n");
        head
    }

    fn path(&mut self, lender: &Lender) -> (String, Verdict) {
        if lender.paths.is_empty() {
            return (self.pick(&CLEAN).to_owned(), Verdict::Fine);
        }
        match self.chance(3) {
            true => (self.pick(&OUTSIDE).to_owned(), Verdict::Refused),
            false => (self.pick(&NARROW).to_owned(), Verdict::Fine),
        }
    }

    fn hostile_path(&mut self) -> (String, Verdict) {
        let mut path = String::new();
        for _ in 0..self.random.u32(1..6) {
            path.push_str(self.pick(&["/", "/", "/", "//", "\\", "%2f", ""]));
            path.push_str(self.pick(&ATOMS));
        }
        if !path.starts_with('/') {
            path.insert(0, '/');
        }
        match self.random.u32(..12) {
            0 => path.push_str("?a=/../../b"),
            1 => path.push_str("#/../x"),
            2 => path.push_str("?#"),
            3 => path.push_str(&"/a".repeat(self.random.usize(..3000))),
            4 => {
                path.push_str(
                    self.pick(&["\u{1}", "\t", " /x", "\u{0}", "\u{7f}", "\r/x", "\u{b}.."]),
                );
            }
            _ => {}
        }
        self.is_malformed |= path.bytes().any(|byte| !byte.is_ascii_graphic());
        let leaves = could_leave(path.split(['?', '#']).next().unwrap_or_default());
        (path, if leaves { Verdict::Refused } else { Verdict::Unsure })
    }

    fn lend(&mut self, is_hostile: bool) -> (Lend, RequestId) {
        let lender = &LENDERS[self.random.usize(..LENDERS.len())];
        let (path, verdict) = if is_hostile { self.hostile_path() } else { self.path(lender) };
        let method = match self.random.u32(..12) {
            0 if !is_hostile => self.odd_method(),
            1..=6 => "GET".to_owned(),
            7..=8 => "POST".to_owned(),
            _ => self.pick(&USUAL).to_owned(),
        };
        let shown = self.show(lender.callers);
        let request_id = self.request_id();
        self.junk();
        let by_host = !lender.hosts.is_empty() && self.chance(2);
        let loops = self.chance(40);
        if loops {
            self.header("CDN-Loop", format!("a.example;x=1, {}", self.host.to_ascii_uppercase()));
        }
        let wish = match lender.name {
            "quick" => self.pick(&["hang", "ok", "slow", "hang"]),
            _ => self.pick(&WISHES),
        };
        let lend = Lend {
            id: self.id(),
            lender,
            method,
            path,
            verdict,
            shown,
            loops,
            wish,
            body: Body::None,
            headers: Vec::new(),
            kept: Vec::new(),
            dropped: Vec::new(),
            by_host,
            in_batch: false,
            is_odd: false,
        };
        (lend, request_id)
    }

    fn proxy(&mut self, kind: &'static str, is_hostile: bool) -> Shot {
        let (mut lend, request_id) = self.lend(is_hostile);
        let method = lend.method.clone();
        self.header("X-Storm", lend.id.clone());
        self.header("x-storm-do", lend.wish);
        let (body, mut pieces) = match method.as_str() {
            "GET" | "HEAD" => (Body::None, Vec::new()),
            _ => self.body(),
        };
        lend.body = body;
        let shot_end = if lend.body == Body::Broken { End::Reset(20) } else { End::Read };
        let (target, host) = if lend.by_host {
            let host = self.pick(&[
                OWN_HOST,
                "OWN.storm.example:8080",
                "own.storm.example.",
                "own.storm.example:1",
            ]);
            // No path at all is none on the wire.
            let path = match lend.path.as_str() {
                "" => "/".to_owned(),
                path if path.starts_with('?') => format!("/{path}"),
                path => path.to_owned(),
            };
            lend.path.clone_from(&path);
            // The gateway's name is another one here.
            lend.loops = false;
            (path, Some(host))
        } else {
            (format!("/proxy/{}{}", lend.lender.name, lend.path), None)
        };
        lend.headers = self.sent();
        lend.kept = std::mem::take(&mut self.kept);
        lend.dropped = std::mem::take(&mut self.dropped);
        let head = self.head(&method, &target, host);
        pieces.insert(0, Piece::Bytes(head));
        let ask =
            Ask { method, request_id, what: What::Lend(lend), is_malformed: self.is_malformed };
        Shot { n: self.n, kind, pieces, end: shot_end, asks: vec![ask] }
    }

    fn sent(&self) -> Vec<(String, Vec<u8>)> {
        self.headers
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
            .collect()
    }

    /// A body, with the headers that announce it.
    fn body(&mut self) -> (Body, Vec<Piece>) {
        let size = match self.random.u32(..10) {
            0 => return (Body::None, Vec::new()),
            1 => 0,
            2 => 64 * 1024,
            3 => 64 * 1024 + 1,
            4 => 200_000,
            _ => self.random.usize(1..2000),
        };
        let mut bytes = vec![0; size];
        self.random.fill(&mut bytes);
        match self.random.u32(..10) {
            // Chunked, at once or with pauses.
            0..=2 => {
                self.header("Transfer-Encoding", "chunked");
                let mut pieces = Vec::new();
                for chunk in bytes.chunks(self.random.usize(1000..70_000)) {
                    let mut piece = format!("{:x}\r\n", chunk.len()).into_bytes();
                    piece.extend(chunk);
                    piece.extend(b"\r\n");
                    pieces.push(Piece::Bytes(piece));
                    if self.chance(3) {
                        pieces.push(Piece::Pause(Duration::from_millis(15)));
                    }
                }
                pieces.push(Piece::Bytes(b"0\r\n\r\n".to_vec()));
                (Body::Whole { bytes, can_be_repeated: false }, pieces)
            }
            3 => {
                self.header("Content-Length", (size + 10).to_string());
                (Body::Broken, vec![Piece::Bytes(bytes)])
            }
            4 if size > 1 => {
                self.header("Content-Length", size.to_string());
                let (first, rest) = bytes.split_at(size / 2);
                let pieces = vec![
                    Piece::Bytes(first.to_vec()),
                    Piece::Pause(Duration::from_millis(30)),
                    Piece::Bytes(rest.to_vec()),
                ];
                (Body::Whole { bytes, can_be_repeated: size <= 64 * 1024 }, pieces)
            }
            _ => {
                self.header("Content-Length", size.to_string());
                let pieces = vec![Piece::Bytes(bytes.clone())];
                (Body::Whole { bytes, can_be_repeated: size <= 64 * 1024 }, pieces)
            }
        }
    }

    fn batch(&mut self) -> Shot {
        // The token in the way that every lender knows, or in one's own.
        let asked = &LENDERS[self.random.usize(..LENDERS.len())];
        let shown = self.show(asked.callers);
        let request_id = self.request_id();
        self.junk();
        // What a batch's own headers are is no entry's affair.
        self.kept.clear();
        self.dropped.clear();
        let loops = self.chance(40);
        if loops {
            self.header("CDN-Loop", self.host);
        }
        let outer = std::mem::take(&mut self.headers);
        let (body, batch) = match self.random.u32(..12) {
            0 => self.malformed_batch(),
            _ => {
                let count = self.pick(&[1, 1, 2, 3, 5, 16]);
                let mut entries = Vec::new();
                let mut lends = Vec::new();
                for index in 0..count {
                    let (entry, lend) = self.entry(index, loops, &shown);
                    entries.push(entry);
                    lends.push(lend);
                }
                (json!({ "requests": entries }).to_string().into_bytes(), Batch::Entries(lends))
            }
        };
        self.headers = outer;
        let mut pieces = Vec::new();
        if self.chance(4) {
            self.header("Transfer-Encoding", "chunked");
            let mut chunked = format!("{:x}\r\n", body.len()).into_bytes();
            chunked.extend(&body);
            chunked.extend(b"\r\n0\r\n\r\n");
            if body.is_empty() {
                chunked = b"0\r\n\r\n".to_vec();
            }
            pieces.push(Piece::Bytes(chunked));
        } else {
            self.header("Content-Length", body.len().to_string());
            pieces.push(Piece::Bytes(body));
        }
        let head = self.head("POST", "/batch", None);
        pieces.insert(0, Piece::Bytes(head));
        let ask = Ask {
            method: "POST".to_owned(),
            request_id,
            what: What::Batch(batch),
            is_malformed: self.is_malformed,
        };
        Shot { n: self.n, kind: "batch", pieces, end: End::Read, asks: vec![ask] }
    }

    fn entry(&mut self, index: usize, loops: bool, shown: &Shown) -> (Value, Option<Lend>) {
        if self.chance(12) {
            let name = self.pick(&["nobody", "", "One", "../one", "__proto__"]);
            return (json!({ "upstream": name }), None);
        }
        let lender = &LENDERS[self.random.usize(..LENDERS.len())];
        let id = format!("{}.{index}", self.id());
        let (mut path, mut verdict) = match self.chance(5) {
            true => self.hostile_path(),
            false => self.path(lender),
        };
        if path.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'#') {
            // A batch takes no such path: it would be malformed as a whole.
            (path, verdict) = ("/%2e%2e/x".to_owned(), Verdict::Refused);
        }
        self.is_malformed = false;
        let method = match self.random.u32(..10) {
            0 => self.pick(&["TRACE", "FOO", "OPTIONS", "delete", "PURGE", "CONNECT"]),
            1..=5 => "GET",
            _ => "POST",
        };
        let mut entry = json!({ "upstream": lender.name, "method": method, "path": path });
        self.headers.clear();
        self.junk();
        if self.chance(6) {
            // An entry's own headers admit nobody, and carry no token on.
            let token = self.a_token("S_TOKEN_A");
            self.header("X-Entry-Token", format!("Bearer {token}"));
            self.header("Authorization", format!("Bearer {token}"));
        }
        let wish = match lender.name {
            "quick" => self.pick(&["hang", "ok", "slow"]),
            _ => self.pick(&WISHES),
        };
        self.header("X-Storm", &id);
        self.header("X-Storm-Do", wish);
        let mut body = Body::None;
        let has_body = method != "GET" && self.chance(2) || self.chance(30);
        if has_body {
            let size = self.pick(&[0, 1, 100, 64 * 1024, 64 * 1024 + 1]);
            let text: String = (0..size).map(|_| char::from(self.random.u8(b' '..=b'~'))).collect();
            entry["body"] = text.as_str().into();
            body = Body::Whole { bytes: text.into_bytes(), can_be_repeated: size <= 64 * 1024 };
        }
        let mut headers = Map::new();
        let is_ascii =
            |value: &[u8]| value.iter().all(|it| it.is_ascii_graphic() || b" \t".contains(it));
        for (name, value) in std::mem::take(&mut self.headers) {
            if is_ascii(&value) {
                headers.insert(name, String::from_utf8(value).unwrap().into());
            }
        }
        let sent = headers.iter().map(|(name, value)| {
            (name.to_ascii_lowercase(), value.as_str().unwrap().as_bytes().to_vec())
        });
        let sent: Vec<_> = sent.collect();
        entry["headers"] = headers.into();
        let is_known = ["GET", "POST", "OPTIONS", "delete", "PURGE"].contains(&method);
        let is_odd = !is_known || (method == "GET" && has_body);
        let lend = Lend {
            id,
            lender,
            // The runtime writes the usual ones in capitals.
            method: if method == "delete" { "DELETE" } else { method }.to_owned(),
            path,
            verdict,
            shown: shown.clone(),
            loops,
            wish,
            body,
            headers: sent,
            kept: std::mem::take(&mut self.kept),
            dropped: std::mem::take(&mut self.dropped),
            by_host: false,
            in_batch: true,
            is_odd,
        };
        (entry, Some(lend))
    }

    fn malformed_batch(&mut self) -> (Vec<u8>, Batch) {
        let one = json!({ "upstream": "open", "path": "/x" });
        let with = |field: &str, value: Value| {
            let mut entry = one.clone();
            entry[field] = value;
            json!({ "requests": [one, entry] }).to_string().into_bytes()
        };
        let (body, status) = match self.random.u32(..22) {
            0 => (Vec::new(), 400),
            1 => (b"{".to_vec(), 400),
            2 => (b"[]".to_vec(), 400),
            3 => (json!({ "requests": [] }).to_string().into_bytes(), 400),
            4 => (json!({ "requests": {} }).to_string().into_bytes(), 400),
            5 => (json!({ "requests": vec![one.clone(); 17] }).to_string().into_bytes(), 413),
            6 => (b"{\"requests\":[\"\xff\xfe\"]}".to_vec(), 400),
            7 => (with("url", json!("http://decoy.invalid/")), 400),
            8 => (with("path", json!("x")), 400),
            9 => (with("path", json!("@127.0.0.1:1/x")), 400),
            10 => (with("path", json!("/a#b")), 400),
            11 => (with("path", json!("/a b\r\nx: y")), 400),
            12 => (with("headers", json!({ "x y": "1" })), 400),
            13 => (with("headers", json!({ "x": "1\r\nX-Storm: smuggled" })), 400),
            14 => (with("headers", json!({ "x": "\u{fc}" })), 400),
            15 => (with("headers", json!([["x", "1"]])), 400),
            16 => (with("method", json!("G T")), 400),
            17 => (with("method", json!(7)), 400),
            18 => (with("upstream", json!({ "a": 1 })), 400),
            19 => ("[".repeat(100_000).into_bytes(), 400),
            20 => (b"{\"requests\":[{\"upstream\":\"\\ud800\"}]}".to_vec(), 400),
            _ => (vec![b' '; (1 << 20) + 1 + self.random.usize(..100_000)], 413),
        };
        (body, Batch::Refused(status))
    }

    fn rest(&mut self) -> Shot {
        let shown = self.show(&[ADMIN]);
        let request_id = self.request_id();
        self.junk();
        let loops = self.chance(60);
        if loops {
            self.header("CDN-Loop", self.host);
        }
        let tag = self.id();
        let (account, refused_account) = if !self.chance(12) {
            (ACCOUNT, None)
        } else {
            match self.pick(&["0123456789abcdef0123456789abcdef", "", "..", "%2e%2e", "*"]) {
                "" => ("", Some(404)),
                another => (another, Some(403)),
            }
        };
        let (method, path, body, refused, wish) = self.operation(&tag);
        let target = format!("/client/v4/accounts/{account}/secrets_store{path}");
        let has_scopes = body.as_ref().is_some_and(|it| it.windows(6).any(|it| it == b"scopes"));
        let reads_its_source = path.ends_with("/duplicate") && !has_scopes;
        let mut pieces = Vec::new();
        if let Some(body) = body {
            self.header("Content-Length", body.len().to_string());
            pieces.push(Piece::Bytes(body));
        }
        let head = self.head(method, &target, None);
        pieces.insert(0, Piece::Bytes(head));
        let rest = Rest { shown, refused_account, refused, tag, loops, reads_its_source, wish };
        let ask = Ask {
            method: method.to_owned(),
            request_id,
            what: What::Rest(rest),
            is_malformed: self.is_malformed,
        };
        Shot { n: self.n, kind: "REST API", pieces, end: End::Read, asks: vec![ask] }
    }

    /// An operation, right or wrong: its method, path and body, the status with which it is refused,
    /// and what the API is to do.
    fn operation(
        &mut self,
        tag: &str,
    ) -> (&'static str, String, Option<Vec<u8>>, Option<u16>, &'static str) {
        let secrets = format!("/stores/{STORE}/secrets");
        let known = match self.known_ids {
            [] => tag.to_owned(),
            ids => ids[self.random.usize(..ids.len())].clone(),
        };
        let id = if self.chance(2) { tag.to_owned() } else { known };
        let one = format!("{secrets}/{id}");
        let new = |name: &str| json!({ "name": name, "value": format!("5ecret value of {name}"), "scopes": ["workers"] });
        let text = |body: Value| Some(body.to_string().into_bytes());
        let get = |path: String| ("GET", path, None, None, "");
        match self.random.u32(..32) {
            0 => get("/quota".to_owned()),
            1 => get("/stores?page=1&per_page=5&order=name&direction=desc".to_owned()),
            2 => get(format!("/stores/{STORE}")),
            3 => get(format!("/stores/{tag}")),
            4 => get(format!("{secrets}?search={tag}&scopes=workers,ai-gateway&order=status")),
            5 => get(format!("{secrets}?per_page=100")),
            6 => get(one),
            7 => ("POST", "/stores".to_owned(), text(json!({ "name": tag })), None, ""),
            8..=9 => ("POST", secrets, text(new(tag)), None, ""),
            10 => ("POST", secrets, text(json!([new(tag), new(&format!("{tag}b"))])), None, ""),
            11 => {
                ("PATCH", one, text(json!({ "value": "5ecret rotated", "comment": tag })), None, "")
            }
            12..=13 => ("DELETE", one, None, None, ""),
            14 => ("DELETE", secrets, text(json!({ "secret_ids": [id, tag] })), None, ""),
            15 => {
                let body = json!({ "name": format!("{tag}copy") });
                ("POST", format!("{one}/duplicate"), text(body), None, "")
            }
            16 => {
                let body = json!({ "name": format!("{tag}copy"), "scopes": ["dex"] });
                ("POST", format!("{one}/duplicate"), text(body), None, "")
            }
            // The API misbehaves.
            17 => {
                let wish = self
                    .pick(&["html", "redirect", "reset", "close", "cut", "garbage", "long", "401"]);
                ("GET", format!("/stores/do-{wish}-{tag}"), None, None, wish)
            }
            18 => {
                let wish = self.pick(&["html", "redirect", "reset", "cut", "long"]);
                let path = format!("/stores/do-{wish}-{tag}/secrets/b2/duplicate");
                ("POST", path, text(json!({ "name": tag })), None, wish)
            }
            // What is refused.
            19 => ("POST", secrets, text(json!({ "name": tag, "value": "5ecret" })), Some(400), ""),
            20 => {
                let body = self.pick(&[
                    "",
                    "{",
                    "null",
                    "\"5ecret\"",
                    "[]",
                    "[{}]",
                    "{\"value\":[\"5ecret\"]}",
                ]);
                ("POST", secrets, Some(body.as_bytes().to_vec()), Some(400), "")
            }
            21 => {
                let mut entry = new(tag);
                entry["valeu"] = "5ecret".into();
                ("POST", secrets, text(entry), Some(400), "")
            }
            22 => {
                let mut entry = new(tag);
                entry["value"] = "5ecret ".repeat(9_400).into();
                ("POST", secrets, text(entry), Some(400), "")
            }
            23 => ("POST", secrets, Some(b"{\"name\":\"\xff\"}".to_vec()), Some(400), ""),
            24 => ("GET", format!("/stores?page=0&x={tag}"), None, Some(400), ""),
            25 => {
                let bad = self.pick(&["?order=size", "?page=x", "?scopes=x", "?per_page=-1", "?x"]);
                ("GET", format!("{secrets}{bad}"), None, Some(400), "")
            }
            26 => {
                let bad =
                    self.pick(&["..", "%2e%2e", "a%2fb", "a.b", "a;b", "%00", "a%3fb", "\u{e9}"]);
                self.is_malformed |= !bad.is_ascii();
                // The API's server would read more in it than one id.
                ("GET", format!("/stores/{bad}"), None, Some(404), "")
            }
            27 => {
                let bad = self.pick(&["/..", "/%2e%2e/x", "/%2fquota", "/.%2e", "/b2/"]);
                ("GET", format!("{secrets}{bad}"), None, Some(404), "")
            }
            28 => ("GET", format!("/nothing/{tag}"), None, Some(404), ""),
            29 => {
                let method = self.pick(&["PUT", "OPTIONS", "HEAD"]);
                (method, secrets, None, Some(405), "")
            }
            30 => ("PATCH", one, text(json!({})), Some(400), ""),
            _ if self.chance(4) => {
                let body = vec![b'['; (8 << 20) + 1];
                ("POST", secrets, Some(body), Some(413), "")
            }
            _ => ("DELETE", secrets, text(json!({ "secret_ids": ["../x"] })), Some(400), ""),
        }
    }

    fn socket(&mut self) -> Shot {
        let (mut lend, request_id) = self.lend(false);
        lend.method = "GET".to_owned();
        lend.wish = if self.chance(4) { self.pick(&["ok", "401", "garbage"]) } else { "socket" };
        if lend.lender.name == "quick" {
            lend.wish = "hang";
        }
        lend.by_host = false;
        self.is_malformed = false;
        // A wish for two protocols is not for a WebSocket alone; then an upstream may as well be asked
        // for none.
        let is_upgrades = |name: &str| ["connection", "upgrade"].contains(&name);
        self.headers.retain(|(name, _)| !is_upgrades(&name.to_ascii_lowercase()));
        self.kept.clear();
        self.dropped.clear();
        self.header("X-Storm", lend.id.clone());
        self.header("X-Storm-Do", lend.wish);
        self.header("Connection", "Upgrade");
        self.header("Upgrade", "websocket");
        self.header("Sec-WebSocket-Version", "13");
        self.header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
        lend.headers = self.sent();
        let target = format!("/proxy/{}{}", lend.lender.name, lend.path);
        let head = self.head("GET", &target, None);
        let ask = Ask {
            method: "GET".to_owned(),
            request_id,
            what: What::Lend(lend),
            is_malformed: false,
        };
        Shot {
            n: self.n,
            kind: "WebSocket",
            pieces: vec![Piece::Bytes(head)],
            end: End::Socket,
            asks: vec![ask],
        }
    }

    /// A good request whose caller goes away: in the middle of it, or before the answer.
    fn broken_off(&mut self) -> Shot {
        let mut shot = match self.random.u32(..3) {
            0 => self.batch(),
            1 => self.rest(),
            _ => self.proxy("proxy", false),
        };
        let in_the_middle = self.chance(2);
        let wait = self.pick(&[0, 1, 5, 20, 60]);
        if in_the_middle && let Some(Piece::Bytes(last)) = shot.pieces.last_mut() {
            last.truncate(self.random.usize(..=last.len()));
        }
        shot.kind = "broken off";
        shot.end = End::Reset(wait);
        shot
    }

    /// Several requests at once on one connection, whose answers come in their order.
    fn pipelined(&mut self) -> Shot {
        let mut asks = Vec::new();
        let mut bytes = Vec::new();
        for index in 0..self.random.usize(2..6) {
            let (mut method, mut target) = ("GET", "/healthz".to_owned());
            let (what, request_id) = match self.random.u32(..4) {
                0 => {
                    method = self.pick(&["GET", "HEAD"]);
                    self.junk();
                    (What::Open("healthz"), self.request_id())
                }
                1 => {
                    target = "/nowhere".to_owned();
                    (What::Unknown, self.request_id())
                }
                _ => {
                    let (mut lend, request_id) = self.lend(false);
                    lend.id = format!("{}.{index}", self.id());
                    lend.method = method.to_owned();
                    // Nothing that ends the connection.
                    lend.wish = self.pick(&["ok", "401-once", "slow", "status-404", "chunked"]);
                    lend.by_host = false;
                    self.header("X-Storm", lend.id.clone());
                    self.header("X-Storm-Do", lend.wish);
                    lend.headers = self.sent();
                    lend.kept = std::mem::take(&mut self.kept);
                    target = format!("/proxy/{}{}", lend.lender.name, lend.path);
                    (What::Lend(lend), request_id)
                }
            };
            self.kept.clear();
            self.dropped.clear();
            // `Connection: close` would end it here.
            self.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("connection"));
            bytes.extend(self.head(method, &target, None));
            let method = method.to_owned();
            asks.push(Ask { method, request_id, what, is_malformed: false });
        }
        self.is_malformed = false;
        Shot {
            n: self.n,
            kind: "pipelined",
            pieces: vec![Piece::Bytes(bytes)],
            end: End::Read,
            asks,
        }
    }

    /// What is no HTTP, or not surely: nothing may come of it, and none of the requests that hide in
    /// it may arrive anywhere.
    fn garbage(&mut self) -> Shot {
        let hidden = format!(
            "GET /proxy/one/hidden HTTP/1.1\r\nHost: {}\r\nX-Storm: {}.hidden\r\n\r\n",
            self.host,
            self.id()
        );
        let host = self.host.to_owned();
        let decoy = self.decoy.clone();
        let id = self.id();
        let post = |headers: &str, body: &str| {
            format!(
                "POST /proxy/one/x HTTP/1.1\r\nHost: {host}\r\nX-Storm: {id}\r\n{headers}\r\n{body}"
            )
            .into_bytes()
        };
        let bytes = match self.random.u32(..26) {
            0 => (0..self.random.usize(1..500)).map(|_| self.random.u8(..)).collect(),
            1 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            2 => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            3 => b"GET\r\n\r\n".to_vec(),
            4 => format!("GET /healthz HTTP/9.9\r\nHost: {host}\r\n\r\n").into_bytes(),
            5 => b"GET /healthz HTTP/1.0\r\n\r\n".to_vec(),
            6 => b"GET /healthz HTTP/1.1\r\n\r\n".to_vec(),
            7 => format!("GET /healthz HTTP/1.1\nHost: {host}\n\n").into_bytes(),
            8 => format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nHost: {decoy}\r\n\r\n")
                .into_bytes(),
            9 => format!("GET http://{decoy}/proxy/one/x HTTP/1.1\r\nHost: {host}\r\n\r\n")
                .into_bytes(),
            10 => {
                format!("GET http://{OWN_HOST}/x HTTP/1.1\r\nHost: {host}\r\nX-Storm: {id}\r\n\r\n")
                    .into_bytes()
            }
            11 => format!("GET * HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes(),
            12 => format!("CONNECT {decoy} HTTP/1.1\r\nHost: {decoy}\r\n\r\n").into_bytes(),
            13 => {
                format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n folded: x\r\n\r\n").into_bytes()
            }
            14 => format!("GET /healthz HTTP/1.1\r\nHost : {host}\r\nX y: z\r\n\r\n").into_bytes(),
            15 => format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nX: a\0b\r\n\r\n").into_bytes(),
            16 => {
                let host = self.pick(&[
                    "",
                    "a b",
                    "evil/proxy/one/x?",
                    "[::1",
                    "user@own.storm.example",
                    "own.storm.example\\",
                    "%6f",
                    "..",
                    "x\u{0}y",
                    "#",
                    "own.storm.example#",
                ]);
                format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nX-Storm: {id}\r\n\r\n")
                    .into_bytes()
            }
            17 => post(
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                &format!("0\r\n\r\n{hidden}"),
            ),
            18 => {
                post(&format!("Content-Length: {}\r\nContent-Length: 5\r\n", hidden.len()), &hidden)
            }
            19 => post("Transfer-Encoding: xchunked\r\n", &hidden),
            20 => post("Transfer-Encoding: chunked, identity\r\n", &format!("0\r\n\r\n{hidden}")),
            21 => post("Content-Length: -1\r\n", &hidden),
            22 => post("Content-Length: +5\r\n", "hello"),
            23 => post("Transfer-Encoding: chunked\r\n", &format!("ffffffffffffffff\r\n{hidden}")),
            24 => post("Content-Length: 99999999999999999999\r\n", "x"),
            _ => {
                let mut head = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n").into_bytes();
                for index in 0..self.random.u32(..3000) {
                    head.extend(format!("X-{index}: {}\r\n", "y".repeat(40)).bytes());
                }
                head.extend(b"\r\n");
                head
            }
        };
        Shot {
            n: self.n,
            kind: "garbage",
            pieces: vec![Piece::Bytes(bytes)],
            end: End::HalfClose,
            asks: Vec::new(),
        }
    }
}

/// Whether a lenient server could read a dot segment in this path, decoding it as often as it likes.
/// Written from the contract, and not from the Worker.
pub fn could_leave(path: &str) -> bool {
    let mut text = path.as_bytes().to_vec();
    for _ in 0..8 {
        let segments = text.split(|byte| b"/\\".contains(byte));
        for segment in segments {
            let name = segment.split(|byte| b";?#\0".contains(byte)).next().unwrap_or_default();
            if matches!(name.trim_ascii(), b"." | b"..") {
                return true;
            }
        }
        let decoded = percent_encoding::percent_decode(&text).collect::<Vec<u8>>();
        if decoded == text {
            return false;
        }
        text = decoded;
    }
    // Encoded over itself more often than anybody has a reason for.
    true
}
