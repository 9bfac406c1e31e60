//! Reads how many tests ran from what the test runners print.

use super::outcome::Tally;

/// Adds up the lines `test result: ok. 3 passed; 0 failed; 1 ignored; …`, one for each test binary.
pub(super) fn from_libtest(output: &str) -> Tally {
    output.lines().filter_map(|line| line.strip_prefix("test result: ")).fold(Tally::default(), |sum, line| {
        // After the verdict: `3 passed; 0 failed; …`.
        let counts = line.split_once(". ").map_or("", |(_, counts)| counts);
        counts.split(';').filter_map(number_and_word).fold(sum, |sum, (number, word)| match word {
            "passed" => Tally { passed: sum.passed + number, ..sum },
            "failed" => Tally { failed: sum.failed + number, ..sum },
            "ignored" => Tally { skipped: sum.skipped + number, ..sum },
            _ => sum,
        })
    })
}

/// Reads `Summary [ 1.2s] 10 tests run: 7 passed (1 slow), 2 failed, 1 timed out, 3 skipped`.
pub(super) fn from_nextest(output: &str) -> Tally {
    let summary = output.lines().rev().find(|line| line.trim_start().starts_with("Summary ["));
    let Some((_, counts)) = summary.and_then(|line| line.split_once(" run: ")) else { return Tally::default() };
    without_parentheses(counts).split(',').filter_map(number_and_word).fold(Tally::default(), |sum, (number, word)| {
        match word {
            "passed" => Tally { passed: sum.passed + number, ..sum },
            "skipped" => Tally { skipped: sum.skipped + number, ..sum },
            // `failed`, `exec failed`, `timed out`: what is neither passed nor skipped is no good news.
            _ => Tally { failed: sum.failed + number, ..sum },
        }
    })
}

fn number_and_word(text: &str) -> Option<(u64, &str)> {
    let (number, word) = text.trim().split_once(' ')?;
    Some((number.parse().ok()?, word))
}

fn without_parentheses(text: &str) -> String {
    let mut depth = 0;
    let outside = |character: &char| {
        depth += i32::from(*character == '(');
        let keep = depth == 0;
        depth -= i32::from(*character == ')');
        keep
    };
    text.chars().filter(outside).collect()
}

#[cfg(test)]
mod tests {
    use super::{Tally, from_libtest, from_nextest};

    #[test]
    fn libtest_results_are_added_up() {
        let output = "running 3 tests\n\
            test result: FAILED. 3 passed; 1 failed; 1 ignored; 0 measured; 5 filtered out; finished in 0.01s\n\n\
            test result: FAILED. 2 passed; 4 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.01s\n";
        assert_eq!(from_libtest(output), Tally { passed: 5, failed: 5, skipped: 3 });
    }

    #[test]
    fn nextest_summary_is_read() {
        let plain = "     Summary [   0.012s] 2 tests run: 2 passed, 0 skipped\n";
        assert_eq!(from_nextest(plain), Tally { passed: 2, failed: 0, skipped: 0 });
        let rich = "     Summary [   1.2s] 12/20 tests run: 7 passed (1 slow, 2 leaky), 2 failed, 1 exec failed, \
            2 timed out, 3 skipped\n        FAIL [ 0.1s] a b\nerror: test run failed\n";
        assert_eq!(from_nextest(rich), Tally { passed: 7, failed: 5, skipped: 3 });
        let one = "     Summary [   0.012s] 1 test run: 1 passed (1 slow), 4 skipped\n";
        assert_eq!(from_nextest(one), Tally { passed: 1, failed: 0, skipped: 4 });
    }

    #[test]
    fn output_without_a_summary_counts_nothing() {
        assert_eq!(from_nextest("error: could not compile"), Tally::default());
        assert_eq!(from_libtest("error: could not compile"), Tally::default());
    }
}
