//! `cargo xtask bench`: what a request costs, beside the same gateway in JavaScript and beside a
//! Worker that does nothing.
//!
//! Each Worker has a workerd of its own with the same stubs in it, so that its process's CPU time
//! is comparable. They are measured side by side, since a machine's speed changes by more within
//! seconds than what is looked for; what counts is the ratio within a round, and of those the median.

mod contender;
mod load;
mod picture;
mod report;
mod scenario;

use std::{collections::BTreeMap, fs, path::Path, thread, time::Instant};

use anyhow::{Context as _, Result, anyhow, ensure};

use self::{
    contender::{Contender, Running, Setting},
    report::{InFlight, Report, Row, Sample},
    scenario::Scenario,
};
use crate::{build, root, step, tools::Tools};

/// How thoroughly.
struct Effort {
    rounds: u32,
    /// The part of a scenario's requests that a round has.
    part: u32,
}

/// Measures, prints the table, and writes `docs/bench/`; a quick run writes nothing.
///
/// # Errors
///
/// What could not be started, or an answer that is not as it has to be.
pub fn run(quick: bool, only: Option<&str>) -> Result<()> {
    let tools = Tools::ensure()?;
    build::with(&tools)?;
    tools.npm_ci(&root().join("bench"), "the load generator")?;
    let folder = build::target_folder().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    contender::set_up(&folder)?;

    let effort = if quick { Effort { rounds: 1, part: 32 } } else { Effort { rounds: 9, part: 1 } };
    let bench = Bench { tools, folder: &folder, effort };
    let report = bench.run(only)?;
    println!("{}", report.table());
    if !quick && only.is_none() {
        let docs = root().join("docs/bench");
        fs::create_dir_all(&docs)?;
        fs::write(docs.join("results.json"), report.json()? + "\n")?;
        fs::write(docs.join("results.svg"), picture::svg(&report))?;
        step("docs/bench/ has the results and the picture");
    }
    Ok(())
}

struct Bench<'a> {
    tools: Tools,
    folder: &'a Path,
    effort: Effort,
}

