//! What is measured.

use super::contender::TOKEN;

/// One kind of request.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name, in results and tables.
    pub name: &'static str,
    /// The method.
    pub method: &'static str,
    /// The path.
    pub path: String,
    /// How many bytes are sent; for a batch, its text.
    pub body: Body,
    /// Whether the caller shows its token.
    pub is_known: bool,
    /// How many requests are under way at once.
    pub connections: u32,
    /// How many requests a round has.
    pub requests: u32,
    /// The status that each of them is to have.
    pub status: u16,
    /// Mebibytes that one request carries, where that is what matters.
    pub mib: Option<u32>,
    /// Whether the pass-through can do it at all.
    pub is_for_all: bool,
    /// Whether the Worker's own part is measured as well.
    pub is_bare: bool,
}

/// What a request sends.
#[derive(Debug, Clone)]
pub enum Body {
    /// Nothing.
    None,
    /// So many bytes.
    Bytes(usize),
    /// JSON text.
    Json(String),
}

/// How many requests a full round has; a quick one has a part of them.
const REQUESTS: u32 = 4000;

impl Scenario {
    fn get(name: &'static str, path: &str) -> Self {
        Self {
            name,
            method: "GET",
            path: path.to_owned(),
            body: Body::None,
            is_known: true,
            connections: 16,
            requests: REQUESTS,
            status: 200,
            mib: None,
            is_for_all: true,
            is_bare: false,
        }
    }

    /// All that is measured by CPU time.
    pub fn all() -> Vec<Self> {
        let get = Self::get;
        let keys = |name, count| Self {
            requests: REQUESTS / 2,
            is_for_all: false,
            is_bare: [1, 16].contains(&count),
            ..get(name, &format!("/proxy/keys_{count}/small"))
        };
        let large =
            |name, path| Self { connections: 2, requests: 2, mib: Some(64), ..get(name, path) };
        let batch = |count| {
            let entry = r#"{"upstream":"bearer","method":"GET","path":"/small"}"#;
            format!(r#"{{"requests":[{}]}}"#, vec![entry; count].join(","))
        };
        vec![
            Self { is_bare: true, ..get("GET, small", "/proxy/bearer/small") },
            Self {
                method: "POST",
                body: Body::Bytes(10 * 1024),
                ..get("POST, 10 KiB", "/proxy/bearer/small")
            },
            keys("1 credential", 1),
            keys("2 credentials", 2),
            keys("4 credentials", 4),
            keys("8 credentials", 8),
            keys("16 credentials", 16),
            Self {
                is_known: false,
                status: 401,
                is_for_all: false,
                ..get("caller refused", "/proxy/bearer/small")
            },
            Self {
                method: "POST",
                body: Body::Json(batch(8)),
                requests: REQUESTS / 8,
                is_for_all: false,
                ..get("batch of 8", "/batch")
            },
            large("64 MiB down", "/proxy/bearer/download/64"),
            Self {
                method: "POST",
                body: Body::Bytes(64 * 1024 * 1024),
                ..large("64 MiB up", "/proxy/bearer/small")
            },
        ]
    }

    /// 16 secrets that take 100 ms each: a matter of time, not of work.
    pub fn slow_secrets() -> Self {
        Self {
            connections: 1,
            requests: 5,
            is_for_all: false,
            ..Self::get("16 secrets of 100 ms each", "/proxy/slow/small")
        }
    }

    /// A thousand requests in flight at once.
    pub fn thousand_in_flight() -> Self {
        Self {
            connections: 1000,
            requests: 1000,
            ..Self::get("1,000 in flight", "/proxy/bearer/slow/3000")
        }
    }

    /// The headers that an API client sends, as `autocannon` takes them.
    pub fn headers(&self) -> Vec<String> {
        let token = if self.is_known { TOKEN } else { "not-the-token" };
        vec![
            format!("authorization=Bearer {token}"),
            "accept=application/json".to_owned(),
            "accept-encoding=gzip, br".to_owned(),
            "user-agent=bench/1.0".to_owned(),
            "content-type=application/json".to_owned(),
            "x-client-version=1.2.3".to_owned(),
            "idempotency-key=5f1c2f0e-8a2b-4a51-9d0f-3b8f8f1f2c3d".to_owned(),
        ]
    }
}
