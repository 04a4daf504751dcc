//! What counting may cost, as the user gives it.

/// Percent.
const LEAST: f64 = 0.1;
/// Percent.
const MOST: f64 = 90.0;

/// What counting may take of the processor time of a process, in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaxOverhead(f64);

impl MaxOverhead {
    /// For production, unless the user knows better.
    const AUTO: Self = Self(5.0);

    /// As a part of the processor time.
    #[must_use]
    pub fn share(self) -> f64 {
        self.0 / 100.0
    }
}

pub(super) fn max_overhead(text: &str) -> Result<MaxOverhead, String> {
    if text == "auto" {
        return Ok(MaxOverhead::AUTO);
    }
    text.parse()
        .ok()
        // No NaN is in a range.
        .filter(|percent| (LEAST..=MOST).contains(percent))
        .map(MaxOverhead)
        .ok_or_else(|| format!("must be a percentage from {LEAST} to {MOST}, or auto"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_or_auto() {
        assert_eq!(max_overhead("auto"), Ok(MaxOverhead(5.0)));
        assert_eq!(max_overhead("0.5").map(MaxOverhead::share), Ok(0.005));
        for wrong in ["0", "91", "-5", "nan", "5%", ""] {
            let message = max_overhead(wrong).unwrap_err();
            assert_eq!(message, "must be a percentage from 0.1 to 90, or auto");
        }
    }
}
