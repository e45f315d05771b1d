//! An upstream that tells what it got, byte for byte, and misbehaves on demand.
//!
//! It answers with what it got as JSON, except below these paths:
//! - `/status/<code>`: with that status and a few headers that are not to be passed on
//! - `/wants/<value>`: with 401 unless the value is in the target or a header
//! - `/hang`: never; tells the test when the other side goes away
//! - `/socket`: a WebSocket that sends back what it gets, after the credential that it got
//! - `/gate/<name>`: `first`, and when the test opens the gate, `second`
//! - `/meet/one`, `/meet/two`: when both are asked for
//! - `/cut`, `/stall`: a body that breaks off, or does not go on
//! - `/long`, `/bom`, `/binary`: more than 1 MiB, text with a byte order mark, no text
//! - `…/html`, `…/elsewhere`: a page of a proxy, a redirect
//! - `…/page`, `…/poor`: a page with status 200, an API's success with nothing in it
//! - `/flow/<name>/<MiB>`: with that many bytes, or with how many it got; counts them meanwhile
//! - `/again`: with a redirect, and a link, to the same URL
//! - `/upload/<name>`: as soon as the body's first bytes are there, tells the test
//! - `/open/<gate>`: lets those go on who wait at a gate; tells as soon as it is done
//! - `/<host of an API>/…`: as that API does

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Read, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tungstenite::{WebSocket, handshake::derive_accept_key, protocol::Role};

use crate::apis;

/// How long a test waits for something to happen on the other side.
const PATIENCE: Duration = Duration::from_secs(20);

pub const MIB: usize = 1024 * 1024;

/// What a proxy on the way says.
pub const HTML: &str = "<html>Bad gateway</html>";

