//! An upstream that misbehaves as it is asked to, and keeps what it gets.
//!
//! What it is to do stands in the request's `x-storm-do`, and whose request it is in `x-storm`: both
//! are headers that the gateway hands on.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use socket2::SockRef;
use tungstenite::{WebSocket, handshake::derive_accept_key, protocol::Role};

use super::scene::{BEHIND_TOKEN, listener};
use crate::client::call;

/// More than any request of the storm needs.
const LONGEST_BODY: usize = 16 << 20;

/// The body of an answer, unless another one was asked for.
pub const BODY: &str = "{\"from\":\"the upstream\"}";

/// The same, as `gzip -9` packs it.
pub const PACKED_BODY: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\xab\x56\x4a\x2b\xca\xcf\x55\xb2\x52\x2a\xc9\x48\x55\x28\x2d\x28\x2e\x29\x4a\x4d\xcc\x55\xaa\x05\x00\xb4\x96\xbc\xc1\x17\x00\x00\x00";

/// A body that no batch hands back.
pub const LONG_BODY: usize = (1 << 20) + 4096;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub method: String,
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// None where it broke off, or was not read.
    pub body: Option<Vec<u8>>,
    pub at: Instant,
}

impl Arrival {
    pub fn values(&self, name: &str) -> Vec<&[u8]> {
        let own = self.headers.iter().filter(|(own, _)| own == name);
        own.map(|(_, value)| value.as_slice()).collect()
    }

    fn text(&self, name: &str) -> String {
        self.values(name)
            .first()
            .map(|it| String::from_utf8_lossy(it).into_owned())
            .unwrap_or_default()
    }
}

/// One upstream. It runs until the tests end.
#[derive(Clone)]
pub struct Target {
    pub name: &'static str,
    address: SocketAddr,
    decoy: SocketAddr,
    /// The base URL of the REST API behind it, where there is one.
    behind: Option<String>,
    arrivals: Arc<Mutex<BTreeMap<String, Vec<Arrival>>>>,
    count: Arc<AtomicUsize>,
}

