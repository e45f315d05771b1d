//! Child processes that are ended, with all their own children, whatever happens.

use std::{
    env,
    ffi::OsStr,
    io::{BufRead as _, BufReader, Read},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

/// How long a process has to end by itself.
const GRACE: Duration = Duration::from_secs(5);

/// The process groups that are running.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// This process was told to end, and is ending its children.
static ENDING: AtomicBool = AtomicBool::new(false);

/// A child in a process group of its own; dropping it ends the group.
#[derive(Debug)]
pub struct Process {
    child: Child,
    group: Pid,
}

impl Process {
    /// Starts `command`, without standard input.
    ///
    /// # Errors
    ///
    /// Where the program is missing or cannot be started.
    pub fn start(command: &mut Command) -> Result<Self> {
        // Held while it starts, so that no child escapes the end of all of them.
        let mut running = running();
        if ENDING.load(Ordering::SeqCst) {
            wait_for_the_end();
        }
        // What cargo tells the program that it runs is not for another cargo below it: build scripts
        // that look at it (ring's does) would run anew each time, for half a minute.
        for (name, _) in env::vars_os().filter(|(name, _)| is_of_this_package(name)) {
            command.env_remove(name);
        }
        let child = command.stdin(Stdio::null()).process_group(0).spawn().with_context(|| {
            format!("cannot start {} (is it installed, and on PATH?)", program(command))
        })?;
        let group = Pid::from_child(&child);
        running.push(group);
        Ok(Self { child, group })
    }

    /// Starts `command`, and hands each line that it prints, on either stream, to `line`.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_with_lines(
        command: &mut Command,
        line: impl Fn(&str) + Clone + Send + 'static,
    ) -> Result<Self> {
        let mut process = Self::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
        if let Some(stream) = process.child.stdout.take() {
            let line = line.clone();
            thread::spawn(move || {
                BufReader::new(stream).lines().map_while(Result::ok).for_each(|it| line(&it))
            });
        }
        if let Some(stream) = process.child.stderr.take() {
            thread::spawn(move || {
                BufReader::new(stream).lines().map_while(Result::ok).for_each(|it| line(&it))
            });
        }
        Ok(process)
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// Where it ends with a failure.
    pub fn wait(&mut self) -> Result<()> {
        let status = self.child.wait()?;
        if ENDING.load(Ordering::SeqCst) {
            // That it ended is no failure to speak of.
            wait_for_the_end();
        }
        if !status.success() {
            bail!("it ended with {status}");
        }
        Ok(())
    }

    /// Its id: of the process itself, where that is what was started.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it is still running.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Does what Ctrl-C does.
    pub fn interrupt(&self) {
        let _ = kill_process_group(self.group, Signal::INT);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        end(&[self.group]);
        let _ = self.child.wait();
        running().retain(|group| *group != self.group);
    }
}

/// Runs `command` to its end; what it prints is shown.
///
/// # Errors
///
/// Where it cannot be started or fails; the message names the command, `what` it was to do, and
/// what mends it.
pub fn run(what: &str, command: &mut Command, mend: &str) -> Result<()> {
    Process::start(command)
        .and_then(|mut process| process.wait())
        .map_err(|why| failed(what, command, &why, mend))
}

/// Runs `command` to its end and answers what it prints to standard output.
///
/// # Errors
///
/// As [`run`]; the message has what it printed to standard error.
pub fn output(what: &str, command: &mut Command, mend: &str) -> Result<String> {
    collect(command).map_err(|why| failed(what, command, &why, mend))
}

/// What was to be done, how and why it failed, and at the end what mends it, where it is looked for.
fn failed(what: &str, command: &Command, why: &anyhow::Error, mend: &str) -> anyhow::Error {
    let mend = if mend.is_empty() { String::new() } else { format!("\n\n{mend}.") };
    anyhow!("{what} failed: {why:#}\n\n  {}{mend}", line(command))
}

fn collect(command: &mut Command) -> Result<String> {
    let mut process = Process::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let (stdout, stderr) = (process.child.stdout.take(), process.child.stderr.take());
    let stderr = thread::spawn(move || read(stderr));
    let stdout = read(stdout);
    let stderr = stderr.join().unwrap_or_default();
    process.wait().with_context(|| format!("it printed: {}", stderr.trim()))?;
    Ok(stdout)
}

fn read(stream: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        let _ = stream.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Ends every child when this process is told to end: Ctrl-C, `kill`, a terminal that is closed.
pub fn end_children_when_told_to_end() {
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM, SIGHUP]) else { return };
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let groups = {
                let running = running();
                ENDING.store(true, Ordering::SeqCst);
                running.clone()
            };
            end(&groups);
            // As a shell reports it.
            std::process::exit(128 + signal);
        }
    });
}

/// Does something that a signal does not end this process in the middle of.
pub fn undisturbed<T>(what: impl FnOnce() -> T) -> T {
    // Whoever ends it looks first at what is running.
    let _running = running();
    what()
}

/// This process is about to end by a signal; nothing more is to be said or done.
fn wait_for_the_end() -> ! {
    loop {
        thread::park();
    }
}

/// Asks process groups to end, and after a while ends what is left of them.
fn end(groups: &[Pid]) {
    for group in groups {
        let _ = kill_process_group(*group, Signal::TERM);
    }
    let deadline = Instant::now() + GRACE;
    while !groups.iter().all(|group| has_ended(*group)) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    for group in groups {
        let _ = kill_process_group(*group, Signal::KILL);
    }
}

/// Whether a group's first process, a child of ours, has ended; it is left to be waited for.
fn has_ended(first: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::Pid(first), options), Ok(None))
}

fn running() -> std::sync::MutexGuard<'static, Vec<Pid>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether cargo has set this variable for the package whose program this is (The Cargo Book,
/// "Environment variables Cargo sets for crates").
fn is_of_this_package(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}

fn program(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// A command as one would type it. Arguments that carry a value are left out.
fn line(command: &Command) -> String {
    let mut words = vec![program(command)];
    let mut hide = false;
    for argument in command.get_args().map(|it| it.to_string_lossy()) {
        words.push(if hide { "…".to_owned() } else { argument.clone().into_owned() });
        hide = argument == "--value";
    }
    words.join(" ")
}
