//! What was measured, as a table and as JSON.

use std::{collections::BTreeMap, fmt::Write as _, time::SystemTime};

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

use super::contender::Contender;
use crate::{process, tools::Tools};

/// One scenario.
#[derive(Debug)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// What each contender needed, a sample for each round.
    pub samples: BTreeMap<Contender, Vec<Sample>>,
}

/// One round of one contender.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    /// CPU time of the whole process for a request, in microseconds.
    pub cpu_us: f64,
    /// The median time to the end of an answer, in milliseconds.
    pub p50_ms: f64,
    /// What 99 of 100 answers took at most, in milliseconds.
    pub p99_ms: f64,
    /// Throughput in mebibytes a second, where bodies are large.
    pub mib_s: Option<f64>,
}

/// A thousand requests at once.
#[derive(Debug)]
pub struct InFlight {
    /// How many were answered.
    pub answered: u32,
    /// Resident memory before, in bytes.
    pub before: u64,
    /// And after each wave.
    pub after: Vec<u64>,
}

/// All of it.
#[derive(Debug)]
pub struct Report {
    /// Where, with what and when.
    pub about: Map<String, Value>,
    /// What was measured by CPU time.
    pub rows: Vec<Row>,
    /// What of it is the Worker's own, with the runtime's functions that it calls.
    pub own: Vec<Row>,
    /// How long a request with 16 secrets of 100 ms each takes.
    pub slow_secrets_ms: BTreeMap<Contender, f64>,
    /// A thousand requests in flight.
    pub in_flight: BTreeMap<Contender, InFlight>,
}

impl Row {
    /// The median of one figure.
    pub fn median(&self, contender: Contender, figure: impl Fn(&Sample) -> f64) -> Option<f64> {
        median(self.samples.get(&contender)?.iter().map(figure).collect())
    }

    /// Its CPU time.
    pub fn cpu_us(&self, contender: Contender) -> Option<f64> {
        self.median(contender, |sample| sample.cpu_us)
    }

    /// The gateway's CPU time over another's: of each round, the median of them.
    pub fn ratio(&self, to: Contender) -> Option<f64> {
        median(self.ratios(to)?)
    }

    fn ratios(&self, to: Contender) -> Option<Vec<f64>> {
        let (own, other) = (self.samples.get(&Contender::Gateway)?, self.samples.get(&to)?);
        Some(own.iter().zip(other).map(|(own, other)| own.cpu_us / other.cpu_us).collect())
    }
}

impl Report {
    /// An empty one, which knows where it is made.
    ///
    /// # Errors
    ///
    /// A tool that does not tell its version.
    pub fn new(tools: &Tools, rounds: u32) -> Result<Self> {
        let ask = |program: &std::path::Path| {
            let mut command = tools.command(program);
            let text = process::output("asking for a version", command.arg("--version"), "")?;
            Ok::<_, anyhow::Error>(text.trim().to_owned())
        };
        let system = System::new_with_specifics(
            RefreshKind::nothing()
                .with_cpu(CpuRefreshKind::nothing())
                .with_memory(MemoryRefreshKind::nothing().with_ram()),
        );
        let cpu = system.cpus().first().context("no processor")?;
        let date = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let about = json!({
            "date": date.split('T').next(),
            "machine": {
                "processor": cpu.brand(),
                "cores": system.cpus().len(),
                "memory_gib": (system.total_memory() as f64 / f64::powi(2.0, 30)).round(),
                "system": System::long_os_version(),
            },
            "versions": { "workerd": ask(&tools.workerd()?)?, "rustc": ask("rustc".as_ref())? },
            "rounds": rounds,
        });
        let Value::Object(about) = about else { unreachable!() };
        Ok(Self {
            about,
            rows: Vec::new(),
            own: Vec::new(),
            slow_secrets_ms: BTreeMap::new(),
            in_flight: BTreeMap::new(),
        })
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut table = String::new();
        let mut line = |name: &str, cells: [String; 5]| {
            let _ = write!(table, "{name:<28}");
            for cell in cells {
                let _ = write!(table, "{cell:>14}");
            }
            table.push('\n');
        };
        line(
            "CPU time, µs a request",
            [
                "gateway".into(),
                "reference".into(),
                "pass-through".into(),
                "of reference".into(),
                "(rounds)".into(),
            ],
        );
        for row in &self.rows {
            let cpu = |it| row.cpu_us(it).map_or_else(String::new, |us| format!("{us:.0}"));
            let ratios = row.ratios(Contender::Reference).unwrap_or_default();
            let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
            let most = ratios.iter().copied().fold(0.0, f64::max);
            line(
                row.name,
                [
                    cpu(Contender::Gateway),
                    cpu(Contender::Reference),
                    cpu(Contender::PassThrough),
                    row.ratio(Contender::Reference)
                        .map_or_else(String::new, |it| format!("{it:.3}")),
                    format!("{least:.2} … {most:.2}"),
                ],
            );
        }
        let mut figures = |name: &str, of: &dyn Fn(Contender) -> Option<String>| {
            let [gateway, reference, pass_through] =
                Contender::ALL.map(|it| of(it).unwrap_or_default());
            line(name, [gateway, reference, pass_through, String::new(), String::new()]);
        };
        let further = |rows: &[Row], it| Some(format!("{:.1}", further_secret_us(rows, it)?));
        figures("a further secret", &|it| further(&self.rows, it));
        for row in &self.own {
            figures(&format!("{}, own part", row.name), &|it| {
                Some(format!("{:.1}", row.cpu_us(it)?))
            });
        }
        figures("a further secret, own part", &|it| further(&self.own, it));
        for row in &self.rows {
            if row.samples.values().flatten().any(|sample| sample.mib_s.is_some()) {
                figures(&format!("{}, MiB/s", row.name), &|it| {
                    Some(format!("{:.0}", row.median(it, |it| it.mib_s.unwrap_or_default())?))
                });
            }
            if row.name == "cold start" {
                figures("cold start, ms", &|it| {
                    Some(format!("{:.0}", row.median(it, |it| it.p50_ms)?))
                });
            }
        }
        figures("16 secrets of 100 ms, ms", &|it| {
            Some(format!("{:.0}", self.slow_secrets_ms.get(&it)?))
        });
        figures("1,000 in flight: memory, MiB", &|it| {
            let it = self.in_flight.get(&it)?;
            let mib = |bytes: &u64| (bytes / (1024 * 1024)).to_string();
            let after: Vec<_> = it.after.iter().map(mib).collect();
            Some(format!("{}→{}", mib(&it.before), after.join("→")))
        });
        table
    }

