//! Plots as SVG inside of the page. Colours come from the page's style.

use std::fmt::Write;

use super::GroupShare;
use super::text::short;
use crate::quality::Calibrated;

/// Characters that HTML has a meaning for, as text.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Control characters, and those that turn the direction of the text.
            '\u{0}'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{7f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                out.push('\u{fffd}');
            }
            other => out.push(other),
        }
    }
    out
}

/// Shares of groups as pairs of bars: the reference, and the log.
pub(super) fn bars(groups: &[GroupShare]) -> String {
    const WIDTH: f64 = 320.0;
    const HEIGHT: f64 = 80.0;
    /// The bars that can be told apart.
    const SHOWN: usize = 32;
    let groups = groups.get(..SHOWN).unwrap_or(groups);
    let largest = groups.iter().map(|group| group.current.max(group.reference.unwrap_or(0.0))).fold(0.0, f64::max);
    if largest <= 0.0 {
        return String::new();
    }
    let step = WIDTH / groups.len() as f64;
    let mut out = format!("<svg class=\"bars\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" aria-hidden=\"true\">");
    for (index, group) in groups.iter().enumerate() {
        let left = index as f64 * step;
        let bar = |offset: f64, share: f64, class: &str| {
            let height = share / largest * (HEIGHT - 2.0);
            format!(
                "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
                left + offset * step,
                HEIGHT - height,
                step * 0.4
            )
        };
        let reference = group.reference.map_or_else(String::new, |share| bar(0.08, share, "before"));
        let title = match group.reference {
            Some(share) => {
                format!("{}: {} in the reference, {} in the log", group.name, short(share), short(group.current))
            }
            None => format!("{}: {}", group.name, short(group.current)),
        };
        let _ = write!(out, "<g><title>{}</title>{reference}{}</g>", escape(&title), bar(0.5, group.current, "now"));
    }
    out.push_str("</svg>");
    out
}

/// A value over windows, with what each is named.
pub(super) fn line(points: &[(String, f64)]) -> String {
    const WIDTH: f64 = 640.0;
    const HEIGHT: f64 = 120.0;
    const MARGIN: f64 = 6.0;
    let largest = points.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let smallest = points.iter().map(|(_, value)| *value).fold(0.0, f64::min);
    let span = if largest > smallest { largest - smallest } else { 1.0 };
    let last = points.len().saturating_sub(1).max(1) as f64;
    let place = |(index, (_, value)): (usize, &(String, f64))| {
        let x = MARGIN + index as f64 / last * (WIDTH - 2.0 * MARGIN);
        let y = HEIGHT - MARGIN - (value - smallest) / span * (HEIGHT - 2.0 * MARGIN);
        format!("{x:.1},{y:.1}")
    };
    let places: Vec<String> = points.iter().enumerate().map(place).collect();
    let mut out = format!("<svg class=\"line\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" aria-hidden=\"true\">");
    let _ = write!(out, "<polyline points=\"{}\"/>", places.join(" "));
    for (place, (name, value)) in places.iter().zip(points) {
        let (x, y) = place.split_once(',').unwrap_or(("0", "0"));
        let title = escape(&format!("{name}: {}", short(*value)));
        let _ = write!(out, "<circle cx=\"{x}\" cy=\"{y}\" r=\"3\"><title>{title}</title></circle>");
    }
    out.push_str("</svg>");
    out
}

/// Confidence against the share that is right. On the diagonal the two are equal.
pub(super) fn calibration(bins: &[Calibrated]) -> String {
    const SIZE: f64 = 200.0;
    let most = bins.iter().map(|bin| bin.rows).max().unwrap_or(1).max(1) as f64;
    let mut out = format!(
        "<svg class=\"square\" viewBox=\"0 0 {SIZE} {SIZE}\" aria-hidden=\"true\">\
         <line class=\"diagonal\" x1=\"0\" y1=\"{SIZE}\" x2=\"{SIZE}\" y2=\"0\"/>"
    );
    for bin in bins {
        let radius = 3.0 + 7.0 * (bin.rows as f64 / most).sqrt();
        let title = format!("{} rows: confidence {}, right {}", bin.rows, short(bin.confidence), short(bin.share));
        let (x, y) = (bin.confidence * SIZE, SIZE - bin.share * SIZE);
        let _ = write!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\"><title>{title}</title></circle>");
    }
    out.push_str("</svg>");
    out
}
