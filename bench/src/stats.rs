//! From the figures of the rounds to those of the table.

use serde::Serialize;

/// What is shown of several figures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Summary {
    /// `None` if there are no figures.
    pub(crate) fn of(figures: &[f64]) -> Option<Summary> {
        let min = figures.iter().copied().reduce(f64::min)?;
        let max = figures.iter().copied().reduce(f64::max)?;
        Some(Summary { median: median(figures), min, max })
    }

    /// Of the ratios of two rows, round by round: both saw the same state of the machine.
    pub(crate) fn of_ratios(figures: &[f64], reference: &[f64]) -> Option<Summary> {
        let ratios: Vec<f64> = figures.iter().zip(reference).map(|(figure, reference)| figure / reference).collect();
        Summary::of(&ratios)
    }
}

/// The middle figure, or the mean of the middle two; 0 of none.
pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => 0.0,
        (n, middle) if n % 2 == 1 => sorted[middle],
        (_, middle) => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine became ten times as slow in the second round, and the ratio did not change.
        let ratios = Summary::of_ratios(&[2.0, 20.0, 2.0], &[1.0, 10.0, 1.0]);
        assert_eq!(ratios, Some(Summary { median: 2.0, min: 2.0, max: 2.0 }));
    }
}