impl Target {
    pub fn start(name: &'static str, behind: Option<String>, decoy: SocketAddr) -> Self {
        let listener = listener();
        let address = listener.local_addr().unwrap();
        let target =
            Self { name, address, decoy, behind, arrivals: Arc::default(), count: Arc::default() };
        let served = target.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = served.clone();
                // A connection that breaks off is the gateway's affair.
                thread::spawn(move || served.serve(stream));
            }
        });
        target
    }

    /// As it stands in a URL and in `Host`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Takes what has arrived for this request.
    pub fn take(&self, id: &str) -> Vec<Arrival> {
        self.arrivals.lock().unwrap().remove(id).unwrap_or_default()
    }

    /// Takes all that is left.
    pub fn take_all(&self) -> BTreeMap<String, Vec<Arrival>> {
        std::mem::take(&mut *self.arrivals.lock().unwrap())
    }

    /// How many requests have come.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        // Nobody is waited for longer than the storm waits for anything.
        stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if reader.read_until(b'\n', &mut head).ok()? == 0 {
                return None;
            }
        }
        let mut headers = [httparse::EMPTY_HEADER; 512];
        let mut request = httparse::Request::new(&mut headers);
        let is_whole = request.parse(&head).is_ok_and(|it| it.is_complete());
        let arrival = Arrival {
            // What cannot be read must not go unseen.
            method: request.method.filter(|_| is_whole).unwrap_or("unreadable").to_owned(),
            target: request.path.unwrap_or_default().to_owned(),
            headers: request
                .headers
                .iter()
                .map(|it| (it.name.to_ascii_lowercase(), it.value.to_vec()))
                .collect(),
            body: None,
            at: Instant::now(),
        };
        let (id, wish) = (arrival.text("x-storm"), arrival.text("x-storm-do"));
        let (index, before) = {
            let mut arrivals = self.arrivals.lock().unwrap();
            let own = arrivals.entry(id.clone()).or_default();
            own.push(arrival.clone());
            (own.len() - 1, own.len() - 1)
        };
        self.count.fetch_add(1, Ordering::Relaxed);
        let wish = if self.behind.is_some() { api_wish(&arrival.target) } else { wish };
        if !["early", "reset"].contains(&wish.as_str()) {
            let body = read_body(&mut reader, &arrival)?;
            let mut arrivals = self.arrivals.lock().unwrap();
            if let Some(arrival) = arrivals.get_mut(&id).and_then(|own| own.get_mut(index)) {
                arrival.body = Some(body.clone());
            }
            drop(arrivals);
            if self.behind.is_some() && wish.is_empty() {
                return self.ask_behind(&mut stream, &arrival, &body);
            }
        }
        self.misbehave(&mut stream, reader, &arrival, &wish, before)
    }

    fn misbehave(
        &self,
        stream: &mut TcpStream,
        mut reader: BufReader<TcpStream>,
        arrival: &Arrival,
        wish: &str,
        before: usize,
    ) -> Option<()> {
        let plain = |status: &str, extra: &str, body: &[u8]| {
            let mut answer = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nX-Storm-Answer: {wish}\r\n\
                 X-Kept: yes\r\nServer-Timing: db;dur=1\r\nX-Request-Id: the-upstreams-own\r\n\
                 Set-Cookie: a=b\r\nset-cookie: c=d; HttpOnly\r\nKeep-Alive: timeout=5\r\n\
                 Proxy-Authenticate: Basic realm=x\r\nX-Named: by connection\r\n\
                 Connection: close, X-Named\r\n{extra}"
            )
            .into_bytes();
            if !extra.to_ascii_lowercase().contains("transfer-encoding") {
                answer.extend(format!("Content-Length: {}\r\n", body.len()).bytes());
            }
            answer.extend(b"\r\n");
            if arrival.method != "HEAD" {
                answer.extend(body);
            }
            answer
        };
        let ok = |body: &[u8]| plain("200 OK", "", body);
        let bytes = match wish {
            "401" => {
                plain("401 Unauthorized", "WWW-Authenticate: Bearer\r\n", b"another key, please")
            }
            "401-once" if before == 0 => plain("401 Unauthorized", "", b"another key, please"),
            "redirect" => plain("302 Found", &format!("Location: http://{}/\r\n", self.decoy), b""),
            "redirect-to-itself" => {
                plain("307 Temporary Redirect", &format!("Location: {}\r\n", arrival.target), b"")
            }
            "empty" => b"HTTP/1.1 204 No Content\r\nX-Storm-Answer: empty\r\nX-Kept: yes\r\n\
                Set-Cookie: a=b\r\nConnection: close\r\n\r\n"
                .to_vec(),
            "not-modified" => b"HTTP/1.1 304 Not Modified\r\nX-Storm-Answer: not-modified\r\n\
                X-Kept: yes\r\nSet-Cookie: a=b\r\nConnection: close\r\n\r\n"
                .to_vec(),
            "hang" => {
                // Until the other side goes away.
                while reader.read(&mut [0; 512]).ok()? > 0 {}
                return None;
            }
            "reset" => {
                SockRef::from(&*stream).set_linger(Some(Duration::ZERO)).ok()?;
                return None;
            }
            "close" => return None,
            "cut" => {
                let whole = ok(&[b'x'; 2000]);
                whole[..whole.len().saturating_sub(1000).max(100)].to_vec()
            }
            "cut-head" => b"HTTP/1.1 200 OK\r\nX-Storm-Answer: cut".to_vec(),
            "garbage" => b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n5ave me\r\n".to_vec(),
            "odd-status" => b"HTTP/1.1 42 Odd\r\nConnection: close\r\n\r\n".to_vec(),
            "no-status" => b"HTTP/1.1\r\n\r\n".to_vec(),
            "huge-header" => plain("200 OK", &format!("X-Huge: {}\r\n", "h".repeat(300_000)), b""),
            "many-headers" => {
                let many: String = (0..300).map(|it| format!("X-Many-{it}: {it}\r\n")).collect();
                plain("200 OK", &many, BODY.as_bytes())
            }
            "obs-text" => {
                let mut answer =
                    b"HTTP/1.1 200 OK\r\nX-Storm-Answer: obs-text\r\nX-Odd: \xff\xfe\xe9\r\n"
                        .to_vec();
                answer.extend(b"Connection: close\r\nContent-Length: 0\r\n\r\n");
                answer
            }
            "two-lengths" => {
                let mut answer = b"HTTP/1.1 200 OK\r\nX-Storm-Answer: two-lengths\r\n".to_vec();
                answer.extend(
                    b"Content-Length: 1\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
                );
                answer
            }
            "chunked" => {
                let body = format!("{:x}\r\n{BODY}\r\n0\r\n\r\n", BODY.len());
                plain("200 OK", "Transfer-Encoding: chunked\r\n", body.as_bytes())
            }
            "bad-chunk" => plain("200 OK", "Transfer-Encoding: chunked\r\n", b"zz\r\nno\r\n"),
            "long" => ok(&vec![b'l'; LONG_BODY]),
            "gzip" => plain("200 OK", "Content-Encoding: gzip\r\n", PACKED_BODY),
            "bad-gzip" => plain("200 OK", "Content-Encoding: gzip\r\n", b"not packed at all"),
            "early-hints" => {
                let mut answer = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".to_vec();
                answer.extend(ok(BODY.as_bytes()));
                answer
            }
            // A protocol that nobody asked for.
            "unasked-101" => b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                Connection: upgrade\r\nX-Storm-Answer: unasked-101\r\n\r\n"
                .to_vec(),
            "binary" => ok(b"\x89PNG\xff\x00"),
            "slow" => {
                let whole = ok(BODY.as_bytes());
                let (first, rest) = whole.split_at(whole.len() / 2);
                stream.write_all(first).ok()?;
                wait_for_nothing(stream, Duration::from_millis(60));
                rest.to_vec()
            }
            "socket" => return self.socket(stream, arrival),
            "html" => plain("502 Bad Gateway", "", b"<html>Bad gateway</html>"),
            _ => match wish.strip_prefix("status-") {
                Some(status) => plain(&format!("{status} As Asked"), "", BODY.as_bytes()),
                None => ok(BODY.as_bytes()),
            },
        };
        // Whoever hung up does not want it.
        stream.write_all(&bytes).ok()?;
        if wish == "early" {
            // What is not read would make the close a reset, which takes the answer with it.
            stream.shutdown(std::net::Shutdown::Write).ok()?;
            while reader.read(&mut [0; 4096]).ok()? > 0 {}
        }
        Some(())
    }

    fn socket(&self, stream: &mut TcpStream, arrival: &Arrival) -> Option<()> {
        let accept = derive_accept_key(arrival.values("sec-websocket-key").first()?);
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
             Set-Cookie: a=b\r\nX-Storm-Answer: socket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).ok()?;
        let mut socket = WebSocket::from_raw_socket(stream, Role::Server, None);
        while let Ok(message) = socket.read() {
            let is_close = message.is_close();
            socket.send(message).ok()?;
            if is_close {
                break;
            }
        }
        Some(())
    }

    /// Has the local REST API answer; the token that it wants is its own.
    fn ask_behind(&self, stream: &mut TcpStream, arrival: &Arrival, body: &[u8]) -> Option<()> {
        let base = self.behind.as_ref()?;
        let path = arrival.target.strip_prefix("/client/v4")?;
        let mut request = call(&arrival.method, &format!("{base}{path}")).bearer(BEHIND_TOKEN);
        if !body.is_empty() {
            request = request.body(String::from_utf8_lossy(body));
        }
        let answer = request.send();
        let head = format!(
            "HTTP/1.1 {} Answered\r\nContent-Type: application/json\r\nX-Storm-Answer: api\r\n\
             Set-Cookie: a=b\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            answer.status,
            answer.body.len()
        );
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(answer.body.as_bytes()).ok()
    }
}

