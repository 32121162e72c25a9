//! Plots as SVG: what happened over time, for pages on light and on dark ground.
//!
//! A plot has two panels over one time axis: how long messages waited, and how far the upload was.
//! The colours are in the middle between black and white, and the ground is left alone.

use std::{fmt::Write, fs, io, path::Path, time::Duration};

/// Width of the whole, in pixels.
const WIDTH: f64 = 840.0;
/// Where the panels begin and end from left to right.
const LEFT: f64 = 76.0;
const RIGHT: f64 = WIDTH - 16.0;
/// Height of a panel, and what is above each.
const PANEL: f64 = 150.0;
const GAP: f64 = 34.0;
/// What is above the first panel.
const TOP: f64 = 44.0;
/// Axes and words.
const INK: &str = "#808890";
/// Disturbances.
const MARK: &str = "#d08030";
/// Lines and points, a system each.
const COLOURS: [&str; 4] = ["#2f81c7", "#b8479a", "#4c9a4c", "#a08a1a"];
/// Points of one line at most; of more, every so many-th is drawn.
const POINTS_MAX: usize = 2_000;

/// One plot.
#[derive(Debug, Default)]
pub(crate) struct Plot {
    pub(crate) title: String,
    /// Where something happened: from and until, in time.
    pub(crate) marks: Vec<(Duration, Duration)>,
    pub(crate) systems: Vec<System>,
}

/// What one system did.
#[derive(Debug, Default)]
pub(crate) struct System {
    pub(crate) name: &'static str,
    /// When messages were due, and how long each waited.
    pub(crate) waits: Vec<(Duration, Duration)>,
    /// When how many bytes were there.
    pub(crate) progress: Vec<(Duration, u64)>,
}

/// An axis from 0 to `max` in steps.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Axis {
    max: f64,
    step: f64,
}

impl Plot {
    /// Writes the plot into a folder, under this name.
    ///
    /// # Errors
    /// If the disk does not take it.
    pub(crate) fn write(&self, folder: &Path, name: &str) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join(format!("{name}.svg")), self.svg())
    }

    /// The plot as a file.
    fn svg(&self) -> String {
        let height = TOP + 2.0 * PANEL + GAP + 44.0;
        let waits = || self.systems.iter().flat_map(|one| one.waits.iter());
        let progress = || self.systems.iter().flat_map(|one| one.progress.iter());
        let ends = waits().map(|(at, _)| at.as_secs_f64());
        let end = ends.chain(progress().map(|(at, _)| at.as_secs_f64())).fold(1.0, f64::max);
        let longest = waits().map(|(_, wait)| millis(*wait)).fold(1.0, f64::max);
        let size = progress().map(|(_, bytes)| megabytes(*bytes)).fold(1.0, f64::max);
        let (time, wait, size) = (Axis::to(end), Axis::to(longest), Axis::to(size));
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             font-family=\"sans-serif\" font-size=\"12\" fill=\"{INK}\" role=\"img\">\n\
             <title>{title}</title>\n\
             <text x=\"{LEFT}\" y=\"18\" font-size=\"14\" font-weight=\"bold\">{title}</text>\n",
            title = self.title,
        );
        self.legend(&mut out);
        for (top, axis, what) in [
            (TOP, wait, "ms that a message waited"),
            (TOP + PANEL + GAP, size, "MB of the upload there"),
        ] {
            self.draw_marks(&mut out, top, time);
            frame(&mut out, top, axis, what);
        }
        for (system, colour) in self.systems.iter().zip(COLOURS) {
            points(&mut out, system, colour, time, wait);
            line(&mut out, system, colour, time, size);
        }
        time_axis(&mut out, TOP + 2.0 * PANEL + GAP, time);
        out.push_str("</svg>\n");
        out
    }

    fn legend(&self, out: &mut String) {
        let mut x = RIGHT - 20.0;
        for (system, colour) in self.systems.iter().zip(COLOURS).rev() {
            x -= 7.0 * system.name.len() as f64;
            put(out, format_args!("<text x=\"{x:.0}\" y=\"18\">{}</text>", system.name));
            x -= 14.0;
            let swatch = format_args!(
                "<rect x=\"{x:.0}\" y=\"9\" width=\"10\" height=\"10\" fill=\"{colour}\"/>"
            );
            put(out, swatch);
            x -= 14.0;
        }
    }

    fn draw_marks(&self, out: &mut String, top: f64, time: Axis) {
        for (from, until) in &self.marks {
            let (from, until) = (across(from, time), across(until, time));
            let width = (until - from).max(1.0);
            put(
                out,
                format_args!(
                    "<rect x=\"{from:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{PANEL}\" \
                 fill=\"{MARK}\" fill-opacity=\"0.35\"/>"
                ),
            );
        }
    }
}