/// The upstream; it runs until the tests end.
#[derive(Clone)]
pub struct Upstream {
    pub address: SocketAddr,
    events: Arc<(Mutex<BTreeSet<String>>, Condvar)>,
    seen: Arc<Mutex<BTreeMap<String, usize>>>,
    flowed: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Upstream {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let upstream =
            Self { address, events: Arc::default(), seen: Arc::default(), flowed: Arc::default() };
        let served = upstream.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = served.clone();
                // A connection that breaks off is the gateway's affair.
                thread::spawn(move || served.serve(stream));
            }
        });
        upstream
    }

    /// Tells the upstream, or whoever waits, that something has happened.
    pub fn signal(&self, event: &str) {
        self.events.0.lock().unwrap().insert(event.to_owned());
        self.events.1.notify_all();
    }

    /// Waits until it has.
    pub fn wait_for(&self, event: &str) {
        let events = self.events.0.lock().unwrap();
        let waited = self.events.1.wait_timeout_while(events, PATIENCE, |it| !it.contains(event));
        assert!(!waited.unwrap().1.timed_out(), "`{event}` did not happen");
    }

    /// Whether this happens for the first time.
    pub fn is_first(&self, event: &str) -> bool {
        self.events.0.lock().unwrap().insert(event.to_owned())
    }

    /// Whether a request for exactly this target has come.
    pub fn has_seen(&self, target: &str) -> bool {
        self.seen(target) > 0
    }

    /// How many requests for exactly this target have come.
    pub fn seen(&self, target: &str) -> usize {
        self.seen.lock().unwrap().get(target).copied().unwrap_or(0)
    }

    /// How many bytes of a body have come or gone.
    pub fn flowed(&self, name: &str) -> usize {
        self.flowed.lock().unwrap().get(name).copied().unwrap_or(0)
    }

    fn flow(&self, name: &str, bytes: usize) {
        *self.flowed.lock().unwrap().entry(name.to_owned()).or_default() += bytes;
    }

    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        // A TLS handshake (RFC 8446, section 5.1), which is none of HTTP's business.
        if reader.fill_buf().ok()?.first() == Some(&0x16) {
            answer(&mut stream, "400 Bad Request", &[], b"this is no TLS server");
            return None;
        }
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if reader.read_until(b'\n', &mut head).ok()? == 0 {
                return None;
            }
        }
        let mut headers = [httparse::EMPTY_HEADER; 128];
        let mut request = httparse::Request::new(&mut headers);
        request.parse(&head).ok()?;
        let target = request.path?;
        *self.seen.lock().unwrap().entry(target.to_owned()).or_default() += 1;
        self.signal(&format!("target {target}"));
        let header = |name: &str| {
            let found = request.headers.iter().find(|it| it.name.eq_ignore_ascii_case(name))?;
            Some(String::from_utf8_lossy(found.value).into_owned())
        };
        let path = target.split('?').next()?;
        if let Some((api, target)) = apis::of(target) {
            let body = read_body(&header, &mut reader)?;
            let method = request.method?;
            let asked = apis::Asked { method, target, head: &head, header: &header, body };
            apis::serve(self, &mut stream, api, &asked)?;
        } else if let Some(gate) = path.strip_prefix("/open/") {
            self.signal(&format!("open {gate}"));
            answer(&mut stream, "200 OK", &[], b"open");
        } else if let Some((name, count)) =
            path.strip_prefix("/flow/").and_then(|it| it.split_once('/'))
        {
            let chunk = vec![b'x'; 64 * 1024];
            let mut left = count.parse::<usize>().ok()? * MIB;
            if request.method == Some("GET") {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {left}\r\n\r\n");
                stream.write_all(head.as_bytes()).ok()?;
                while left > 0 {
                    stream.write_all(&chunk).ok()?;
                    self.flow(name, chunk.len());
                    left -= chunk.len();
                }
                return Some(());
            }
            let mut body = reader.take(left as u64);
            let mut chunk = chunk;
            while left > 0 {
                let count = body.read(&mut chunk).ok()?;
                self.flow(name, count);
                left -= count;
            }
            answer(&mut stream, "200 OK", &[], b"thanks");
        } else if let Some(name) = path.strip_prefix("/upload/") {
            let mut first = [0; 5];
            reader.read_until(b'\n', &mut Vec::new()).ok()?;
            reader.read_exact(&mut first).ok()?;
            assert_eq!(&first, b"first");
            self.signal(&format!("uploading {name}"));
            reader.read_line(&mut String::new()).ok()?;
            read_chunks(&mut reader)?;
            answer(&mut stream, "200 OK", &[], b"thanks");
        } else if let Some(name) = path.strip_prefix("/gate/") {
            let head =
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
            stream.write_all(head.as_bytes()).ok()?;
            stream.write_all(b"first\n").ok()?;
            self.wait_for(&format!("open {name}"));
            stream.write_all(b"second\n").ok()?;
        } else if path == "/socket" {
            let accept = derive_accept_key(header("sec-websocket-key")?.as_bytes());
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
                 connection: upgrade\r\nsec-websocket-accept: {accept}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).ok()?;
            let mut socket = WebSocket::from_raw_socket(stream, Role::Server, None);
            socket.send(header("authorization").unwrap_or_default().into()).ok()?;
            while let Ok(message) = socket.read() {
                let is_close = message.is_close();
                socket.send(message).ok()?;
                if is_close {
                    break;
                }
            }
        } else if let Some(code) = path.strip_prefix("/status/") {
            let headers = [
                ("location", "http://elsewhere.invalid/"),
                ("set-cookie", "a=b"),
                ("x-request-id", "the-upstreams-own"),
                ("x-kept", "yes"),
                ("server-timing", "db;dur=1"),
            ];
            answer(&mut stream, &format!("{code} Told So"), &headers, b"as you asked");
        } else if path == "/hang" {
            stream.set_read_timeout(Some(PATIENCE)).ok()?;
            if reader.read(&mut [0]).is_ok_and(|count| count == 0) {
                self.signal(&format!("gone {target}"));
            }
        } else if let Some(name) = path.strip_prefix("/meet/") {
            // Answers once both are there.
            self.signal(&format!("met {name}"));
            self.wait_for("met one");
            self.wait_for("met two");
            answer(&mut stream, "200 OK", &[], b"met");
        } else if path == "/cut" {
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this";
            stream.write_all(head.as_bytes()).ok()?;
        } else if path == "/stall" {
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this";
            stream.write_all(head.as_bytes()).ok()?;
            stream.set_read_timeout(Some(PATIENCE)).ok()?;
            // Until the other side goes away.
            reader.read_exact(&mut [0]).ok()?;
        } else if path.ends_with("/html") {
            answer(&mut stream, "502 Bad Gateway", &[("set-cookie", "a=b")], HTML.as_bytes());
        } else if path.ends_with("/page") {
            answer(&mut stream, "200 OK", &[], HTML.as_bytes());
        } else if path.ends_with("/poor") {
            answer(&mut stream, "200 OK", &[], br#"{"success":true,"result":{"id":"a"}}"#);
        } else if path.ends_with("/elsewhere") {
            answer(&mut stream, "302 Found", &[("location", "/stores/seen")], b"");
        } else if path == "/again" {
            let link = format!("<{target}>; rel=next");
            answer(&mut stream, "302 Found", &[("location", target), ("link", &link)], b"");
        } else if path == "/long" {
            answer(&mut stream, "200 OK", &[], &vec![b'x'; 1024 * 1024 + 1]);
        } else if let Some(length) = path.strip_prefix("/length/") {
            answer(&mut stream, "200 OK", &[], numbers(length.parse().ok()?).as_bytes());
        } else if path == "/bom" {
            answer(&mut stream, "200 OK", &[], b"\xef\xbb\xbftext");
        } else if path == "/binary" {
            answer(&mut stream, "200 OK", &[("content-type", "image/png")], b"\x89PNG\xff");
        } else {
            let body = read_body(&header, &mut reader)?;
            if let Some(wanted) = path.strip_prefix("/wants/")
                && !String::from_utf8_lossy(&head).replacen(wanted, "", 1).contains(wanted)
            {
                answer(&mut stream, "401 Unauthorized", &[], b"another key, please");
                return None;
            }
            let headers: Vec<Value> = request
                .headers
                .iter()
                .map(|it| json!([it.name.to_lowercase(), text(it.value)]))
                .collect();
            let got = json!({
                "method": request.method,
                "target": target,
                "headers": headers,
                "body": text(&body),
            });
            let headers = [("content-type", "application/json")];
            answer(&mut stream, "200 OK", &headers, got.to_string().as_bytes());
        }
        Some(())
    }
}

