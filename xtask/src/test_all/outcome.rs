//! What a step has to say for itself.

use std::fmt;
use std::ops::Add;

/// Tests, examples and checks, counted alike.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Tally {
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) skipped: u64,
}

pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    counted: Tally,
    /// For the table: what ran, by what.
    pub(super) detail: String,
}

pub(super) enum Verdict {
    Passed,
    /// With what there is to print about it.
    Failed {
        output: String,
    },
    NotRun {
        reason: String,
    },
}

impl Outcome {
    /// One check that is fine.
    pub(super) fn passed() -> Outcome {
        Outcome::counted(Tally { passed: 1, ..Tally::default() }, String::new())
    }

    pub(super) fn failed(output: impl Into<String>) -> Outcome {
        Outcome { verdict: Verdict::Failed { output: output.into() }, counted: Tally::default(), detail: String::new() }
    }

    pub(super) fn not_run(reason: impl Into<String>) -> Outcome {
        Outcome { verdict: Verdict::NotRun { reason: reason.into() }, counted: Tally::default(), detail: String::new() }
    }

    /// Several checks; the step failed if one of them did.
    pub(super) fn counted(counted: Tally, output: String) -> Outcome {
        let verdict = if counted.failed == 0 { Verdict::Passed } else { Verdict::Failed { output } };
        Outcome { verdict, counted, detail: String::new() }
    }

    pub(super) fn with_tally(mut self, counted: Tally) -> Outcome {
        self.counted = counted;
        self
    }

    pub(super) fn with_detail(mut self, detail: impl Into<String>) -> Outcome {
        self.detail = detail.into();
        self
    }

    /// What a failure printed.
    pub(super) fn output(&self) -> Option<&str> {
        match &self.verdict {
            Verdict::Failed { output } => Some(output),
            _ => None,
        }
    }

    /// The counts, in which no step goes unseen: one that failed before it could count is one failure.
    pub(super) fn tally(&self) -> Tally {
        let mut tally = self.counted;
        match self.verdict {
            Verdict::Passed => {}
            Verdict::Failed { .. } => tally.failed = tally.failed.max(1),
            Verdict::NotRun { .. } => tally.skipped = tally.skipped.max(1),
        }
        tally
    }
}

impl Add for Tally {
    type Output = Tally;

    fn add(self, other: Tally) -> Tally {
        Tally {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Tally, Verdict};

    #[test]
    fn every_step_is_counted_at_least_once() {
        let some = Tally { passed: 7, failed: 0, skipped: 2 };
        assert_eq!(Outcome::passed().tally().to_string(), "1 passed, 0 failed, 0 skipped");
        assert_eq!(Outcome::failed("").with_tally(some).tally().to_string(), "7 passed, 1 failed, 2 skipped");
        assert_eq!(Outcome::not_run("").tally().to_string(), "0 passed, 0 failed, 1 skipped");
    }

    #[test]
    fn one_failed_check_fails_the_step() {
        let good = Outcome::counted(Tally { passed: 2, ..Tally::default() }, String::new());
        assert!(matches!(good.verdict, Verdict::Passed));
        let bad = Outcome::counted(Tally { passed: 2, failed: 1, skipped: 0 }, "why".to_owned());
        assert!(matches!(bad.verdict, Verdict::Failed { output } if output == "why"));
    }
}
