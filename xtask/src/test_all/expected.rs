//! Compares what a program printed with what it should print.
//!
//! - `{*}` in a line stands for any text within that line: process ids, times.
//! - A line that is only `{...}` stands for any number of lines.
//! - After a first line `# in any order` the lines may come in any order, as from processes that run at the same time;
//!   a `{...}` then allows further lines.

const ANY_ORDER: &str = "# in any order";
const ANY_TEXT: &str = "{*}";
const ANY_LINES: &str = "{...}";

/// Lines shown of each side of a difference; more than this is read in the files.
const SHOWN: usize = 20;

/// `Err` has the lines that differ, `-` those expected and `+` those printed.
pub(super) fn compare(expected: &str, printed: &str) -> Result<(), String> {
    let mut expected: Vec<_> = expected.lines().collect();
    let printed: Vec<_> = printed.lines().collect();
    if expected.first() == Some(&ANY_ORDER) {
        expected.remove(0);
        return compare_in_any_order(expected, printed);
    }
    if lines_match(&expected, &printed) {
        return Ok(());
    }
    // What is equal at both ends explains nothing.
    let fits = |(pattern, line): &(&&str, &&str)| **pattern != ANY_LINES && line_matches(pattern, line);
    let start = expected.iter().zip(&printed).take_while(fits).count();
    let (expected, printed) = (&expected[start..], &printed[start..]);
    let end = expected.iter().rev().zip(printed.iter().rev()).take_while(fits).count();
    let (expected, printed) = (&expected[..expected.len() - end], &printed[..printed.len() - end]);
    Err(format!("from line {} on:\n{}{}", start + 1, listed('-', expected), listed('+', printed)))
}

fn compare_in_any_order(mut expected: Vec<&str>, mut printed: Vec<&str>) -> Result<(), String> {
    let length = expected.len();
    expected.retain(|pattern| *pattern != ANY_LINES);
    let further_allowed = expected.len() < length;
    // The patterns that say most choose first, so that `{*}` does not take the line which only another one fits.
    expected.sort_by_key(|pattern| (pattern.contains(ANY_TEXT), std::cmp::Reverse(pattern.len())));
    expected.retain(|pattern| match printed.iter().position(|line| line_matches(pattern, line)) {
        Some(index) => {
            printed.remove(index);
            false
        }
        None => true,
    });
    if expected.is_empty() && (printed.is_empty() || further_allowed) {
        return Ok(());
    }
    Err(format!("in any order:\n{}{}", listed('-', &expected), listed('+', &printed)))
}

fn lines_match(patterns: &[&str], lines: &[&str]) -> bool {
    let Some((first, patterns_left)) = patterns.split_first() else { return lines.is_empty() };
    if *first == ANY_LINES {
        return (0..=lines.len()).any(|skipped| lines_match(patterns_left, &lines[skipped..]));
    }
    let Some((line, lines_left)) = lines.split_first() else { return false };
    line_matches(first, line) && lines_match(patterns_left, lines_left)
}

fn line_matches(pattern: &str, line: &str) -> bool {
    let Some((start, rest)) = pattern.split_once(ANY_TEXT) else { return pattern == line };
    let Some(line) = line.strip_prefix(start) else { return false };
    line.char_indices().map(|(index, _)| index).chain([line.len()]).any(|index| line_matches(rest, &line[index..]))
}

fn listed(sign: char, lines: &[&str]) -> String {
    let mut text: String = lines.iter().take(SHOWN).map(|line| format!("  {sign} {line}\n")).collect();
    if lines.len() > SHOWN {
        text += &format!("  {sign} … and {} more lines\n", lines.len() - SHOWN);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{compare, line_matches};

    #[test]
    fn a_wildcard_stays_within_its_line() {
        for (pattern, line) in [
            ("pid {*} is gone", "pid 4711 is gone"),
            ("pid {*} is gone", "pid  is gone"),
            ("{*}", ""),
            ("{*} of {*}", "1 of 2 of 3"),
            ("in {*} ms", "in 3 µs, no, 4 ms"),
            ("literal * and {...} here", "literal * and {...} here"),
        ] {
            assert!(line_matches(pattern, line), "`{pattern}` should fit `{line}`");
        }
        for (pattern, line) in [
            ("pid {*} is gone", "pid 4711 is here"),
            ("a{*}", "ba"),
            ("{*}a", "ab"),
            ("{*} of {*}", "1 off"),
            ("", "x"),
        ] {
            assert!(!line_matches(pattern, line), "`{pattern}` should not fit `{line}`");
        }
    }

    #[test]
    fn equal_output_is_equal() {
        assert_eq!(compare("a\nb\n", "a\nb\n"), Ok(()));
        assert_eq!(compare("", ""), Ok(()));
        assert!(compare("a\nb\n", "b\na\n").is_err());
        assert!(compare("a\n", "").is_err());
        assert!(compare("", "a\n").is_err());
    }

    #[test]
    fn dots_stand_for_any_number_of_lines() {
        assert_eq!(compare("a\n{...}\nz\n", "a\nz\n"), Ok(()));
        assert_eq!(compare("a\n{...}\nz\n", "a\nz\nb\nz\n"), Ok(()));
        assert_eq!(compare("{...}\n{*}: done\n{...}\n", "x\n1: done\n"), Ok(()));
        assert!(compare("a\n{...}\nz\n", "a\nb\n").is_err());
        assert!(compare("a {...}\n", "a\nb\n").is_err());
    }

    #[test]
    fn order_does_not_matter_where_the_file_says_so() {
        assert_eq!(compare("# in any order\na\nb\nb\n", "b\na\nb\n"), Ok(()));
        assert_eq!(compare("# in any order\n{*}\npid {*}\nb\n", "pid 3\nb\nx\n"), Ok(()));
        assert_eq!(compare("# in any order\n{...}\na\n", "b\na\nc\n"), Ok(()));
        assert!(compare("# in any order\na\nb\n", "a\nb\nb\n").is_err());
        assert!(compare("# in any order\na\na\n", "a\n").is_err());
        assert!(compare("# in any order\n{...}\na\n", "b\n").is_err());
    }

    #[test]
    fn a_difference_shows_only_what_differs() {
        let difference = compare("a\npid {*}\nc\nz\n", "a\npid 7\nX\nY\nz\n").unwrap_err();
        assert_eq!(difference, "from line 3 on:\n  - c\n  + X\n  + Y\n");
        let difference = compare("# in any order\na\nb\n", "c\na\n").unwrap_err();
        assert_eq!(difference, "in any order:\n  - b\n  + c\n");
        let long = "x\n".repeat(50);
        let difference = compare("", &long).unwrap_err();
        assert!(difference.contains("and 30 more lines") && difference.lines().count() == 22, "{difference}");
    }
}