impl Bench<'_> {
    fn run(&self, only: Option<&str>) -> Result<Report> {
        let mut report = Report::new(&self.tools, self.effort.rounds)?;
        let running = self.start(&Contender::ALL, Setting::Whole)?;
        let wanted = |it: &Scenario| only.is_none_or(|only| it.name.contains(only));
        for scenario in Scenario::all().iter().filter(|it| wanted(it)) {
            step(scenario.name);
            report.rows.push(self.row(scenario, &running)?);
        }
        if only.is_some() {
            return Ok(report);
        }

        let slow = Scenario::slow_secrets();
        step(slow.name);
        for (contender, running) in &running {
            if slow.is_for_all || *contender != Contender::PassThrough {
                let seen =
                    load::throw(&self.tools, self.folder, &slow, slow.requests, &running.address)?;
                report.slow_secrets_ms.insert(*contender, seen.p50_ms);
            }
        }

        let in_flight = Scenario::thousand_in_flight();
        step(in_flight.name);
        for (contender, running) in &running {
            report.in_flight.insert(*contender, self.in_flight(&in_flight, running)?);
        }
        drop(running);

        step("cold start");
        report.rows.push(self.cold_start()?);

        step("what of it is the Worker's own");
        let running = self.start(&Contender::GATEWAYS, Setting::Own)?;
        for scenario in Scenario::all().iter().filter(|it| it.is_bare) {
            report.own.push(self.own(scenario, &running)?);
        }
        Ok(report)
    }

    fn start(
        &self,
        contenders: &[Contender],
        setting: Setting,
    ) -> Result<Vec<(Contender, Running)>> {
        let start =
            |it: &Contender| Ok((*it, Running::start(&self.tools, self.folder, *it, setting)?));
        contenders.iter().map(start).collect()
    }

    fn row(&self, scenario: &Scenario, running: &[(Contender, Running)]) -> Result<Row> {
        let running: Vec<_> = running
            .iter()
            .filter(|(contender, _)| scenario.is_for_all || *contender != Contender::PassThrough)
            .collect();
        let requests = (scenario.requests / self.effort.part).max(2);
        let samples = self.rounds(&running, requests, |requests, running| {
            let before = running.usage();
            let seen = load::throw(&self.tools, self.folder, scenario, requests, &running.address)?;
            let cpu_us = running.usage().cpu_us - before.cpu_us;
            Ok(Sample {
                cpu_us: cpu_us / f64::from(requests),
                p50_ms: seen.p50_ms,
                p99_ms: seen.p99_ms,
                mib_s: scenario.mib.map(|mib| f64::from(mib * requests) / seen.seconds),
            })
        })?;
        Ok(Row { name: scenario.name, samples })
    }

    /// The part of a scenario that is the Worker's, and of what it calls.
    fn own(&self, scenario: &Scenario, running: &[(Contender, Running)]) -> Result<Row> {
        // It is a tenth of a request.
        let requests = 2 * scenario.requests / self.effort.part.min(4);
        let running: Vec<_> = running.iter().collect();
        let samples = self.rounds(&running, requests, |requests, running| {
            let before = running.usage();
            let url = format!("{}/?n={requests}&path={}", running.address, scenario.path);
            let answer = ureq::get(url).call().context("a Worker that is called fails")?;
            ensure!(answer.status() == 204, "a Worker that is called answers {}", answer.status());
            let cpu_us = running.usage().cpu_us - before.cpu_us;
            Ok(Sample { cpu_us: cpu_us / f64::from(requests), ..Sample::default() })
        })?;
        Ok(Row { name: scenario.name, samples })
    }

    /// Measures the contenders side by side, round after round.
    fn rounds(
        &self,
        running: &[&(Contender, Running)],
        requests: u32,
        measure: impl Fn(u32, &Running) -> Result<Sample> + Sync,
    ) -> Result<BTreeMap<Contender, Vec<Sample>>> {
        let measure = &measure;
        let round = |requests: u32| -> Result<Vec<(Contender, Sample)>> {
            thread::scope(|scope| {
                let mut all = Vec::new();
                for (contender, running) in running {
                    all.push((*contender, scope.spawn(move || measure(requests, running))));
                }
                let panicked = |_| Err(anyhow!("a measurement panicked"));
                all.into_iter()
                    .map(|(it, sample)| Ok((it, sample.join().unwrap_or_else(panicked)?)))
                    .collect()
            })
        };
        // Until the runtime has optimised what is called often.
        round(2 * requests)?;
        let mut samples: BTreeMap<Contender, Vec<Sample>> = BTreeMap::new();
        for _ in 0..self.effort.rounds {
            for (contender, sample) in round(requests)? {
                ensure!(sample.cpu_us > 0.0, "no CPU time of {} can be seen", contender.name());
                samples.entry(contender).or_default().push(sample);
            }
        }
        Ok(samples)
    }

    /// From the start of workerd to the first answer, with all that it compiles on the way.
    fn cold_start(&self) -> Result<Row> {
        let scenario = Scenario { connections: 1, ..Scenario::all().swap_remove(0) };
        let mut samples: BTreeMap<Contender, Vec<Sample>> = BTreeMap::new();
        for _ in 0..self.effort.rounds {
            for contender in Contender::ALL {
                let running = Running::start(&self.tools, self.folder, contender, Setting::Whole)?;
                let listens_ms = running.started.elapsed().as_secs_f64() * 1000.0;
                let started = Instant::now();
                ureq::get(format!("{}{}", running.address, scenario.path))
                    .header("authorization", format!("Bearer {}", contender::TOKEN))
                    .call()
                    .with_context(|| format!("no first answer by {}", contender.name()))?;
                let first_ms = started.elapsed().as_secs_f64() * 1000.0;
                samples.entry(contender).or_default().push(Sample {
                    cpu_us: running.usage().cpu_us,
                    p50_ms: listens_ms + first_ms,
                    p99_ms: listens_ms + first_ms,
                    mib_s: None,
                });
            }
        }
        Ok(Row { name: "cold start", samples })
    }

    /// Memory before a thousand requests in flight, and after each of three such waves, or a quick run's one.
    fn in_flight(&self, scenario: &Scenario, running: &Running) -> Result<InFlight> {
        let before = running.usage().memory;
        let mut after = Vec::new();
        for _ in 0..self.effort.rounds.min(3) {
            load::throw(&self.tools, self.folder, scenario, scenario.requests, &running.address)?;
            after.push(running.usage().memory);
        }
        Ok(InFlight { answered: scenario.requests, before, after })
    }
}
