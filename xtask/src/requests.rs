//! What `wrangler dev` prints, with one readable line for each request.
//!
//! A request is told twice: by the Worker, as JSON with chosen fields, which have neither its method nor
//! its path, and by wrangler, which knows these two and the status. Both come within milliseconds and
//! become one line. Where two requests are on their way at once and have the same status, whose path is
//! whose cannot be told: then a line has none.

use std::{
    fmt::Write as _,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant, SystemTime},
};

use serde::Deserialize;

/// The id of the request with which `cargo xtask dev` looks whether the Worker is up: not shown.
pub const PROBE: &str = "cargo-xtask-dev";

/// How long the Worker's line waits for wrangler's.
const HOLD: Duration = Duration::from_millis(300);

/// The Worker's line (`src/log.rs`).
#[derive(Debug, Deserialize)]
struct Served {
    request_id: String,
    route: String,
    upstream: Option<String>,
    caller: Option<String>,
    status: u16,
    ms: u64,
    #[serde(default)]
    retries: u32,
    error: Option<String>,
    cause: Option<String>,
}

/// The Worker's lines that wait for wrangler's.
#[derive(Debug, Default)]
struct Waiting(Vec<(Instant, Served, bool)>);

/// Prints the lines of `wrangler dev` until there are no more; hands each over to `seen`, as it came.
pub fn show(lines: &Receiver<String>, seen: impl Fn(String)) {
    let mut waiting = Waiting::default();
    loop {
        let next = match waiting.0.first() {
            None => lines.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some((since, ..)) => lines.recv_timeout(HOLD.saturating_sub(since.elapsed())),
        };
        let shown = match &next {
            Ok(line) => waiting.take(line),
            Err(RecvTimeoutError::Timeout) => waiting.give_up(),
            Err(RecvTimeoutError::Disconnected) => break,
        };
        if let Some(shown) = shown {
            // Without colours where there is no terminal, or NO_COLOR is set.
            anstream::println!("{shown}");
        }
        if let Ok(line) = next {
            seen(line);
        }
    }
}

impl Waiting {
    /// Takes a line, and answers what is to be printed.
    fn take(&mut self, line: &str) -> Option<String> {
        if let Ok(served) = serde_json::from_str(line) {
            self.0.push((Instant::now(), served, true));
            return None;
        }
        let Some((request, status)) = method_and_path(line) else { return Some(line.to_owned()) };
        let is_it = |(_, served, _): &(Instant, Served, bool)| served.status == status;
        if self.0.iter().filter(|it| is_it(it)).count() > 1 {
            self.0.iter_mut().filter(|it| is_it(it)).for_each(|(.., is_alone)| *is_alone = false);
        }
        match self.0.iter().position(is_it) {
            Some(found) => {
                let (_, served, is_alone) = self.0.remove(found);
                served.line(is_alone.then_some(request))
            }
            // The Worker said nothing: it broke.
            None => Some(line.to_owned()),
        }
    }

    /// The line that has waited longest, without wrangler's.
    fn give_up(&mut self) -> Option<String> {
        self.0.remove(0).1.line(None)
    }
}

impl Served {
    /// The one readable line, with its status in colour.
    fn line(&self, request: Option<&str>) -> Option<String> {
        if self.request_id == PROBE {
            return None;
        }
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let time = now.split_once('T').map_or("", |(_, time)| time);
        let colour = match self.status {
            500.. => 31,
            400.. => 33,
            _ => 32,
        };
        let (status, ms) = (self.status, self.ms);
        let mut line = format!("{time}  \x1b[{colour}m{status}\x1b[0m {ms:>6} ms  ");
        line.push_str(request.unwrap_or(&self.route));
        let told = [
            ("upstream ", &self.upstream),
            ("caller ", &self.caller),
            ("", &self.error),
            ("", &self.cause),
        ];
        for (what, value) in told {
            if let Some(value) = value {
                let _ = write!(line, "  {what}{value}");
            }
        }
        if self.retries > 0 {
            let _ = write!(line, "  retries {}", self.retries);
        }
        let _ = write!(line, "  request {}", self.request_id);
        Some(line)
    }
}

/// `GET /path` and the status of wrangler's line `[wrangler:info] GET /path 200 OK (12ms)`.
fn method_and_path(line: &str) -> Option<(&str, u16)> {
    let rest = line.strip_prefix("[wrangler:info] ")?;
    let path = rest.find(' ')? + 1;
    let end = path + rest.get(path..)?.find(' ')?;
    let (request, status) = (rest.get(..end)?, rest.get(end + 1..)?.split(' ').next()?);
    let is_request = rest.get(path..)?.starts_with('/') && line.ends_with("ms)");
    Some((request, status.parse().ok().filter(|_| is_request)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"request_id":"a","route":"proxy","upstream":"demo","caller":"GATEWAY_TOKEN","status":200,"ms":9}"#;
    const WRANGLER: &str = "[wrangler:info] GET /proxy/demo/hello 200 OK (14ms)";

    /// A line without the time, which differs, and without colour.
    fn plain(line: Option<String>) -> String {
        let line = anstream::adapter::strip_str(&line.unwrap()).to_string();
        line.split_once("  ").unwrap().1.to_owned()
    }

    #[test]
    fn a_request_that_is_told_twice_is_one_line() {
        let mut waiting = Waiting::default();
        assert_eq!(waiting.take(JSON), None);
        assert_eq!(
            plain(waiting.take(WRANGLER)),
            "200      9 ms  GET /proxy/demo/hello  upstream demo  caller GATEWAY_TOKEN  request a"
        );
        assert!(waiting.0.is_empty());
    }

    #[test]
    fn the_workers_line_does_not_wait_for_ever() {
        let mut waiting = Waiting::default();
        waiting.take(
            r#"{"request_id":"b","route":"proxy","status":500,"ms":1,"error":"configuration","cause":"UPSTREAMS.demo.callers: is required"}"#,
        );
        assert_eq!(
            plain(waiting.give_up()),
            "500      1 ms  proxy  configuration  UPSTREAMS.demo.callers: is required  request b"
        );
    }

    #[test]
    fn of_two_at_once_neither_gets_the_others_path() {
        let mut waiting = Waiting::default();
        waiting.take(JSON);
        waiting.take(&JSON.replace("\"a\"", "\"b\""));
        let line =
            |id| format!("200      9 ms  proxy  upstream demo  caller GATEWAY_TOKEN  request {id}");
        assert_eq!(plain(waiting.take(WRANGLER)), line("a"));
        assert_eq!(plain(waiting.take(WRANGLER)), line("b"));
        // Another status is another request.
        waiting.take(JSON);
        waiting.take(&JSON.replace("200", "401"));
        assert!(plain(waiting.take(WRANGLER)).contains("GET /proxy/demo/hello"));
    }

    #[test]
    fn other_lines_pass_and_the_probe_does_not() {
        let mut waiting = Waiting::default();
        for line in ["[wrangler:info] Ready on http://127.0.0.1:8787", "", "{not json}", WRANGLER] {
            assert_eq!(waiting.take(line).as_deref(), Some(line));
        }
        waiting.take(&JSON.replace("\"a\"", &format!("{PROBE:?}")));
        assert_eq!(waiting.take(WRANGLER), None);
    }
}
