//! Measurements of many sizes, drawn.

use std::fmt::Write;
use std::path::Path;

use crate::args::Args;
use crate::chart::{Chart, Line};
use crate::failure::{Failure, Outcome};
use crate::groups::Placement;
use crate::machine::Machine;
use crate::plan::Plan;
use crate::runner::plan;
use crate::stats::median;
use crate::unit::Unit;

pub(crate) struct Picture {
    pub(crate) file: &'static str,
    pub(crate) title: &'static str,
    /// What changes from left to right, and its values.
    pub(crate) x: &'static str,
    pub(crate) at: &'static [usize],
    pub(crate) show: fn(usize) -> String,
    pub(crate) unit: Unit,
    pub(crate) placement: Placement,
    pub(crate) curves: &'static [Curve],
}

pub(crate) struct Curve {
    pub(crate) name: &'static str,
    /// Measures it once for a value, as a row does.
    pub(crate) measure: fn(&Plan, usize) -> Outcome<f64>,
}

/// Measures a picture and draws it into a folder. Returns its figures as Markdown, and what went wrong.
pub(crate) fn draw(picture: &Picture, args: &Args, folder: &Path) -> Outcome<(String, Vec<String>)> {
    let plan =
        plan(picture.placement, args).ok_or_else(|| Failure::new("it takes two processors, and there is one"))?;
    let (mut rounds, mut failures) = (vec![vec![Vec::new(); picture.at.len()]; picture.curves.len()], Vec::new());
    for round in 0..args.rounds {
        eprintln!("{}: round {} of {}", picture.file, round + 1, args.rounds);
        for (i, at) in picture.at.iter().enumerate() {
            for (curve, rounds) in picture.curves.iter().zip(&mut rounds) {
                match (curve.measure)(&plan, *at) {
                    Ok(figure) => rounds[i].push(figure),
                    Err(failure) => failures.push(format!("{}: {} at {at}: {failure}", picture.file, curve.name)),
                }
            }
        }
    }
    let line = |(curve, rounds): (&Curve, &Vec<Vec<f64>>)| {
        let figures = rounds.iter().map(|figures| (!figures.is_empty()).then(|| median(figures)));
        Line { name: curve.name, figures: figures.collect() }
    };
    let machine = Machine::this();
    let chart = Chart {
        title: picture.title,
        about: format!(
            "{}, {} CPUs, Linux {}; medians of {} rounds",
            machine.processor, machine.cpus, machine.kernel, args.rounds
        ),
        x: picture.x,
        y: picture.unit.name(),
        at: picture.at,
        show_x: picture.show,
        show_y: |figure| match figure {
            ..1e3 => figure.to_string(),
            1e3..1e6 => format!("{} k", figure / 1e3),
            _ => format!("{} M", figure / 1e6),
        },
        curves: picture.curves.iter().zip(&rounds).map(line).collect(),
    };
    let file = folder.join(picture.file);
    std::fs::write(&file, chart.to_svg()).map_err(|e| Failure::new(format!("cannot write {}: {e}", file.display())))?;
    Ok((table(picture, &chart), failures))
}

fn table(picture: &Picture, chart: &Chart) -> String {
    let mut text = format!("\n## {}\n\n{}; {}.\n\n| {} |", picture.title, picture.unit.name(), chart.about, picture.x);
    picture.curves.iter().for_each(|curve| text += &format!(" {} |", curve.name));
    text += &format!("\n|--:|{}\n", "--:|".repeat(picture.curves.len()));
    for (i, at) in picture.at.iter().enumerate() {
        text += &format!("| {} |", (picture.show)(*at));
        for line in &chart.curves {
            // Writing to a string cannot fail.
            let _ = match line.figures[i] {
                Some(figure) => write!(text, " {} |", picture.unit.show(figure)),
                None => write!(text, " |"),
            };
        }
        text.push('\n');
    }
    text
}
