//! The report as one page: no script, no other file, light and dark. Names are text and never markup.

use std::fmt::Write;

use super::plots::{bars, calibration, escape, line};
use super::text::{p_value, quality, short};
use super::{FeatureReport, GroupReport, Report};

/// A figure of a window.
type Value = fn(&GroupReport) -> Option<f64>;

/// The features with plots: those that differ most.
const PLOTTED: usize = 60;

/// A page may come from a stranger's log: nothing in it may be fetched or run.
const HEAD: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";

const STYLE: &str = "<style>
:root { color-scheme: light dark; --text: #1c2024; --page: #fff; --soft: #5f6873; --rule: #d8dde3; --before: #9aa6b2;
  --now: #1f6feb; --bad: #b42318; --good: #1a7f37; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e9ec; --page: #15181c; --soft: #9aa4ae; --rule: #333a42; --before: #6b7680; --now: #58a6ff;
    --bad: #ff7b72; --good: #56d364; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page); max-width: 72rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p { margin: .3rem 0; } .soft { color: var(--soft); } .bad { color: var(--bad); } .good { color: var(--good); }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .2rem .5rem; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } tr.bad td:first-child { font-weight: 600; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(18rem, 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { overflow-wrap: anywhere; }
svg { display: block; width: 100%; border-bottom: 1px solid var(--rule); } svg.square { max-width: 16rem; }
rect.before { fill: var(--before); } rect.now { fill: var(--now); } circle { fill: var(--now); fill-opacity: .75; }
polyline { fill: none; stroke: var(--now); stroke-width: 1.5; } line.diagonal { stroke: var(--before); }
.key::before { content: ''; display: inline-block; width: .8em; height: .8em; margin-right: .3em; }
.key.before::before { background: var(--before); } .key.now::before { background: var(--now); }
</style>
";

pub(super) fn html(report: &Report) -> String {
    let model = if report.model.is_empty() { "a model".to_owned() } else { escape(&report.model) };
    let mut out = format!("{HEAD}<title>{model}: requests and answers</title>\n{STYLE}</head>\n<body>\n");
    // Writing to memory does not fail.
    let _ = write_all(&mut out, report, &model);
    out.push_str("</body>\n</html>\n");
    out
}

fn write_all(out: &mut String, report: &Report, model: &str) -> std::fmt::Result {
    let (class, verdict) = match &report.drift {
        _ if report.traffic.rows == 0 => ("soft", "No answered requests".to_owned()),
        None => ("soft", "No reference to compare with".to_owned()),
        Some(drift) if drift.alarm => {
            ("bad", format!("Drift: {} of {} features", drift.drifted.len(), report.features.len()))
        }
        Some(_) => ("good", "No drift".to_owned()),
    };
    writeln!(out, "<h1>{model}: <span class=\"{class}\">{verdict}</span></h1>")?;
    traffic(out, report)?;
    if let Some(figures) = &report.quality {
        writeln!(out, "<h2>Quality</h2>\n<p>{} rows with labels: {}</p>", figures.rows, quality(figures))?;
        if !figures.calibration.is_empty() {
            let plot = calibration(&figures.calibration);
            writeln!(
                out,
                "<figure>{plot}<figcaption class=\"soft\">Confidence (across) and share that is right (up)</figcaption></figure>"
            )?;
        }
    }
    windows(out, report)?;
    groups(out, "Slices", &report.slices)?;
    features(out, report)?;
    if !report.notes.is_empty() {
        writeln!(out, "<h2>Notes</h2>\n<ul>")?;
        for note in &report.notes {
            writeln!(out, "<li>{}</li>", escape(note))?;
        }
        writeln!(out, "</ul>")?;
    }
    Ok(())
}

fn traffic(out: &mut String, report: &Report) -> std::fmt::Result {
    let traffic = &report.traffic;
    write!(out, "<p>{} requests, {} rows", traffic.requests, traffic.rows)?;
    if let (Some(first), Some(last)) = (&traffic.first, &traffic.last) {
        write!(out, ", {first} to {last}")?;
    }
    writeln!(out, "</p>")?;
    if let Some(latency) = traffic.latency_ms {
        let (p50, p90, p99) = (short(latency.p50), short(latency.p90), short(latency.p99));
        let max = short(latency.max);
        writeln!(out, "<p>Latency: {p50} ms median, {p90} ms for 90%, {p99} ms for 99%, {max} ms at most</p>")?;
    }
    if !traffic.failures.is_empty() {
        let codes = traffic.failures.iter().map(|(code, count)| format!("{count} {}", escape(code)));
        let share = short(traffic.failure_rate.unwrap_or(0.0) * 100.0);
        writeln!(out, "<p class=\"bad\">{share}% failed: {}</p>", codes.collect::<Vec<_>>().join(", "))?;
    }
    if let Some(drift) = &report.drift {
        writeln!(
            out,
            "<p class=\"soft\">Reference of {}, {} rows. A feature has drifted if its p-value, corrected for {} tests, is \
             below {} and its PSI at least {}.</p>",
            escape(&drift.reference_made),
            drift.reference_rows,
            drift.tests,
            short(drift.thresholds.false_alarm),
            short(drift.thresholds.psi)
        )?;
    }
    Ok(())
}

fn windows(out: &mut String, report: &Report) -> std::fmt::Result {
    groups(out, "Windows", &report.windows)?;
    let plots: [(&str, Value); 5] = [
        ("Requests", |group| Some(group.requests as f64)),
        ("Largest PSI of a feature", |group| group.largest_psi),
        ("Latency of 99% in ms", |group| group.latency_p99_ms),
        ("Accuracy", |group| group.quality.as_ref()?.accuracy),
        ("Mean absolute error", |group| group.quality.as_ref()?.mae),
    ];
    if report.windows.len() < 2 {
        return Ok(());
    }
    writeln!(out, "<div class=\"plots\">")?;
    for (name, value) in plots {
        let points: Vec<(String, f64)> =
            report.windows.iter().filter_map(|group| Some((group.name.clone(), value(group)?))).collect();
        if points.len() > 1 {
            writeln!(out, "<figure>{}<figcaption>{name}</figcaption></figure>", line(&points))?;
        }
    }
    writeln!(out, "</div>")
}

fn groups(out: &mut String, title: &str, groups: &[GroupReport]) -> std::fmt::Result {
    if groups.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "<h2>{title}</h2>\n<div class=\"wide\"><table>\n<tr><th></th><th>rows</th><th>failed</th><th>99% ms</th>\
         <th>largest PSI</th><th>of</th><th>quality</th></tr>"
    )?;
    for group in groups {
        let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), short);
        writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(&group.name),
            group.rows,
            group.failures,
            number(group.latency_p99_ms),
            number(group.largest_psi),
            group.largest_psi_feature.as_deref().map_or_else(String::new, escape),
            group.quality.as_ref().map_or_else(String::new, quality)
        )?;
    }
    writeln!(out, "</table></div>")
}

