//! Plots the loss.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use plotters::prelude::*;
use plotters::style::FontTransform;
use tf_persist_core::scratch::NewFile;
use tf_persist_core::train::Epoch;

use super::curve::Curve;
use crate::error::UsageError;

const SIZE: (u32, u32) = (960, 540);
/// More points than this look no different; each pair is the lowest and the highest of some steps.
const MAX_POINTS: usize = 4_000;

const STEPS: RGBColor = RGBColor(120, 160, 200);
const MEANS: RGBColor = RGBColor(33, 102, 172);
const VALIDATION: RGBColor = RGBColor(178, 24, 43);

/// The file of the plot.
pub(super) struct Target(PathBuf);

/// Steps, counted over the whole training, and losses.
type Points = Vec<(f64, f64)>;

impl Target {
    /// Checks that a file can be written there, before there is anything to draw, and that the model will not be.
    pub(super) fn new(path: &Path, output: &Path) -> anyhow::Result<Self> {
        if !path.as_os_str().as_encoded_bytes().ends_with(b".svg") {
            bail!(UsageError(format!("--plot: `{}` does not end in .svg", path.display())));
        }
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        if absolute(path) == absolute(output) {
            bail!(UsageError(format!("--plot and --output are both `{}`", path.display())));
        }
        let target = Self(path.to_path_buf());
        if path.is_dir() {
            bail!("cannot write `{}`: it is a folder", path.display());
        }
        target.temporary().map(|_| target)
    }

    /// Draws the curve; the file appears whole or not at all.
    pub(super) fn draw(&self, curve: &Curve) -> anyhow::Result<()> {
        let svg = svg(curve).map_err(|reason| anyhow!("cannot draw `{}`: {reason}", self.0.display()))?;
        let mut file = self.temporary()?;
        let writing = || format!("cannot write `{}`", self.0.display());
        file.write_all(svg.as_bytes()).with_context(writing)?;
        file.publish(true).with_context(writing)
    }

    /// A file beside the target, as readable as any other new file.
    fn temporary(&self) -> anyhow::Result<NewFile> {
        let folder = match self.0.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let writing = || format!("cannot write `{}`", self.0.display());
        // Gives the operating system's message for the folder, rather than one about a temporary file.
        fs::metadata(folder).with_context(writing)?;
        NewFile::beside(&self.0).map_err(|error| std::io::Error::from(error.kind())).with_context(writing)
    }
}

fn svg(curve: &Curve) -> Result<String, String> {
    let steps = thinned(curve);
    let of = |values: &dyn Fn(&Epoch) -> Option<f64>| -> Points {
        let points = curve.epochs.iter().filter_map(|epoch| Some((epoch.steps as f64, values(epoch)?)));
        points.filter(|(_, loss)| loss.is_finite()).collect()
    };
    // The loss is the first of the means.
    let means = of(&|epoch| epoch.means.first().map(|(_, loss)| *loss));
    let validation = of(&|epoch| epoch.validation.as_ref()?.first().map(|(_, loss)| *loss));
    let name = curve.epochs.first().and_then(|epoch| epoch.means.first()).map_or("loss", |(name, _)| name);
    let mut svg = String::new();
    draw(&mut svg, curve, name, &steps, &means, &validation).map_err(|error| error.to_string())?;
    Ok(svg)
}

fn draw(
    svg: &mut String,
    curve: &Curve,
    name: &str,
    steps: &Points,
    means: &Points,
    validation: &Points,
) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let last = (curve.first + curve.losses.len() as u64).max(curve.first + 1);
    let mut chart = ChartBuilder::on(&root)
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(curve.first.saturating_sub(1) as f64..last as f64, range(&[steps, means, validation]))?;
    let text = ("sans-serif", 14).into_font();
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("step")
        .y_desc(name)
        .x_label_formatter(&|step| format!("{step:.0}"))
        .label_style(text.clone())
        .axis_desc_style(text.clone().transform(FontTransform::None))
        .draw()?;
    for (label, points, colour, width, dots) in [
        ("training, each step", steps, STEPS, 1, 0),
        ("training, mean of the epoch", means, MEANS, 2, 3),
        ("validation", validation, VALIDATION, 2, 3),
    ] {
        if points.is_empty() {
            continue;
        }
        let style = colour.stroke_width(width);
        let line = LineSeries::new(points.iter().copied(), style).point_size(dots);
        let legend = move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style);
        chart.draw_series(line)?.label(label).legend(legend);
    }
    let mut legend = chart.configure_series_labels();
    legend.position(SeriesLabelPosition::UpperRight).background_style(WHITE.mix(0.8)).border_style(BLACK);
    legend.label_font(text).draw()?;
    root.present()
}

/// From slightly below the lowest loss to slightly above the highest.
fn range(all: &[&Points]) -> std::ops::Range<f64> {
    let losses = || all.iter().flat_map(|points| points.iter().map(|(_, loss)| *loss));
    let (low, high) = (losses().fold(f64::INFINITY, f64::min), losses().fold(f64::NEG_INFINITY, f64::max));
    if low > high {
        return 0.0..1.0;
    }
    // The axis begins at 0 if no loss is negative.
    let low = if low >= 0.0 { 0.0 } else { low };
    let room = ((high - low) * 0.05).max(high.abs() * 1e-6).max(f64::MIN_POSITIVE);
    (if low < 0.0 { low - room } else { low })..(high + room)
}

/// The finite losses of the steps, or the extremes of groups of steps if there are too many.
fn thinned(curve: &Curve) -> Points {
    let all: Points = (curve.first..).map(|step| step as f64).zip(curve.losses.iter().copied()).collect();
    let all: Points = all.into_iter().filter(|(_, loss)| loss.is_finite()).collect();
    if all.len() <= MAX_POINTS {
        return all;
    }
    let group = all.len().div_ceil(MAX_POINTS / 2);
    let extremes = |points: &[(f64, f64)]| {
        let by_loss = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let (low, high) = (points.iter().min_by(by_loss), points.iter().max_by(by_loss));
        let mut pair: Points = low.into_iter().chain(high).copied().collect();
        pair.sort_by(|a, b| a.0.total_cmp(&b.0));
        pair
    };
    all.chunks(group).flat_map(extremes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(losses: Vec<f64>) -> Curve {
        let mut curve = Curve::new(true);
        curve.losses = losses;
        curve
    }

    #[test]
    fn draws_finite_losses() {
        let svg = svg(&curve(vec![2.0, 1.5, f64::NAN, 1.0])).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for text in [">\nstep\n<", ">\nloss\n<", "training, each step"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        assert!(!svg.contains("validation") && !svg.contains("NaN"));
    }

    #[test]
    fn unusual_curves_are_drawn() {
        for losses in [vec![], vec![0.0], vec![f64::NAN], vec![-1.0, -2.0], vec![1e300, -1e300], vec![5.0; 3]] {
            assert!(svg(&curve(losses)).unwrap().contains("</svg>"));
        }
    }

    #[test]
    fn many_steps_keep_their_extremes() {
        let mut losses: Vec<f64> = (0..1_000_000).map(|step| f64::from(step % 7)).collect();
        losses[123_456] = 100.0;
        losses[654_321] = -100.0;
        let points = thinned(&curve(losses));
        assert!(points.len() <= MAX_POINTS);
        assert!(points.contains(&(123_457.0, 100.0)) && points.contains(&(654_322.0, -100.0)));
        assert!(points.is_sorted_by(|a, b| a.0 <= b.0));
    }
}