/// What a request for the API is to be answered with, by the id of its store: nothing else of the
/// caller's request goes on.
fn api_wish(target: &str) -> String {
    let wish = target.split("/stores/do-").nth(1).unwrap_or_default();
    wish.split("-t").next().unwrap_or_default().to_owned()
}

/// Waits until the time is over or the other side is gone.
fn wait_for_nothing(stream: &TcpStream, time: Duration) {
    let _ = stream.set_read_timeout(Some(time));
    let _ = (&*stream).read(&mut [0]);
}

fn read_body(reader: &mut BufReader<TcpStream>, arrival: &Arrival) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    if let Ok(length) = arrival.text("content-length").parse::<usize>() {
        if length > LONGEST_BODY {
            return None;
        }
        body.resize(length, 0);
        reader.read_exact(&mut body).ok()?;
    } else if arrival.text("transfer-encoding") == "chunked" {
        // Without trailers (RFC 9112, section 7.1).
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let length = usize::from_str_radix(line.trim(), 16).ok()?;
            let mut chunk = vec![0; length + 2];
            reader.read_exact(&mut chunk).ok()?;
            if length == 0 || body.len() > LONGEST_BODY {
                break;
            }
            body.extend(&chunk[..length]);
        }
    }
    Some(body)
}

/// Where nothing has any business to be: what a redirect, an absolute URL or a `Host` names.
pub struct Decoy {
    pub address: SocketAddr,
    visits: Arc<AtomicUsize>,
}

impl Decoy {
    pub fn start() -> Self {
        let listener: TcpListener = listener();
        let decoy = Self { address: listener.local_addr().unwrap(), visits: Arc::default() };
        let visits = decoy.visits.clone();
        thread::spawn(move || {
            for _ in listener.incoming().flatten() {
                visits.fetch_add(1, Ordering::SeqCst);
            }
        });
        decoy
    }

    pub fn visits(&self) -> usize {
        self.visits.load(Ordering::SeqCst)
    }
}
