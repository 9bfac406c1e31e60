//! What came out: for people as Markdown, for programs as JSON.

use std::fmt::Write;

use serde::Serialize;

use crate::args::Args;
use crate::failure::{Failure, Outcome};
use crate::groups::{Group, Placement};
use crate::machine::Machine;
use crate::plan::Plan;
use crate::rows::{Goal, Row};
use crate::stats::Summary;
use crate::unit::Unit;

/// When others use more than this part of the machine, it is their figures that are seen.
const DISTURBED: f64 = 0.05;

#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) settings: Settings,
    pub(crate) groups: Vec<GroupReport>,
}

#[derive(Serialize)]
pub(crate) struct Settings {
    optimised: bool,
    rounds: usize,
    warm_up_seconds: f64,
    seconds: f64,
}

#[derive(Serialize)]
pub(crate) struct GroupReport {
    id: &'static str,
    title: &'static str,
    about: &'static str,
    unit: &'static str,
    #[serde(skip)]
    kind: Unit,
    processes: String,
    /// Why nothing was measured, if so.
    skipped: Option<&'static str>,
    /// Nanoseconds from one processor to the other, before and after each round.
    core_to_core: Vec<f64>,
    repeated_rounds: usize,
    /// How much of the processors' time other processes used, from 0 to 1.
    used_by_others: f64,
    rows: Vec<RowReport>,
}

#[derive(Serialize)]
struct RowReport {
    name: &'static str,
    reference: bool,
    /// In the group's unit, one figure for each round.
    rounds: Vec<f64>,
    summary: Option<Summary>,
    /// To the reference, taken within each round.
    ratio: Option<Summary>,
    goal: Option<String>,
    goal_met: Option<bool>,
    must: bool,
    failure: Option<String>,
    /// Why there is nothing to measure here, if so.
    missing: Option<String>,
}

/// The figures of a row as they come in.
pub(crate) struct Measured {
    row: &'static Row,
    figures: Vec<f64>,
    failure: Option<Failure>,
}

impl Measured {
    pub(crate) fn new(row: &'static Row) -> Measured {
        Measured { row, figures: Vec::new(), failure: None }
    }

    pub(crate) fn add(&mut self, figure: Option<Outcome<f64>>) {
        match figure {
            Some(Ok(figure)) => self.figures.push(figure),
            Some(Err(failure)) => self.failure = Some(failure),
            None => {}
        }
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }
}

impl Settings {
    pub(crate) fn new(args: &Args) -> Settings {
        Settings {
            optimised: !cfg!(debug_assertions),
            rounds: args.rounds,
            warm_up_seconds: args.window.warm_up.as_secs_f64(),
            seconds: args.window.length.as_secs_f64(),
        }
    }
}

impl GroupReport {
    pub(crate) fn new(
        group: &Group,
        plan: &Plan,
        measured: &[Measured],
        core_to_core: Vec<f64>,
        repeated_rounds: usize,
        used_by_others: f64,
    ) -> GroupReport {
        let processes = match (plan.cpus, group.placement) {
            (Some((a, _)), Placement::OneCpu) => format!("everything on CPU {a}"),
            (Some((a, b)), _) => format!("the measured process on CPU {a}, its peer on CPU {b}"),
            (None, _) => "processes not pinned".into(),
        };
        let rows = measured.iter().map(|row| RowReport::new(row, measured)).collect();
        GroupReport { processes, core_to_core, repeated_rounds, used_by_others, rows, ..GroupReport::empty(group) }
    }

    pub(crate) fn skipped(group: &Group, why: &'static str) -> GroupReport {
        GroupReport { skipped: Some(why), ..GroupReport::empty(group) }
    }

    fn empty(group: &Group) -> GroupReport {
        GroupReport {
            id: group.id,
            title: group.title,
            about: group.about,
            unit: group.unit.name(),
            kind: group.unit,
            processes: String::new(),
            skipped: None,
            core_to_core: Vec::new(),
            repeated_rounds: 0,
            used_by_others: 0.0,
            rows: Vec::new(),
        }
    }