fn read_body(
    header: &impl Fn(&str) -> Option<String>,
    reader: &mut impl BufRead,
) -> Option<Vec<u8>> {
    match header("content-length") {
        Some(length) => read_exactly(reader, length.parse().ok()?),
        None if header("transfer-encoding").is_some() => read_chunks(reader),
        None => Some(Vec::new()),
    }
}

fn read_exactly(reader: &mut impl Read, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

/// A chunked body (RFC 9112, section 7.1), without trailers.
fn read_chunks(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let length = usize::from_str_radix(line.trim(), 16).ok()?;
        let chunk = read_exactly(reader, length + 2)?;
        if length == 0 {
            return Some(body);
        }
        body.extend(&chunk[..length]);
    }
}

/// Bytes as text, so that what is not UTF-8 shows.
fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap_or_else(|_| format!("{bytes:x?}"))
}

/// A text of this length, of which no part is like another.
pub fn numbers(length: usize) -> String {
    (0..)
        .flat_map(|number: u32| format!("n{number} ").into_bytes())
        .take(length)
        .map(char::from)
        .collect()
}

pub fn answer(stream: &mut TcpStream, status: &str, headers: &[(&str, &str)], body: &[u8]) {
    let mut head =
        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    // Whoever hung up does not want it.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}
