//! The closing table of a run.

use std::time::Duration;

use super::Row;
use super::outcome::Verdict;

/// The rows as a table. The result is the last column because a reason may be long.
pub(super) fn arrange(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0).max("step".len());
    let mut table = format!("{:width$}  {:>7}  result\n", "step", "min:sec");
    for row in rows {
        table += &format!("{:width$}  {:>7}  {}\n", row.name, minutes(row.time), result(row));
    }
    table
}

/// `ok`, `FAILED` or `not run`, and what there is to say about it.
pub(super) fn result(row: &Row) -> String {
    let word = match &row.outcome.verdict {
        Verdict::Passed => "ok".to_owned(),
        Verdict::Failed { .. } => "FAILED".to_owned(),
        Verdict::NotRun { reason } => format!("not run: {reason}"),
    };
    if row.outcome.detail.is_empty() { word } else { format!("{word}  ({})", row.outcome.detail) }
}

fn minutes(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::super::outcome::Outcome;
    use super::{Row, arrange, minutes};
    use std::time::Duration;

    #[test]
    fn columns_stand_below_each_other() {
        let row = |name, outcome, seconds| Row { name, outcome, time: Duration::from_secs(seconds) };
        let rows = [
            row("fmt", Outcome::passed(), 1),
            row("examples", Outcome::failed("long output").with_detail("2 of 9 failed"), 605),
            row("msrv", Outcome::not_run("no Rust 1.85"), 0),
        ];
        let expected = "\
step      min:sec  result
fmt          0:01  ok
examples    10:05  FAILED  (2 of 9 failed)
msrv         0:00  not run: no Rust 1.85
";
        assert_eq!(arrange(&rows), expected);
    }

    #[test]
    fn seconds_are_rounded_and_carried() {
        assert_eq!(minutes(Duration::from_millis(59_600)), "1:00");
        assert_eq!(minutes(Duration::from_millis(400)), "0:00");
    }
}