    fn write_markdown(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "\n## {}\n", self.title)?;
        if let Some(why) = self.skipped {
            return writeln!(text, "Not measured: {why}.");
        }
        let mut facts = vec![self.about.to_string(), self.processes.clone()];
        if let Some(probe) = Summary::of(&self.core_to_core) {
            facts.push(format!("core to core {:.0} to {:.0} ns", probe.min, probe.max));
        }
        if self.repeated_rounds > 0 {
            facts.push(format!("rounds repeated: {}", self.repeated_rounds));
        }
        let others = format!("others used {:.0} % of the machine", 100.0 * self.used_by_others);
        let disturbed = self.used_by_others > DISTURBED && !self.kind.is_counted();
        facts.push(if disturbed { format!("**{others}, so do not quote these figures**") } else { others });
        writeln!(text, "{}.\n", facts.join("; "))?;
        if self.kind.is_counted() {
            writeln!(text, "| | {} | goal |\n|---|--:|---|", self.unit)?;
        } else if self.kind.is_absolute() {
            writeln!(text, "| | {} | min | max | goal |\n|---|--:|--:|--:|---|", self.unit)?;
        } else {
            writeln!(text, "| | {} | min | max | ratio | min | max | goal |", self.unit)?;
            writeln!(text, "|---|--:|--:|--:|--:|--:|--:|---|")?;
        }
        self.rows.iter().try_for_each(|row| row.write_markdown(self.kind, text))?;
        for row in &self.rows {
            if let Some(failure) = row.failure.as_ref().or(row.missing.as_ref()) {
                writeln!(text, "\n{}: {failure}", row.name)?;
            }
        }
        Ok(())
    }
}

impl RowReport {
    /// `group` has the figures of the row's group, its own among them.
    fn new(measured: &Measured, group: &[Measured]) -> RowReport {
        let Measured { row, figures, failure } = measured;
        let find = |is: &dyn Fn(&Row) -> bool| group.iter().find(|other| is(other.row)).map(|other| &other.figures[..]);
        let reference = find(&|row| row.goal == Goal::Reference);
        let summary = Summary::of(figures);
        let ratio = match reference {
            Some(reference) if row.goal != Goal::Reference => Summary::of_ratios(figures, reference),
            _ => None,
        };
        let best = || Some(summary?.max / Summary::of(reference?)?.max);
        let times = |name| Some(Summary::of_ratios(figures, find(&|row| row.name == name)?)?.median);
        let goal_met = match row.goal {
            Goal::Reference | Goal::Look => None,
            Goal::AtMost(goal) => ratio.map(|ratio| ratio.median <= goal),
            Goal::AtLeast(goal) => ratio.map(|ratio| ratio.median >= goal),
            Goal::BestAtLeast(goal) => best().map(|best| best >= goal),
            // What is not there cannot be compared with.
            Goal::Times(goals) => {
                summary.map(|_| goals.iter().all(|(name, goal)| times(*name).is_none_or(|is| is >= *goal)))
            }
            Goal::Parts(goals) => {
                summary.map(|_| goals.iter().all(|(name, goal)| times(*name).is_none_or(|is| is <= *goal)))
            }
            Goal::MedianAtMost(goal) => summary.map(|summary| summary.median <= goal),
            Goal::MedianAtLeast(goal) => summary.map(|summary| summary.median >= goal),
            Goal::Below(goal) => summary.map(|summary| summary.max < goal),
            Goal::Zero => summary.map(|summary| summary.max == 0.0),
        };
        let goal = match (row.goal, best()) {
            (Goal::Reference | Goal::Look, _) => None,
            (goal @ Goal::BestAtLeast(_), Some(best)) => Some(format!("{} (is {best:.2})", goal.text())),
            (Goal::Times(goals) | Goal::Parts(goals), _) => {
                let how = if matches!(row.goal, Goal::Times(_)) { "at least" } else { "at most" };
                let text = |(name, goal): &(&'static str, f64)| match times(name) {
                    Some(is) => format!("{how} {goal} of `{name}` (is {is:.2})"),
                    None => format!("{how} {goal} of `{name}` (not measured)"),
                };
                Some(goals.iter().map(text).collect::<Vec<_>>().join(", "))
            }
            (goal, _) => Some(goal.text()),
        };
        let text = |missing| failure.iter().find(|failure| failure.is_missing() == missing).map(Failure::to_string);
        let (missing, failure) = (text(true), text(false));
        RowReport {
            name: row.name,
            reference: row.goal == Goal::Reference,
            must: row.goal == Goal::Zero,
            rounds: figures.clone(),
            summary,
            ratio,
            goal,
            goal_met,
            failure,
            missing,
        }
    }

    fn write_markdown(&self, unit: Unit, text: &mut String) -> std::fmt::Result {
        let three = |summary: Option<Summary>, show: &dyn Fn(f64) -> String| match summary {
            Some(Summary { median, min, max }) => format!("{} | {} | {}", show(median), show(min), show(max)),
            None => " | | ".into(),
        };
        let figures = match self.summary {
            Some(summary) if unit.is_counted() => unit.show(summary.max),
            None if unit.is_counted() => String::new(),
            summary if unit.is_absolute() => three(summary, &|figure| unit.show(figure)),
            summary => {
                let ratios = if self.reference { "1 | | ".into() } else { three(self.ratio, &|r| format!("{r:.2}")) };
                format!("{} | {ratios}", three(summary, &|figure| unit.show(figure)))
            }
        };
        let goal = match (&self.goal, self.goal_met) {
            _ if self.failure.is_some() => "**FAILED**, see below".into(),
            _ if self.missing.is_some() => "not measured, see below".into(),
            (Some(goal), Some(true)) => format!("{goal}: met"),
            (Some(goal), _) => format!("{goal}: **missed**"),
            (None, _) if self.reference => "reference".into(),
            (None, _) => String::new(),
        };
        writeln!(text, "| {} | {figures} | {goal} |", self.name)
    }
}

