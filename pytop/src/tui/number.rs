//! Numbers as people read them.

use std::time::Duration;

/// A whole number with thousands separators.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A whole number in at most `width` columns: with separators, without, or to three digits with an
/// SI prefix, which needs five.
pub(super) fn fitted(number: u64, width: usize) -> String {
    let text = grouped(number);
    if text.len() <= width {
        return text;
    }
    prefixed(number)
}

/// [`fitted`], with a sign for what is an estimate.
pub(super) fn about(is_estimate: bool, number: u64, width: usize) -> String {
    if is_estimate {
        format!("~{}", fitted(number, width.saturating_sub(1)))
    } else {
        fitted(number, width)
    }
}

/// A number to three digits with an SI prefix.
fn prefixed(number: u64) -> String {
    let mut scaled = number as f64;
    let mut prefix = "";
    for next in ["k", "M", "G", "T", "P", "E"] {
        // Not 1000: three digits are rounded, and 999.5 would become "1000".
        if scaled < 999.5 {
            break;
        }
        scaled /= 1000.0;
        prefix = next;
    }
    if prefix.is_empty() {
        number.to_string()
    } else if scaled < 9.995 {
        format!("{scaled:.2}{prefix}")
    } else if scaled < 99.95 {
        format!("{scaled:.1}{prefix}")
    } else {
        format!("{scaled:.0}{prefix}")
    }
}

/// A rate: whole, or with one digit where it is small.
pub(super) fn rate(rate: f64) -> String {
    if rate > 0.0 && rate < 9.95 {
        format!("{rate:.1}")
    } else {
        // Saturates, and a negative rate or none at all is 0.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let whole = rate.round() as u64;
        grouped(whole)
    }
}

/// A part of 1 as a percentage of at most six characters, such as `12.3%`.
pub(super) fn percent(part: f64) -> String {
    let percent = part * 100.0;
    if percent <= 0.0 {
        "0%".to_owned()
    } else if percent < 0.05 {
        "<0.1%".to_owned()
    } else if percent < 99.95 {
        format!("{percent:.1}%")
    } else {
        format!("{percent:.0}%")
    }
}

/// A short length of time in at most eight characters, such as `0.3 ms`.
pub(super) fn pause(duration: Duration) -> String {
    let milliseconds = duration.as_secs_f64() * 1e3;
    if milliseconds <= 0.0 {
        "0 ms".to_owned()
    } else if milliseconds < 0.05 {
        "<0.1 ms".to_owned()
    } else if milliseconds < 99.95 {
        format!("{milliseconds:.1} ms")
    } else if milliseconds < 999.5 {
        format!("{milliseconds:.0} ms")
    } else if milliseconds < 99_950.0 {
        format!("{:.1} s", milliseconds / 1e3)
    } else {
        format!("{:.0} s", milliseconds / 1e3)
    }
}

/// A length of time in its largest unit that leaves little over, such as `0.5 s` or `4 min`.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 9.95 {
        let tenths = format!("{seconds:.1}");
        format!("{} s", tenths.strip_suffix(".0").unwrap_or(&tenths))
    } else if seconds < 99.5 {
        format!("{seconds:.0} s")
    } else if seconds < 5970.0 {
        format!("{:.0} min", seconds / 60.0)
    } else {
        format!("{:.0} h", seconds / 3600.0)
    }
}

/// An interval as exactly as it can be set, such as `0.25 s` or `90 s`.
pub(super) fn interval(interval: Duration) -> String {
    let text = format!("{:.3}", interval.as_secs_f64());
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text} s")
}

/// A count and its noun.
pub(super) fn counted(number: usize, one: &str, many: &str) -> String {
    let noun = if number == 1 { one } else { many };
    format!("{} {noun}", grouped(number as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn numbers_that_do_not_fit_keep_three_digits() {
        for (number, text) in [
            (12_345, "12.3k"),
            (99_949, "99.9k"),
            (99_950, "100k"),
            (999_499, "999k"),
            (999_500, "1.00M"),
            (1_234_567, "1.23M"),
            (u64::MAX, "18.4E"),
        ] {
            assert_eq!(fitted(number, 5), text);
        }
        assert_eq!(fitted(9_999, 5), "9,999");
        assert_eq!(fitted(123_456, 7), "123,456");
    }

    #[test]
    fn rates_shares_and_times() {
        for (number, text) in [
            (0.0, "0"),
            (0.25, "0.2"),
            (9.96, "10"),
            (1234.5, "1,235"),
            (f64::NAN, "0"),
            (-1.0, "0"),
        ] {
            assert_eq!(rate(number), text);
        }
        for (part, text) in [
            (0.0, "0%"),
            (0.0001, "<0.1%"),
            (0.1234, "12.3%"),
            (0.9999, "100%"),
            (1.0, "100%"),
        ] {
            assert_eq!(percent(part), text);
        }
        for (seconds, text) in [
            (0.1, "0.1 s"),
            (1.0, "1 s"),
            (60.0, "60 s"),
            (120.0, "2 min"),
            (7200.0, "2 h"),
        ] {
            assert_eq!(duration(Duration::from_secs_f64(seconds)), text);
        }
        for (seconds, text) in [
            (0.25, "0.25 s"),
            (1.0, "1 s"),
            (100.0, "100 s"),
            (3600.0, "3600 s"),
        ] {
            assert_eq!(interval(Duration::from_secs_f64(seconds)), text);
        }
        for (seconds, text) in [
            (0.0, "0 ms"),
            (0.000_001, "<0.1 ms"),
            (0.008_23, "8.2 ms"),
            (0.099_94, "99.9 ms"),
            (0.25, "250 ms"),
            (1.25, "1.2 s"),
            (1000.0, "1000 s"),
        ] {
            assert_eq!(pause(Duration::from_secs_f64(seconds)), text);
        }
        assert_eq!(counted(1, "row", "rows"), "1 row");
        assert_eq!(counted(2004, "row", "rows"), "2,004 rows");
    }
}