impl Axis {
    /// With a handful of round steps, as far as `value`.
    fn to(value: f64) -> Self {
        let raw = value / 5.0;
        let power = 10_f64.powf(raw.log10().floor());
        let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= raw);
        let step = factor.unwrap_or(10.0) * power;
        Self { max: (value / step).ceil() * step, step }
    }

    /// Where there is a number, from 0 on.
    fn ticks(self) -> impl Iterator<Item = f64> {
        let count = (self.max / self.step).round() as u32;
        (0..=count).map(move |tick| f64::from(tick) * self.step)
    }
}

fn frame(out: &mut String, top: f64, axis: Axis, what: &str) {
    for tick in axis.ticks() {
        let y = top + PANEL - tick / axis.max * PANEL;
        let word = number(tick, axis.step);
        put(
            out,
            format_args!(
                "<line x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"{INK}\" \
             stroke-opacity=\"0.3\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{word}</text>",
                LEFT - 6.0,
                y + 4.0,
            ),
        );
    }
    put(out, format_args!("<text x=\"{LEFT}\" y=\"{:.1}\">{what}</text>", top - 6.0));
}

fn time_axis(out: &mut String, bottom: f64, time: Axis) {
    for tick in time.ticks() {
        let x = LEFT + tick / time.max * (RIGHT - LEFT);
        let word = number(tick, time.step);
        put(
            out,
            format_args!(
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{bottom}\" y2=\"{:.1}\" stroke=\"{INK}\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{word}</text>",
                bottom + 5.0,
                bottom + 19.0,
            ),
        );
    }
    put(
        out,
        format_args!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">seconds</text>",
            RIGHT,
            bottom + 36.0
        ),
    );
}

fn points(out: &mut String, system: &System, colour: &str, time: Axis, wait: Axis) {
    // One path of dots is a small fraction of a file of circles.
    let mut path = String::new();
    for (at, waited) in thin(&system.waits) {
        let y = TOP + PANEL - millis(*waited) / wait.max * PANEL;
        put_part(&mut path, format_args!("M{:.1} {y:.1}h0", across(at, time)));
    }
    put(
        out,
        format_args!(
            "<path d=\"{path}\" stroke=\"{colour}\" stroke-width=\"3\" stroke-linecap=\"round\" \
         fill=\"none\"/>"
        ),
    );
}

fn line(out: &mut String, system: &System, colour: &str, time: Axis, size: Axis) {
    let mut path = String::new();
    for (at, bytes) in thin(&system.progress) {
        let y = TOP + 2.0 * PANEL + GAP - megabytes(*bytes) / size.max * PANEL;
        let pen = if path.is_empty() { 'M' } else { 'L' };
        put_part(&mut path, format_args!("{pen}{:.1} {y:.1}", across(at, time)));
    }
    put(
        out,
        format_args!("<path d=\"{path}\" stroke=\"{colour}\" stroke-width=\"2\" fill=\"none\"/>"),
    );
}

/// Not more points than anyone can see; always the last.
fn thin<T>(all: &[T]) -> impl Iterator<Item = &T> {
    let every = all.len().div_ceil(POINTS_MAX).max(1);
    let last = all.len().saturating_sub(1);
    all.iter().enumerate().filter(move |(at, _)| at % every == 0 || *at == last).map(|(_, one)| one)
}

fn across(at: &Duration, time: Axis) -> f64 {
    LEFT + at.as_secs_f64() / time.max * (RIGHT - LEFT)
}

/// With as many digits as the step needs.
fn number(value: f64, step: f64) -> String {
    if step < 1.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn put(out: &mut String, element: std::fmt::Arguments<'_>) {
    put_part(out, element);
    out.push('\n');
}

fn put_part(out: &mut String, part: std::fmt::Arguments<'_>) {
    out.write_fmt(part).expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_steps_and_reach_far_enough() {
        for (value, max, step) in [
            (1.0, 1.0, 0.2),
            (43.0, 50.0, 10.0),
            (100.0, 100.0, 20.0),
            (61_234.0, 80_000.0, 20_000.0),
        ] {
            let axis = Axis::to(value);
            assert!((axis.max - max).abs() < 1e-9 && (axis.step - step).abs() < 1e-9, "{axis:?}");
        }
    }

    #[test]
    fn a_plot_shows_every_system_and_stays_small() {
        let second = Duration::from_secs(1);
        let waits = (0..10_000).map(|at| (second * at / 20, second / 25)).collect();
        let progress = (0..10_000).map(|at| (second * at / 20, u64::from(at))).collect();
        let systems = vec![System { name: "one", waits, progress }, System::default()];
        let svg = Plot { title: "x".into(), marks: vec![(second, second * 3)], systems }.svg();
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("<path").count(), 4);
        assert!(svg.contains("seconds") && !svg.contains("NaN") && svg.len() < 200_000);
    }

    #[test]
    fn thinning_keeps_the_ends() {
        let all: Vec<_> = (0..4_999).collect();
        let thin: Vec<_> = thin(&all).collect();
        assert!(thin.len() <= POINTS_MAX + 1);
        assert_eq!((thin.first(), thin.last()), (Some(&&0), Some(&&4_998)));
    }
}
