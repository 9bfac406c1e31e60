//! The rounds.

use crate::args::Args;
use crate::failure::Outcome;
use crate::groups::{Group, Placement};
use crate::machine::{Load, Machine};
use crate::plan::Plan;
use crate::probe::core_to_core;
use crate::progress::Progress;
use crate::report::{GroupReport, Measured, Report, Settings};
use crate::rows::Row;

/// A round is void when the processors were more than so many times as far apart as they usually are, or as near ...
const TOO_FAR: f64 = 2.0;
/// ... and is repeated, but in all not more often than this in a group.
const MAX_REPEATS: usize = 4;

pub(crate) fn run(args: &Args) -> Outcome<Report> {
    let mut probe = Probe::new(args.cpus)?;
    let mut progress = Progress::new(args.groups.iter().map(|group| group.rows().len() * rounds(group, args)).sum());
    let mut groups = Vec::new();
    for group in &args.groups {
        let Some(plan) = plan(group.placement, args) else {
            groups.push(GroupReport::skipped(group, "it takes two processors, and there is one"));
            continue;
        };
        groups.push(measure_group(group, &plan, rounds(group, args), &mut probe, &mut progress)?);
    }
    progress.finish();
    let settings = Settings::new(args);
    Ok(Report { machine: Machine::this(), settings, groups })
}

fn rounds(group: &Group, args: &Args) -> usize {
    if group.unit.is_counted() { 1 } else { args.rounds }
}

/// Where processes are to run; `None` if this machine has too few processors.
pub(crate) fn plan(placement: Placement, args: &Args) -> Option<Plan> {
    let cpus = match placement {
        Placement::OneCpu => Some((args.cpus.0, args.cpus.0)),
        Placement::TwoCpus => Some((args.cpus.0, args.cpus.1?)),
        Placement::Free => None,
    };
    Some(Plan { window: args.window, cpus })
}

fn measure_group(
    group: &Group,
    plan: &Plan,
    rounds: usize,
    probe: &mut Probe,
    progress: &mut Progress,
) -> Outcome<GroupReport> {
    let rows = group.rows();
    let mut measured: Vec<Measured> = rows.iter().map(|row| Measured::new(row)).collect();
    let (mut probes, mut repeats, before) = (Vec::new(), 0, Load::now()?);
    for round in 0..rounds {
        progress.round(group.id, round, rounds);
        loop {
            let (distance_before, figures, distance_after) =
                (probe.look()?, measure_round(&rows, &measured, plan, progress), probe.look()?);
            if group.placement == Placement::TwoCpus {
                let odd = [distance_before, distance_after].into_iter().find(|distance| probe.is_odd(*distance));
                if let (Some(odd), ..MAX_REPEATS) = (odd, repeats) {
                    repeats += 1;
                    progress.lengthen(rows.len());
                    progress.say(&format!(
                        "{}: the processors are {odd:.0} ns apart and usually {:.0}; the round is repeated",
                        group.id,
                        probe.usual()
                    ));
                    continue;
                }
                probes.extend([distance_before, distance_after]);
            }
            for (measured, figure) in measured.iter_mut().zip(figures) {
                measured.add(figure);
            }
            break;
        }
    }
    let others = Load::now()?.others_since(before);
    Ok(GroupReport::new(group, plan, &measured, probes, repeats, others))
}

/// Measures every row once; not those that have failed before.
fn measure_round(
    rows: &[&Row],
    measured: &[Measured],
    plan: &Plan,
    progress: &mut Progress,
) -> Vec<Option<Outcome<f64>>> {
    let one = |(row, measured): (&&Row, &Measured)| {
        progress.row(row.group.id, row.name);
        let figure = (!measured.has_failed()).then(|| (row.measure)(plan));
        if let Some(Err(failure)) = &figure {
            progress.say(&format!("{}: {}: {failure}", row.group.id, row.name));
        }
        progress.advance();
        figure
    };
    rows.iter().zip(measured).map(one).collect()
}

/// The probe of the two processors, and what it has shown so far.
struct Probe {
    cpus: Option<(usize, usize)>,
    sorted: Vec<f64>,
}

impl Probe {
    fn new((a, b): (usize, Option<usize>)) -> Outcome<Probe> {
        let mut probe = Probe { cpus: b.map(|b| (a, b)), sorted: Vec::new() };
        (0..8).try_for_each(|_| probe.look().map(drop))?;
        Ok(probe)
    }

    fn look(&mut self) -> Outcome<f64> {
        let Some((a, b)) = self.cpus else { return Ok(0.0) };
        let now = core_to_core(a, b)?;
        self.sorted.insert(self.sorted.partition_point(|earlier| *earlier < now), now);
        Ok(now)
    }

    /// The lower quartile. The minimum would be that of a moment in which two virtual processors shared a core, and the median
    /// too high if the machine was slow for half of the time.
    fn usual(&self) -> f64 {
        self.sorted.get(self.sorted.len() / 4).copied().unwrap_or_default()
    }

    fn is_odd(&self, distance: f64) -> bool {
        !(self.usual() / TOO_FAR..=self.usual() * TOO_FAR).contains(&distance)
    }
}
