//! The storm: generated requests, valid and hostile, while secrets change, fail and hang, and
//! upstreams misbehave; each answer is checked against the rules.
//!
//! `cargo xtask storm --seconds N --seed S` runs it alone. Shot number n of a seed is always the
//! same; what the secrets are when it is fired depends on time as well, and the oracle on both.

mod oracle;
mod scene;
mod shots;
mod target;
mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Write as _,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;
use serde_json::Value;

pub use self::scene::Scene;
use self::{
    oracle::{Judgement, Oracle, Receipt, Span, count},
    shots::{Lend, Maker, Piece, Shot, What},
};
use crate::{Stage, client::MARK, stubs::ADMIN};

/// How many connections at once.
const CONNECTIONS: u64 = 16;

/// Every so many shots a secret changes.
const CHANGE_EVERY: u64 = 24;

/// More violations than this tell nothing new.
const MOST_VIOLATIONS: usize = 12;

/// How much larger Wasm memory may be afterwards. Each request that its caller gave up leaves a
/// little behind; a leak of every request would be more than this.
const MOST_GROWTH: u64 = 32 << 20;

/// How long the log may lag behind.
const PATIENCE: Duration = Duration::from_secs(30);

/// What all connections share.
struct Storm<'a> {
    stage: &'a Stage,
    seed: u64,
    address: String,
    next: AtomicU64,
    until: Instant,
    tally: Mutex<Tally>,
    known_ids: Mutex<Vec<String>>,
}

#[derive(Default)]
struct Tally {
    kinds: BTreeMap<&'static str, u64>,
    wishes: BTreeMap<&'static str, u64>,
    statuses: BTreeMap<(&'static str, u16), u64>,
    violations: Vec<String>,
    receipts: Vec<Receipt>,
    open: Vec<(u64, Lend, Span)>,
    refused_tags: BTreeSet<String>,
    slowest: Duration,
}

pub fn nothing_gets_out_and_nothing_breaks(stage: &Stage) {
    // A fixed seed among the other tests; another one each time for the command.
    let setting = |name: &str| env::var(name).ok().map(|it| it.parse::<u64>().unwrap());
    let seconds = setting("STORM_SECONDS").unwrap_or(10);
    let seed = setting("STORM_SEED").unwrap_or(5);
    let address = stage.stubs.address("storm");
    let logged = stage.stubs.lines().len();
    stage.scene.secrets.begin(&stage.stubs);
    // Once before: an isolate has no memory until it is asked for something.
    assert_eq!(stage.stubs.worker("storm", "GET", "/healthz").send().status, 200);
    let (_, memory_before) = stage.stubs.memory("storm");

    let started = Instant::now();
    let storm = Storm {
        stage,
        seed,
        address,
        next: AtomicU64::new(0),
        until: started + Duration::from_secs(seconds),
        tally: Mutex::default(),
        known_ids: Mutex::default(),
    };
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| storm.connection());
        }
    });
    let took = started.elapsed();
    storm.calm();
    storm.read_the_log(logged);
    let (residue, memory_after) = stage.stubs.memory("storm");

    let fired = storm.next.load(Ordering::Relaxed);
    let mut tally = storm.tally.into_inner().unwrap();
    tally.violations.extend(residue);
    if memory_after > memory_before + MOST_GROWTH {
        tally.violations.push("Wasm memory grew without bound".to_owned());
    }
    let report = tally.report(stage, seed, took, (memory_before, memory_after));
    println!("{report}");
    assert!(
        tally.violations.is_empty(),
        "the storm (cargo xtask storm --seconds {seconds} --seed {seed}; {fired} shots) found:\n{}",
        tally.violations.iter().take(MOST_VIOLATIONS).cloned().collect::<Vec<_>>().join("\n\n")
    );
}

