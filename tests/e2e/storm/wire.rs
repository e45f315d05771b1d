//! Raw connections: what no HTTP client would send, and whatever comes back.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    thread,
    time::{Duration, Instant},
};

use socket2::SockRef;
use tungstenite::{Message, WebSocket, protocol::Role};

use super::shots::{End, Piece, Shot};

/// How long an answer may take. The longest that is right: two `.get()`s that hang one after the
/// other, two tries at an upstream that hangs, and a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    /// It did not break off.
    pub is_whole: bool,
    /// The text that a WebSocket sent back.
    pub echoed: Option<String>,
}

impl Reply {
    pub fn values(&self, name: &str) -> Vec<String> {
        let own = self.headers.iter().filter(|(own, _)| own == name);
        own.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
    }

    pub fn value(&self, name: &str) -> Option<String> {
        self.values(name).into_iter().next()
    }
}

/// What came of a shot.
pub struct Result {
    pub replies: Vec<Reply>,
    /// Every byte that came back.
    pub bytes: Vec<u8>,
    pub sent: Instant,
    pub done: Instant,
    /// Why there are no more replies.
    pub end: Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All that were awaited are there.
    Well,
    /// The other side closed.
    Closed,
    /// Nothing came for too long.
    TimedOut,
    /// What came is no HTTP.
    Garbage,
    /// We broke it off.
    BrokenOff,
}

/// Sends a shot on a connection of its own, and reads what comes.
pub fn fire(address: &str, shot: &Shot) -> Result {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let sent = Instant::now();
    let mut connection = Connection { stream, bytes: Vec::new(), read: 0 };
    let mut replies = Vec::new();
    let end = thread::scope(|scope| {
        let writer = connection.stream.try_clone().unwrap();
        let size: usize = shot.pieces.iter().map(Piece::len).sum();
        if size > 512 * 1024 {
            // More than the buffers on the way are sure to take: whoever answers early does not read
            // it all.
            scope.spawn(move || write(&writer, &shot.pieces));
        } else {
            write(&writer, &shot.pieces);
        }
        match shot.end {
            End::Reset(after) => {
                // Whatever comes meanwhile is looked at too.
                let _ = connection.more(Instant::now() + Duration::from_millis(after));
                let _ = SockRef::from(&connection.stream).set_linger(Some(Duration::ZERO));
                let _ = connection.stream.shutdown(Shutdown::Both);
                Ended::BrokenOff
            }
            End::HalfClose => {
                let _ = connection.stream.shutdown(Shutdown::Write);
                loop {
                    match connection.reply(false) {
                        Ok(reply) => replies.push(reply),
                        Err(end) => break end,
                    }
                }
            }
            End::Read | End::Socket => {
                let mut end = Ended::Well;
                for ask in &shot.asks {
                    match connection.reply(ask.method == "HEAD") {
                        Ok(reply) => replies.push(reply),
                        Err(ended) => {
                            end = ended;
                            break;
                        }
                    }
                }
                if let [reply] = replies.as_mut_slice()
                    && reply.status == 101
                {
                    reply.echoed = connection.echo(&format!("hello {}", shot.n));
                }
                end
            }
        }
    });
    Result { replies, bytes: connection.bytes, sent, done: Instant::now(), end }
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Pause(_) => 0,
        }
    }
}

/// Writes as far as the other side takes it; what it says to that is read.
fn write(mut stream: &TcpStream, pieces: &[Piece]) {
    for piece in pieces {
        let written = match piece {
            Piece::Bytes(bytes) => stream.write_all(bytes),
            Piece::Pause(time) => {
                // A slow caller is what is tried here; there is nothing to wait for.
                thread::sleep(*time);
                Ok(())
            }
        };
        if written.is_err() {
            return;
        }
    }
}

struct Connection {
    stream: TcpStream,
    bytes: Vec<u8>,
    /// How many of them have been read as replies.
    read: usize,
}

