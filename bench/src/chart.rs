//! Charts with logarithmic axes, as SVG.

use std::fmt::{self, Write};

pub(crate) struct Chart {
    pub(crate) title: &'static str,
    pub(crate) about: String,
    /// What stands at the axes.
    pub(crate) x: &'static str,
    pub(crate) y: &'static str,
    /// Where figures are.
    pub(crate) at: &'static [usize],
    pub(crate) show_x: fn(usize) -> String,
    pub(crate) show_y: fn(f64) -> String,
    pub(crate) curves: Vec<Line>,
}

pub(crate) struct Line {
    pub(crate) name: &'static str,
    /// One for each place, if it could be measured.
    pub(crate) figures: Vec<Option<f64>>,
}

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 560.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 740.0;
const TOP: f64 = 80.0;
const BOTTOM: f64 = 490.0;

/// Colours that also those tell apart who see few of them (Okabe and Ito).
const COLOURS: [&str; 6] = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

impl Chart {
    pub(crate) fn to_svg(&self) -> String {
        let mut svg = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_svg(&mut svg);
        svg
    }

    fn write_svg(&self, svg: &mut String) -> fmt::Result {
        writeln!(
            svg,
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' font-family='sans-serif' font-size='13'>\n\
             <rect width='{WIDTH}' height='{HEIGHT}' fill='white'/>"
        )?;
        text(svg, LEFT, 32.0, "start", "font-size='18' font-weight='bold'", self.title)?;
        text(svg, LEFT, 54.0, "start", "fill='#555'", &self.about)?;
        let figures: Vec<f64> = self.curves.iter().flat_map(|line| &line.figures).copied().flatten().collect();
        // Whole powers of ten, so that there are numbers at both ends.
        let low = figures.iter().copied().fold(f64::INFINITY, f64::min).log10().floor();
        let high = figures.iter().copied().fold(0.0, f64::max).log10().ceil().max(low + 1.0);
        let y = |figure: f64| BOTTOM - (BOTTOM - TOP) * (figure.log10() - low) / (high - low);
        let x = |i: usize| LEFT + 20.0 + (RIGHT - LEFT - 40.0) * self.fraction(i);
        if figures.is_empty() {
            text(svg, LEFT, TOP, "start", "", "nothing could be measured")?;
            return writeln!(svg, "</svg>");
        }
        for power in low as i32..=high as i32 {
            let figure = 10_f64.powi(power);
            line(svg, (LEFT, y(figure)), (RIGHT, y(figure)), "#ccc")?;
            text(svg, LEFT - 8.0, y(figure) + 4.0, "end", "", &(self.show_y)(figure))?;
            for part in 2..10 {
                let figure = figure * f64::from(part);
                if power < high as i32 {
                    line(svg, (LEFT, y(figure)), (RIGHT, y(figure)), "#eee")?;
                }
            }
        }
        for (i, at) in self.at.iter().enumerate() {
            line(svg, (x(i), TOP), (x(i), BOTTOM), "#ddd")?;
            text(svg, x(i), BOTTOM + 20.0, "middle", "", &(self.show_x)(*at))?;
        }
        text(svg, (LEFT + RIGHT) / 2.0, BOTTOM + 48.0, "middle", "", self.x)?;
        let middle = (TOP + BOTTOM) / 2.0;
        text(svg, 24.0, middle, "middle", &format!("transform='rotate(-90 24 {middle})'"), self.y)?;
        for (curve, colour) in self.curves.iter().zip(COLOURS.iter().cycle()) {
            let measured = curve.figures.iter().enumerate().filter_map(|(i, figure)| Some((x(i), y((*figure)?))));
            let points: Vec<String> = measured.clone().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            writeln!(
                svg,
                "<polyline points='{}' fill='none' stroke='{colour}' stroke-width='2.5'/>",
                points.join(" ")
            )?;
            for (x, y) in measured {
                writeln!(svg, "<circle cx='{x:.1}' cy='{y:.1}' r='4' fill='{colour}'/>")?;
            }
        }
        let last = x(self.at.len() - 1);
        for (place, (curve, colour, end)) in self.labels(&y) {
            writeln!(
                svg,
                "<path d='M{:.1} {end:.1} L{} {place:.1}' stroke='{colour}' fill='none'/>",
                last + 8.0,
                RIGHT + 18.0
            )?;
            text(svg, RIGHT + 22.0, place + 4.0, "start", &format!("fill='{colour}'"), curve)?;
        }
        writeln!(svg, "</svg>")
    }

    fn fraction(&self, i: usize) -> f64 {
        let log = |i: usize| (self.at[i] as f64).log2();
        let last = self.at.len() - 1;
        if last == 0 { 0.5 } else { (log(i) - log(0)) / (log(last) - log(0)) }
    }

    /// The names at the ends of their curves, moved apart where they would cover each other.
    fn labels(&self, y: &dyn Fn(f64) -> f64) -> Vec<(f64, (&'static str, &'static str, f64))> {
        const APART: f64 = 18.0;
        let ends = self.curves.iter().zip(COLOURS.iter().cycle()).filter_map(|(curve, colour)| {
            let end = y(curve.figures.iter().rev().find_map(|figure| *figure)?);
            Some((end, (curve.name, *colour, end)))
        });
        let mut labels: Vec<_> = ends.collect();
        labels.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        for i in 1..labels.len() {
            labels[i].0 = labels[i].0.max(labels[i - 1].0 + APART);
        }
        labels
    }
}

fn line(svg: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64), colour: &str) -> fmt::Result {
    writeln!(svg, "<path d='M{x1:.1} {y1:.1} L{x2:.1} {y2:.1}' stroke='{colour}'/>")
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, style: &str, text: &str) -> fmt::Result {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    writeln!(svg, "<text x='{x:.1}' y='{y:.1}' text-anchor='{anchor}' {style}>{text}</text>")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(figures: &[&[Option<f64>]]) -> String {
        let curves = figures.iter().map(|figures| Line { name: "a < b", figures: figures.to_vec() }).collect();
        let chart = Chart {
            title: "t",
            about: "a".into(),
            x: "x",
            y: "y",
            at: &[1, 2, 4],
            show_x: |x| x.to_string(),
            show_y: |y| y.to_string(),
            curves,
        };
        chart.to_svg()
    }

    #[test]
    fn what_could_not_be_measured_is_left_out() {
        let svg = chart(&[&[Some(1.0), None, Some(100.0)], &[None, None, None]]);
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("a &lt; b") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert!(!chart(&[&[None, None, None]]).contains("NaN"));
    }

    #[test]
    fn names_do_not_cover_each_other() {
        let svg = chart(&[&[Some(1.0); 3], &[Some(1.0); 3]]);
        let places: Vec<&str> = svg.lines().filter(|line| line.contains("a &lt; b")).collect();
        assert_eq!(places.len(), 2);
        assert_ne!(places[0].split(" text-anchor").next(), places[1].split(" text-anchor").next());
    }
}