impl Report {
    pub(crate) fn to_markdown(&self) -> String {
        let (machine, settings) = (&self.machine, &self.settings);
        let mut text = format!(
            "# Benchmark\n\n{}, {} CPUs, Linux {}. {} rounds of {} s after {} s of warm-up, rows interleaved; median, min and max\n\
             over the rounds; ratios to the reference row, taken within a round.\n",
            machine.processor,
            machine.cpus,
            machine.kernel,
            settings.rounds,
            settings.seconds,
            settings.warm_up_seconds
        );
        if !settings.optimised {
            text += "\n**Built without optimisation: the figures mean nothing. Use `--release`.**\n";
        }
        for group in &self.groups {
            // Writing to a string cannot fail.
            let _ = group.write_markdown(&mut text);
        }
        text
    }

    /// What must not be, whatever the machine.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let complaint = |group: &GroupReport, row: &RowReport| match &row.failure {
            Some(failure) => Some(format!("{}: {}: {failure}", group.id, row.name)),
            None if row.must && row.goal_met != Some(true) => {
                Some(format!("{}: {}: it has to be none", group.id, row.name))
            }
            None => None,
        };
        let mut complaints = Vec::new();
        for group in &self.groups {
            complaints.extend(group.rows.iter().filter_map(|row| complaint(group, row)));
        }
        complaints
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::IDLE;

    fn reported(figures: &[Outcome<f64>]) -> RowReport {
        static ROW: Row = Row { group: &IDLE, name: "row", goal: Goal::Below(0.1), measure: |_| Ok(0.0) };
        let mut measured = Measured::new(&ROW);
        figures.iter().for_each(|figure| measured.add(Some(figure.clone())));
        RowReport::new(&measured, &[])
    }

    fn complaints(row: RowReport) -> usize {
        let group = GroupReport { rows: vec![row], ..GroupReport::empty(&IDLE) };
        let settings = Settings { optimised: true, rounds: 1, warm_up_seconds: 0.0, seconds: 0.0 };
        Report { machine: Machine::this(), settings, groups: vec![group] }.complaints().len()
    }

    #[test]
    fn below_holds_for_every_figure() {
        assert_eq!(reported(&[Ok(0.05), Ok(0.09)]).goal_met, Some(true));
        assert_eq!(reported(&[Ok(0.05), Ok(0.1), Ok(0.05)]).goal_met, Some(false));
    }

    #[test]
    fn a_median_is_held_against_its_limit() {
        static ROW: Row = Row { group: &IDLE, name: "row", goal: Goal::MedianAtLeast(2.0), measure: |_| Ok(0.0) };
        let met = |figures: &[f64]| {
            RowReport::new(&Measured { row: &ROW, figures: figures.to_vec(), failure: None }, &[]).goal_met
        };
        assert_eq!(met(&[1.0, 2.0, 3.0]), Some(true));
        assert_eq!(met(&[1.0, 1.9, 3.0]), Some(false));
    }

    #[test]
    fn several_rows_are_compared_with() {
        static A: Row = Row { group: &IDLE, name: "a", goal: Goal::Look, measure: |_| Ok(0.0) };
        static B: Row = Row { group: &IDLE, name: "b", goal: Goal::Look, ..A };
        static C: Row = Row { name: "c", goal: Goal::Times(&[("a", 3.0), ("b", 1.5), ("d", 9.0)]), ..A };
        let measured = |row, figures: &[f64]| Measured { row, figures: figures.to_vec(), failure: None };
        let met = |c| RowReport::new(&c, &[measured(&A, &[1.0, 2.0]), measured(&B, &[2.0, 4.0])]).goal_met;
        assert_eq!(met(measured(&C, &[3.0, 6.0])), Some(true));
        assert_eq!(met(measured(&C, &[2.0, 4.0])), Some(false), "2 of a, 1 of b");
        assert_eq!(met(measured(&C, &[])), None);
        static D: Row = Row { name: "c", goal: Goal::Parts(&[("a", 3.0), ("b", 1.5), ("d", 0.1)]), ..A };
        assert_eq!(met(measured(&D, &[3.0, 6.0])), Some(true));
        assert_eq!(met(measured(&D, &[3.2, 6.4])), Some(false), "3.2 of a");
    }

    #[test]
    fn what_is_missing_is_no_failure() {
        assert_eq!(complaints(reported(&[Err(Failure::new("broken"))])), 1);
        let row = reported(&[Err(Failure::missing("not here"))]);
        assert_eq!((row.missing.as_deref(), &row.failure), (Some("not here"), &None));
        assert_eq!(complaints(row), 0);
    }
}
