//! Bodies stream: they neither pass through Wasm memory nor pile up before a slow reader.
//!
//! `STREAM_MIB=1024 cargo test --test e2e -- streams` sends more than the tests do by default.

use std::{
    env,
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{Stage, stubs::TOKEN, upstream::MIB};

/// How much is sent, in MiB.
fn amount() -> usize {
    env::var("STREAM_MIB").map_or(64, |it| it.parse().unwrap())
}

/// What a body may add to Wasm memory, however long it is.
const MAX_GROWTH: u64 = MIB as u64;

/// Runs it, and tells what it did to Wasm memory and how fast it went.
fn measured(stage: &Stage, what: &str, run: impl FnOnce()) {
    // The isolate is there, and has what it needs for one request.
    assert_eq!(
        stage.stubs.worker("streams", "GET", "/proxy/bearer/x").bearer(TOKEN).send().status,
        200
    );
    let (_, before) = stage.stubs.memory("streams");
    let started = Instant::now();
    run();
    let speed = amount() as f64 / started.elapsed().as_secs_f64();
    let (_, after) = stage.stubs.memory("streams");
    eprintln!(
        "{what}: {} MiB at {speed:.0} MiB/s; Wasm memory {} KiB before and {} KiB after",
        amount(),
        before / 1024,
        after / 1024
    );
    assert!(after - before <= MAX_GROWTH, "{what}: Wasm memory grew from {before} to {after}");
}

pub fn long_bodies_do_not_pass_through_wasm_memory(stage: &Stage) {
    measured(stage, "down", || {
        let path = format!("/proxy/bearer/flow/down/{}", amount());
        let mut answer = stage.stubs.worker("streams", "GET", &path).bearer(TOKEN).start();
        let mut chunk = vec![0; 64 * 1024];
        let mut body = answer.body_mut().as_reader();
        let mut left = amount() * MIB;
        while left > 0 {
            let count = body.read(&mut chunk).unwrap();
            assert!(count > 0, "{left} bytes are missing");
            left -= count;
        }
    });
    assert_eq!(stage.upstream.flowed("down"), amount() * MIB);

    measured(stage, "up", || {
        let length = (amount() * MIB) as u64;
        let path = format!("/proxy/bearer/flow/up/{}", amount());
        let answer = stage
            .stubs
            .worker("streams", "POST", &path)
            .bearer(TOKEN)
            .header("content-length", length.to_string())
            .stream(std::io::repeat(b'x').take(length))
            .send();
        assert_eq!((answer.status, answer.body.as_str()), (200, "thanks"));
    });
    assert_eq!(stage.upstream.flowed("up"), amount() * MIB);
}

/// Waits until no more bytes go, since every buffer on the way is full; answers how many went.
fn stuck_at(flowed: impl Fn() -> usize) -> usize {
    let mut before = 0;
    loop {
        thread::sleep(Duration::from_millis(500));
        let now = flowed();
        if now == before && now > 0 {
            return now;
        }
        // More than the buffers of the connections and of the runtime hold.
        assert!(now < 256 * MIB, "{now} bytes went to nobody");
        before = now;
    }
}

pub fn a_slow_reader_slows_the_writer_down(stage: &Stage) {
    let path = "/proxy/bearer/flow/slow/4096";
    let answer = stage.stubs.gateway("GET", path).bearer(TOKEN).start();
    let down = stuck_at(|| stage.upstream.flowed("slow"));
    drop(answer);

    let sent = Arc::new(AtomicUsize::new(0));
    let call = stage.stubs.gateway("POST", "/proxy/bearer/gate/slow").bearer(TOKEN);
    let upload = Counted(sent.clone());
    // How it ends is of no matter: the upstream hangs up in the middle of it.
    thread::spawn(move || call.stream(upload).try_start());
    let up = stuck_at(|| sent.load(Ordering::Relaxed));
    stage.upstream.signal("open slow");
    eprintln!("nobody reads: {} KiB went down, {} KiB up", down / 1024, up / 1024);
}

/// A body without an end that counts what is read of it.
struct Counted(Arc<AtomicUsize>);

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.fetch_add(buffer.len(), Ordering::Relaxed);
        Ok(buffer.len())
    }
}
