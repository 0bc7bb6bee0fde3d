//! Charts as SVG: plain shapes and text, small enough to be kept beside the documentation.

use std::fmt::Write as _;

use super::chart::{Axis, Chart};

const WIDTH: f64 = 820.0;
/// About the width of a letter of a label, generously.
const LETTER: f64 = 7.0;
const HEIGHT: f64 = 420.0;
/// The plot's own box: left, top, right, bottom. The legend is to the right of it, as wide as its labels want.
const LEFT: f64 = 64.0;
const TOP: f64 = 40.0;
const RIGHT: f64 = 590.0;
const BOTTOM: f64 = 366.0;

/// Told apart by most eyes, also in grey (after Okabe and Ito, and darker tones of the same).
const COLOURS: [&str; 12] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#8a8a8a", "#7a4fbf",
    "#5f8a00", "#a0522d", "#b0005a",
];
/// Neighbours in the legend differ in this too: of two lines on the same course both can be seen.
const DASHES: [&str; 3] = ["", "7 4", "2 3"];

// === impl Chart ===

impl Chart {
    pub(crate) fn to_svg(&self) -> String {
        let mut svg = String::new();
        let (width, height) = self.size();
        let _ = writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>"
        );
        let unit = if self.unit.is_empty() { String::new() } else { format!(", {}", self.unit) };
        text(&mut svg, LEFT, 22.0, "start", 15.0, &format!("{}{unit}", self.title));
        match &self.across {
            Some(across) => self.draw_lines(&mut svg, across),
            None => self.draw_bars(&mut svg),
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// Wide enough for the labels, and for bars no higher than they need.
    fn size(&self) -> (f64, f64) {
        match self.across {
            Some(_) => (WIDTH.max(RIGHT + 46.0 + self.label_width() + 8.0), HEIGHT),
            None => (WIDTH, TOP + self.bar_height() * self.series.len() as f64 + 16.0),
        }
    }

    fn label_width(&self) -> f64 {
        let letters = self.series.iter().map(|(label, _)| label.chars().count()).max();
        letters.unwrap_or_default() as f64 * LETTER
    }

    fn bar_height(&self) -> f64 {
        ((BOTTOM - TOP) / self.series.len().max(1) as f64).clamp(20.0, 34.0)
    }

    fn draw_lines(&self, svg: &mut String, across: &str) {
        let (x, y) = (self.x(), self.y());
        let right = |value| LEFT + x.place(value) * (RIGHT - LEFT);
        let up = |value| BOTTOM - y.place(value) * (BOTTOM - TOP);
        for (from, to) in &self.shades {
            let (from, to) = (right(*from), right(*to));
            let width = (to - from).max(1.5);
            let _ = writeln!(
                svg,
                "<rect x=\"{from:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"#f3e3d8\"/>",
                BOTTOM - TOP
            );
        }
        draw_grid(svg, &y);
        for tick in &x.ticks {
            let at = right(*tick);
            line(svg, at, BOTTOM, at, BOTTOM + 4.0, "#444");
            text(svg, at, BOTTOM + 18.0, "middle", 12.0, &number(*tick));
        }
        text(svg, (LEFT + RIGHT) / 2.0, BOTTOM + 38.0, "middle", 12.0, across);
        for (place, (label, points)) in self.series.iter().enumerate() {
            let (colour, dash) = style(place);
            let mut path = String::new();
            let mut pen = 'M';
            for (x, y) in points {
                if y.is_finite() {
                    let _ = write!(path, "{pen}{:.1} {:.1}", right(*x), up(*y));
                    pen = 'L';
                } else {
                    pen = 'M';
                }
            }
            let _ = writeln!(
                svg,
                "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\" stroke-dasharray=\"{dash}\" \
                 stroke-linejoin=\"round\"/>"
            );
            let row = TOP + 8.0 + 20.0 * place as f64;
            let _ = writeln!(
                svg,
                "<path d=\"M{} {row}h24\" stroke=\"{colour}\" stroke-width=\"3\" stroke-dasharray=\"{dash}\"/>",
                RIGHT + 16.0
            );
            text(svg, RIGHT + 46.0, row + 4.0, "start", 12.0, label);
        }
        line(svg, LEFT, BOTTOM, RIGHT, BOTTOM, "#444");
    }

    /// One bar under the other, each with its name to the left and its value to the right.
    fn draw_bars(&self, svg: &mut String) {
        let y = self.y();
        let (left, height) = (self.label_width() + 16.0, self.bar_height());
        for (place, (label, points)) in self.series.iter().enumerate() {
            let value = points.first().map_or(f64::NAN, |point| point.1);
            let top = TOP + height * place as f64;
            let middle = top + height / 2.0 + 4.0;
            text(svg, left - 8.0, middle, "end", 12.0, label);
            let width = if value.is_finite() { y.place(value).max(0.0) * (WIDTH - left - 90.0) } else { 0.0 };
            let _ = writeln!(
                svg,
                "<rect x=\"{left}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{}\"/>",
                top + 3.0,
                height - 6.0,
                style(place).0
            );
            let shown = if value.is_finite() { number(value) } else { "-".to_owned() };
            text(svg, left + width + 6.0, middle, "start", 12.0, &shown);
        }
    }
}

fn draw_grid(svg: &mut String, y: &Axis) {
    for tick in &y.ticks {
        let at = BOTTOM - y.place(*tick) * (BOTTOM - TOP);
        line(svg, LEFT, at, RIGHT, at, "#dddddd");
        text(svg, LEFT - 8.0, at + 4.0, "end", 12.0, &number(*tick));
    }
}

fn style(place: usize) -> (&'static str, &'static str) {
    // The second round of colours is dashed otherwise than the first.
    (COLOURS[place % COLOURS.len()], DASHES[(place + place / COLOURS.len()) % DASHES.len()])
}

fn line(svg: &mut String, x1: f64, y1: f64, x2: f64, y2: f64, colour: &str) {
    let _ = writeln!(
        svg,
        "<path d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\" stroke=\"{colour}\" stroke-width=\"1\"/>"
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, size: f64, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\" fill=\"#222\">{words}</text>"
    );
}

/// Three digits that matter, and no more zeros than needed.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        value if value >= 1.0 => 2,
        0.0 => 0,
        value => (2.0 - value.log10().floor()) as usize,
    };
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_as_wide_as_its_labels_want() {
        let label = "adaptive, among all of them, with repeats and with ejection";
        let mut lines = Chart::lines("p99", "load", "ms", false);
        lines.add(label, vec![(0.0, 1.0), (1.0, 2.0)]);
        let (width, _) = lines.size();
        assert!(width >= RIGHT + 46.0 + LETTER * label.len() as f64, "{width}");
        assert!(lines.to_svg().contains(&format!("viewBox=\"0 0 {width} {HEIGHT}\"")));
        let mut bars = Chart::bars("errors", "%", false);
        (0..20).for_each(|_| bars.add(label, vec![(0.0, 1.0)]));
        let last = bars.to_svg().lines().rfind(|line| line.starts_with("<rect x=")).unwrap().to_owned();
        assert!(last.starts_with(&format!("<rect x=\"{}\"", bars.label_width() + 16.0)), "{last}");
        assert!(bars.size().1 >= TOP + 20.0 * 20.0, "{:?}", bars.size());
    }

    #[test]
    fn numbers_are_short() {
        for (value, shown) in
            [(0.0, "0"), (0.5, "0.5"), (0.0123, "0.0123"), (1.0, "1"), (12.34, "12.3"), (1234.5, "1234")]
        {
            assert_eq!(number(value), shown);
        }
    }

    #[test]
    fn a_gap_in_a_line_stays_a_gap_and_names_are_escaped() {
        let mut chart = Chart::lines("p99", "load", "ms", false);
        chart.add("a < b & c", vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.0), (3.0, 2.0)]);
        let svg = chart.to_svg();
        assert_eq!(svg.matches("a &lt; b &amp; c").count(), 1);
        let path = svg.lines().find(|line| line.contains("stroke-linejoin")).unwrap();
        assert_eq!((path.matches('M').count(), path.matches('L').count()), (2, 1), "{path}");
        assert!(!svg.contains("NaN"));
    }
}
