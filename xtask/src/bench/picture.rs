//! The picture of the results: for each scenario the gateway's CPU time beside the reference's.

use std::fmt::Write as _;

use serde_json::Value;

use super::{
    contender::Contender,
    report::{Report, Row},
};

/// Pixels of a scenario's line, of the bars' longest, and of where they begin.
const LINE: usize = 34;
const LONGEST: f64 = 380.0;
const LEFT: usize = 150;

/// The reference's CPU time is 1; bars end here, so that a slow scenario leaves room for the others.
const MOST: f64 = 2.0;

/// As SVG, for a light page and a dark one.
pub fn svg(report: &Report) -> String {
    let rows: Vec<&Row> =
        report.rows.iter().filter(|row| row.ratio(Contender::Reference).is_some()).collect();
    let height = 96 + LINE * rows.len();
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {height}" width="720" height="{height}" role="img" aria-label="CPU time of a request, against the same gateway in JavaScript">
<style>
svg {{ font: 13px system-ui, sans-serif }} .dim {{ font-size: 11px }} .head {{ font-weight: 600; font-size: 15px }} .end {{ text-anchor: end }}
text {{ fill: #1b2126 }} .dim {{ fill: #58636d }} .own {{ fill: #c4581b }} .other {{ fill: #a9b4bd }}
@media (prefers-color-scheme: dark) {{ text {{ fill: #e4e7ea }} .dim {{ fill: #9ca6b0 }} .own {{ fill: #f0915a }} .other {{ fill: #59656f }} }}
</style>
<text x="0" y="18" class="head">CPU time of a request: this Worker, and the same in JavaScript</text>
<text x="0" y="38" class="dim">{}</text>
"##,
        about(report)
    );
    let unit = LONGEST / MOST;
    for (index, row) in rows.iter().enumerate() {
        let ratio = row.ratio(Contender::Reference).unwrap_or_default();
        let y = 60 + index * LINE;
        let cpu = |it| time(row.cpu_us(it).unwrap_or_default());
        let _ = writeln!(
            svg,
            r#"<text x="{}" y="{}" class="end">{}</text>
<rect class="own" x="{LEFT}" y="{y}" width="{:.0}" height="11" rx="2"/>
<rect class="other" x="{LEFT}" y="{}" width="{unit:.0}" height="11" rx="2"/>
<text x="{:.0}" y="{}">{ratio:.2} × <tspan class="dim">{} against {}</tspan></text>"#,
            LEFT - 12,
            y + 16,
            row.name,
            unit * ratio.min(MOST),
            y + 12,
            LEFT as f64 + unit * ratio.clamp(1.0, MOST) + 10.0,
            y + 16,
            cpu(Contender::Gateway),
            cpu(Contender::Reference),
        );
    }
    let y = 72 + LINE * rows.len();
    let _ = writeln!(
        svg,
        r#"<rect class="own" x="{LEFT}" y="{y}" width="11" height="11" rx="2"/><text x="{}" y="{text}">this Worker (Rust, Wasm)</text>
<rect class="other" x="{}" y="{y}" width="11" height="11" rx="2"/><text x="{}" y="{text}">bench/reference.mjs</text>
</svg>"#,
        LEFT + 18,
        LEFT + 200,
        LEFT + 218,
        text = y + 10,
    );
    svg
}

/// Where and when.
fn about(report: &Report) -> String {
    let of = |path: &str| {
        let value = Value::Object(report.about.clone()).pointer(path).cloned().unwrap_or_default();
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    };
    let text = format!(
        "the whole process with its stubs, median of {} rounds; {}; {}, {} cores; {}",
        of("/rounds"),
        of("/versions/workerd"),
        of("/machine/processor"),
        of("/machine/cores"),
        of("/date"),
    );
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn time(us: f64) -> String {
    if us >= 10_000.0 { format!("{:.0} ms", us / 1000.0) } else { format!("{us:.0} µs") }
}
