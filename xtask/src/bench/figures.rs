//! Medians, and how far the readings lie apart.

/// What several readings of one quantity say.
#[derive(Debug, PartialEq)]
pub(super) struct Figures {
    pub(super) median: f64,
    low: f64,
    high: f64,
}

impl Figures {
    /// Of no readings, the figures are not numbers.
    pub(super) fn of(mut readings: Vec<f64>) -> Self {
        readings.sort_by(f64::total_cmp);
        let (low, high) = match readings.as_slice() {
            [] => (f64::NAN, f64::NAN),
            [one] => (*one, *one),
            [low, .., high] => (*low, *high),
        };
        let half = readings.len() / 2;
        let median = match (
            half.checked_sub(1).and_then(|at| readings.get(at)),
            readings.get(half),
        ) {
            (Some(below), Some(above)) if readings.len().is_multiple_of(2) => {
                f64::midpoint(*below, *above)
            }
            (_, Some(middle)) => *middle,
            _ => f64::NAN,
        };
        Self { median, low, high }
    }

    /// The lowest and the highest reading.
    pub(super) fn spread(&self) -> String {
        self.spread_to(0)
    }

    /// [`Figures::spread`] with so many decimals.
    pub(super) fn spread_to(&self, decimals: usize) -> String {
        format!("{:.decimals$} to {:.decimals$}", self.low, self.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_of_the_sorted_readings() {
        for (readings, median, spread) in [
            (vec![3.0], 3.0, "3 to 3"),
            (vec![5.0, 1.0], 3.0, "1 to 5"),
            (vec![9.0, 1.0, 2.0], 2.0, "1 to 9"),
            (vec![9.0, 1.0, 4.0, 2.0], 3.0, "1 to 9"),
        ] {
            let figures = Figures::of(readings);
            assert_eq!(
                (figures.median, figures.spread().as_str()),
                (median, spread)
            );
        }
        assert!(Figures::of(Vec::new()).median.is_nan());
    }
}