impl Storm<'_> {
    fn connection(&self) {
        let secrets = &self.stage.scene.secrets;
        while Instant::now() < self.until
            && self.tally.lock().unwrap().violations.len() < MOST_VIOLATIONS
        {
            let n = self.next.fetch_add(1, Ordering::Relaxed);
            let mut random = Rng::with_seed(self.seed.rotate_left(32) ^ n);
            if n.is_multiple_of(CHANGE_EVERY) {
                secrets.change_any(&self.stage.stubs, &mut random.fork());
            }
            let known_ids = self.known_ids.lock().unwrap().clone();
            let decoy = self.stage.scene.decoy.address.to_string();
            let mut maker = Maker::new(random, n, &self.address, decoy, secrets, &known_ids);
            let shot = maker.shot();
            let result = wire::fire(&self.address, &shot);
            let oracle = Oracle { scene: &self.stage.scene, host: &self.address };
            let judgement = oracle.judge(&shot, &result);
            self.learn_ids(&shot, &result);
            self.note(&shot, judgement, (result.sent, result.done));
        }
    }

    /// The ids of secrets, so that later requests name some that are there.
    fn learn_ids(&self, shot: &Shot, result: &wire::Result) {
        let is_rest = shot.asks.iter().any(|it| matches!(it.what, What::Rest(_)));
        let [reply] = result.replies.as_slice() else { return };
        if !is_rest {
            return;
        }
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let ids = body["result"].as_array().into_iter().flatten();
        let ids = ids.filter(|it| it["store_id"].is_string()).filter_map(|it| it["id"].as_str());
        let mut known = self.known_ids.lock().unwrap();
        known.extend(ids.map(str::to_owned));
        let excess = known.len().saturating_sub(20);
        known.drain(..excess);
    }

    fn note(&self, shot: &Shot, judgement: Judgement, span: Span) {
        let mut tally = self.tally.lock().unwrap();
        count(&mut tally.kinds, shot.kind);
        tally.slowest = tally.slowest.max(span.1 - span.0);
        for ask in &shot.asks {
            match &ask.what {
                What::Lend(lend) => count(&mut tally.wishes, lend.wish),
                What::Rest(rest) if rest.refused.is_some() || rest.refused_account.is_some() => {
                    tally.refused_tags.insert(rest.tag.clone());
                }
                _ => {}
            }
        }
        for status in judgement.statuses {
            count(&mut tally.statuses, status);
        }
        tally.receipts.extend(judgement.receipts);
        tally.open.extend(judgement.open.into_iter().map(|lend| (shot.n, lend, span)));
        if !judgement.violations.is_empty() {
            let told = judgement.violations.join("; ");
            tally.violations.push(format!(
                "shot {} ({}): {told}\n{}",
                shot.n,
                shot.kind,
                show(shot)
            ));
        }
    }

    /// After the storm: what was still under way arrives, and the Worker is as it was.
    fn calm(&self) {
        let Stage { scene, stubs, .. } = self.stage;
        scene.secrets.begin(stubs);
        let mut tally = self.tally.lock().unwrap();
        for path in ["/healthz", "/readyz"] {
            let state = scene.secrets.now(scene::ADMIN);
            let admin = state.value(false).unwrap_or(ADMIN);
            let answer = stubs.worker("storm", "GET", path).bearer(admin).send();
            if answer.status != 200 {
                tally.violations.push(format!("after the storm, {path} answers {}", answer.status));
            }
        }
        // What was given up has arrived by now, or never will: the Worker has answered two requests
        // that came after it.
        let oracle = Oracle { scene, host: &self.address };
        for (n, lend, span) in std::mem::take(&mut tally.open) {
            let span = (span.0, Instant::now());
            let wrong = oracle.arrivals(&lend, span, None);
            tally.violations.extend(wrong.into_iter().map(|it| format!("shot {n}, later: {it}")));
        }
        for target in scene.targets() {
            for (id, arrivals) in target.take_all() {
                let arrival = &arrivals[0];
                tally.violations.push(format!(
                    "{} got a request that was nobody's: {id:?} {} {}",
                    target.name,
                    arrival.method,
                    hide(&arrival.target)
                ));
            }
        }
        let wrong = oracle.api(&tally.refused_tags);
        tally.violations.extend(wrong.into_iter().map(|it| hide(&it)));
        if scene.decoy.visits() > 0 {
            tally.violations.push(format!("the decoy had {} visits", scene.decoy.visits()));
        }
    }

    /// One line for each answer, and what it says.
    fn read_the_log(&self, logged: usize) {
        let mut tally = self.tally.lock().unwrap();
        let oracle = Oracle { scene: &self.stage.scene, host: &self.address };
        let receipts = std::mem::take(&mut tally.receipts);
        let deadline = Instant::now() + PATIENCE;
        let mut lines: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        let mut read = logged;
        loop {
            let more = self.stage.stubs.lines_after(read);
            read += more.len();
            for line in more {
                if shows_a_panic(&line) {
                    tally.violations.push(format!("in the log: {}", hide(&line)));
                }
                match serde_json::from_str::<Value>(&line) {
                    Ok(value) if value["request_id"].is_string() => {
                        let id = value["request_id"].as_str().unwrap_or_default().to_owned();
                        lines.entry(id).or_default().push(value);
                    }
                    _ => {
                        if line.contains(MARK) {
                            tally.violations.push(format!("a value in the log: {}", hide(&line)));
                        }
                        if env::var_os("STORM_NOISE").is_some() {
                            eprintln!("noise: {line}");
                        }
                    }
                }
            }
            if receipts.iter().all(|it| lines.contains_key(&it.request_id))
                || Instant::now() > deadline
            {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        for receipt in receipts {
            let own = lines.remove(&receipt.request_id).unwrap_or_default();
            let wrong = match own.as_slice() {
                [line] => oracle.line(line, &receipt),
                several => vec![format!("{} log lines", several.len())],
            };
            if !wrong.is_empty() {
                let lines: Vec<String> = own.iter().map(|it| hide(&it.to_string())).collect();
                tally.violations.push(format!(
                    "shot {}: {}\n{}",
                    receipt.n,
                    wrong.join("; "),
                    lines.join("\n")
                ));
            }
        }
        // Those of requests that were broken off.
        for line in lines.into_iter().filter(|(id, _)| id.starts_with("storm.")).flat_map(|it| it.1)
        {
            let wrong = oracle::line_alone(&line);
            if !wrong.is_empty() {
                tally.violations.push(format!("{}: {}", wrong.join("; "), hide(&line.to_string())));
            }
        }
    }
}

impl Tally {
    fn report(&self, stage: &Stage, seed: u64, took: Duration, memory: (u64, u64)) -> String {
        let mut text = String::new();
        let shots: u64 = self.kinds.values().sum();
        let answers: u64 = self.statuses.values().sum();
        let seconds = took.as_secs_f32();
        let _ = writeln!(
            text,
            "\nstorm: seed {seed}, {seconds:.1} s, {shots} shots ({:.0} a second), {answers} answers, \
             {} changes of secrets, slowest {:.1} s",
            shots as f32 / seconds,
            stage.scene.secrets.changes(),
            self.slowest.as_secs_f32()
        );
        let list = |counts: Vec<String>| counts.join(", ");
        let kinds = self.kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let _ = writeln!(text, "  inputs: {}", list(kinds));
        for who in ["gateway", "upstream", "runtime"] {
            let own = self.statuses.iter().filter(|(key, _)| key.0 == who);
            let own = own.map(|((_, status), count)| format!("{status}: {count}")).collect();
            let _ = writeln!(text, "  answers of the {who}: {}", list(own));
        }
        let wishes = self.wishes.iter().map(|(wish, count)| format!("{count} {wish}")).collect();
        let _ = writeln!(text, "  upstreams were to: {}", list(wishes));
        let arrived: Vec<String> = stage
            .scene
            .targets()
            .chain([&stage.scene.api])
            .map(|target| format!("{} {}", target.count(), target.name))
            .collect();
        let _ =
            writeln!(text, "  arrived: {}; decoy: {}", list(arrived), stage.scene.decoy.visits());
        let _ = writeln!(
            text,
            "  Wasm memory: {} KiB before, {} KiB after; violations: {}",
            memory.0 / 1024,
            memory.1 / 1024,
            self.violations.len()
        );
        text
    }
}

/// What a log has when a Worker has come to its end. The runtime's own complaints about connections
/// are none of it.
fn shows_a_panic(line: &str) -> bool {
    ["panicked at", "RuntimeError", "unreachable executed", "memory access out of bounds"]
        .iter()
        .any(|it| line.contains(it))
}

/// A shot as text, without values.
fn show(shot: &Shot) -> String {
    let bytes = shot.pieces.iter().filter_map(|piece| match piece {
        Piece::Bytes(bytes) => Some(bytes.as_slice()),
        Piece::Pause(_) => None,
    });
    let bytes: Vec<u8> = bytes.flatten().copied().take(6000).collect();
    let body = bytes.windows(4).position(|it| it == b"\r\n\r\n").map_or(bytes.len(), |it| it + 4);
    // A body that is no text tells nothing.
    let body = if bytes[body..].is_ascii() { bytes.len() } else { body };
    let text: String = String::from_utf8_lossy(&bytes[..body])
        .chars()
        .filter(|c| *c != '\r')
        .map(|c| if c.is_control() && c != '\n' { '\u{b7}' } else { c })
        .collect();
    let text: String = hide(&text).chars().take(1500).collect();
    format!("--- {:?}\n{text}\n---", shot.end)
}

/// Text without values: they are hidden from their mark on, and so is whatever `Basic` encodes.
fn hide(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    let encoded = "asic ";
    while let Some(at) = [MARK, encoded].iter().filter_map(|it| rest.find(it)).min() {
        let (before, found) = rest.split_at(at);
        shown.push_str(before);
        shown.push_str("[hidden]");
        let skipped = if found.starts_with(encoded) { encoded.len() } else { 0 };
        let end = found[skipped..].find(|c: char| c.is_whitespace() || "\",;&".contains(c));
        rest = end.map_or("", |end| &found[skipped + end..]);
    }
    shown.push_str(rest);
    shown
}