    /// For programs.
    ///
    /// # Errors
    ///
    /// None that is known.
    pub fn json(&self) -> Result<String> {
        let rounded = |number: f64| (number * 1000.0).round() / 1000.0;
        let by_name = |of: &dyn Fn(Contender) -> Option<Value>| {
            let all = Contender::ALL.into_iter();
            all.filter_map(|it| Some((it.name().to_owned(), of(it)?))).collect::<Map<_, _>>()
        };
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let mut json = by_name(&|it| {
                    Some(json!({
                        "cpu_us": rounded(row.cpu_us(it)?),
                        "p50_ms": rounded(row.median(it, |it| it.p50_ms)?),
                        "p99_ms": rounded(row.median(it, |it| it.p99_ms)?),
                        "mib_s": row.median(it, |it| it.mib_s.unwrap_or_default())
                            .filter(|it| *it > 0.0).map(rounded),
                        "cpu_us_of_rounds": row.samples.get(&it)?.iter()
                            .map(|sample| rounded(sample.cpu_us)).collect::<Vec<_>>(),
                    }))
                });
                json.insert("name".into(), row.name.into());
                json.insert(
                    "of_reference".into(),
                    row.ratio(Contender::Reference).map(rounded).into(),
                );
                json.insert(
                    "of_pass_through".into(),
                    row.ratio(Contender::PassThrough).map(rounded).into(),
                );
                json.into()
            })
            .collect();
        let mut json = self.about.clone();
        json.insert("scenarios".into(), rows.into());
        let further =
            |rows: &[Row]| by_name(&|it| Some(rounded(further_secret_us(rows, it)?).into()));
        json.insert("further_secret_us".into(), further(&self.rows).into());
        let mut own: Map<_, _> = self
            .own
            .iter()
            .map(|row| {
                let cpu = by_name(&|it| Some(rounded(row.cpu_us(it)?).into()));
                (row.name.to_owned(), cpu.into())
            })
            .collect();
        own.insert("a further secret".into(), further(&self.own).into());
        json.insert("own_part_us".into(), own.into());
        json.insert(
            "slow_secrets_ms".into(),
            by_name(&|it| Some(rounded(*self.slow_secrets_ms.get(&it)?).into())).into(),
        );
        json.insert(
            "in_flight".into(),
            by_name(&|it| {
                let it = self.in_flight.get(&it)?;
                Some(json!({
                    "answered": it.answered, "bytes_before": it.before, "bytes_after": it.after,
                }))
            })
            .into(),
        );
        Ok(serde_json::to_string_pretty(&json)?)
    }
}

/// What one further secret costs in CPU, in microseconds: the slope from 1 to 16.
fn further_secret_us(rows: &[Row], contender: Contender) -> Option<f64> {
    let of = |name: &str| rows.iter().find(|it| it.name == name)?.cpu_us(contender);
    Some((of("16 credentials")? - of("1 credential")?) / 15.0)
}

fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    let upper = *numbers.get(middle)?;
    if numbers.len() % 2 == 1 {
        return Some(upper);
    }
    Some((numbers.get(middle - 1)? + upper) / 2.0)
}