impl Connection {
    /// Reads some more.
    fn more(&mut self, deadline: Instant) -> std::result::Result<(), Ended> {
        let mut buffer = [0; 64 * 1024];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Ended::TimedOut);
            }
            self.stream.set_read_timeout(Some(left)).unwrap();
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(Ended::Closed),
                Ok(length) => {
                    self.bytes.extend(&buffer[..length]);
                    return Ok(());
                }
                Err(error)
                    if [ErrorKind::WouldBlock, ErrorKind::TimedOut, ErrorKind::Interrupted]
                        .contains(&error.kind()) => {}
                Err(_) => return Err(Ended::Closed),
            }
        }
    }

    fn reply(&mut self, is_head: bool) -> std::result::Result<Reply, Ended> {
        let deadline = Instant::now() + PATIENCE;
        let mut reply = loop {
            let mut headers = [httparse::EMPTY_HEADER; 1024];
            let mut response = httparse::Response::new(&mut headers);
            match response.parse(&self.bytes[self.read..]) {
                Ok(httparse::Status::Complete(length)) => {
                    let reply = Reply {
                        status: response.code.unwrap_or(0),
                        headers: response
                            .headers
                            .iter()
                            .map(|it| (it.name.to_ascii_lowercase(), it.value.to_vec()))
                            .collect(),
                        body: Vec::new(),
                        is_whole: true,
                        echoed: None,
                    };
                    self.read += length;
                    // 100 says to go on.
                    if reply.status == 100 {
                        continue;
                    }
                    break reply;
                }
                Ok(httparse::Status::Partial) => self.more(deadline)?,
                Err(_) => return Err(Ended::Garbage),
            }
        };
        if is_head || matches!(reply.status, 101 | 204 | 304) {
            return Ok(reply);
        }
        if reply.values("transfer-encoding").concat() == "chunked" {
            self.chunks(&mut reply, deadline)?;
        } else if let Some(length) = reply.value("content-length").and_then(|it| it.parse().ok()) {
            reply.is_whole = self.have(length, deadline)?;
            let end = self.bytes.len().min(self.read + length);
            reply.body = self.bytes[self.read..end].to_vec();
            self.read = end;
        } else {
            loop {
                match self.more(deadline) {
                    Ok(()) => {}
                    Err(Ended::Closed) => break,
                    Err(end) => return Err(end),
                }
            }
            reply.body = self.bytes[self.read..].to_vec();
            self.read = self.bytes.len();
        }
        Ok(reply)
    }

    /// Whether so many bytes came before the other side closed.
    fn have(&mut self, length: usize, deadline: Instant) -> std::result::Result<bool, Ended> {
        while self.bytes.len() < self.read + length {
            match self.more(deadline) {
                Ok(()) => {}
                Err(Ended::Closed) => return Ok(false),
                Err(end) => return Err(end),
            }
        }
        Ok(true)
    }

    fn chunks(&mut self, reply: &mut Reply, deadline: Instant) -> std::result::Result<(), Ended> {
        loop {
            let line = loop {
                if let Some(end) = self.bytes[self.read..].iter().position(|it| *it == b'\n') {
                    break &self.bytes[self.read..self.read + end];
                }
                let before = self.bytes.len() - self.read;
                if !self.have(before + 1, deadline)? {
                    reply.is_whole = false;
                    return Ok(());
                }
            };
            let text = String::from_utf8_lossy(line).trim().to_owned();
            let skipped = line.len() + 1;
            let Ok(length) = usize::from_str_radix(&text, 16) else { return Err(Ended::Garbage) };
            self.read += skipped;
            if !self.have(length + 2, deadline)? {
                reply.body.extend(&self.bytes[self.read..]);
                self.read = self.bytes.len();
                reply.is_whole = false;
                return Ok(());
            }
            reply.body.extend(&self.bytes[self.read..self.read + length]);
            self.read += length + 2;
            if length == 0 {
                return Ok(());
            }
        }
    }

    /// Says something over a WebSocket that has opened, and answers what comes back.
    fn echo(&mut self, text: &str) -> Option<String> {
        let early = self.bytes[self.read..].to_vec();
        self.stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let stream = self.stream.try_clone().ok()?;
        let mut socket = WebSocket::from_partially_read(stream, early, Role::Client, None);
        socket.send(Message::text(text)).ok()?;
        let echoed = socket.read().ok()?.to_text().ok()?.to_owned();
        let _ = socket.close(None);
        while socket.read().is_ok() {}
        Some(echoed)
    }
}