fn features(out: &mut String, report: &Report) -> std::fmt::Result {
    let mut sorted: Vec<&FeatureReport> = report.features.iter().collect();
    sorted.sort_by(|a, b| {
        let distance = |feature: &FeatureReport| feature.psi.unwrap_or(-1.0);
        b.drifted.cmp(&a.drifted).then(distance(b).total_cmp(&distance(a)))
    });
    writeln!(
        out,
        "<h2>Features</h2>\n<div class=\"wide\"><table>\n<tr><th>feature</th><th>PSI</th><th>JS</th><th>KS</th><th>χ²</th>\
         <th>p</th><th>missing</th><th>outside</th><th>mean</th><th>deviation</th><th>min</th><th>max</th>\
         <th>distinct</th></tr>"
    )?;
    for feature in &sorted {
        let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), short);
        let class = if feature.drifted { " class=\"bad\"" } else { "" };
        writeln!(
            out,
            "<tr{class}><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(&feature.name),
            number(feature.psi),
            number(feature.jensen_shannon),
            number(feature.ks),
            number(feature.chi_squared),
            feature.adjusted_p_value.map_or_else(|| "–".to_owned(), |p| escape(&p_value(p))),
            number(feature.missing),
            number(feature.out_of_range),
            number(feature.mean),
            number(feature.deviation),
            number(feature.min),
            number(feature.max),
            feature.distinct
        )?;
    }
    writeln!(out, "</table></div>")?;
    writeln!(
        out,
        "<p class=\"soft\"><span class=\"key before\">reference</span> <span class=\"key now\">log</span></p>\n\
         <div class=\"plots\">"
    )?;
    for feature in sorted.iter().filter(|feature| !feature.groups.is_empty()).take(PLOTTED) {
        let class = if feature.drifted { " class=\"bad\"" } else { "" };
        let plot = bars(&feature.groups);
        writeln!(out, "<figure>{plot}<figcaption{class}>{}</figcaption></figure>", escape(&feature.name))?;
    }
    writeln!(out, "</div>")
}
