//! Numbers as a reader wants them: grouped, with a unit, and never a zero that nobody measured.

/// What stands where a value was not measured.
pub(crate) const NOT_MEASURED: &str = r#"<span class="none">not measured</span>"#;

/// Narrow space that keeps a number and its unit on one line.
pub(crate) const THIN: char = '\u{202f}';

/// All digits, in groups of three.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(THIN);
        }
        grouped.push(digit);
    }
    grouped
}

/// [`count`], or [`NOT_MEASURED`].
pub(crate) fn count_or_none(value: Option<u64>) -> String {
    value.map_or_else(|| NOT_MEASURED.to_owned(), count)
}

/// Three significant digits at most, with k, M, G or T.
pub(crate) fn short(value: f64) -> String {
    if !value.is_finite() {
        return "?".to_owned();
    }
    let steps = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    // 999.6 would be shown as 1000.
    let step = steps.iter().find(|(size, _)| value.abs() >= size * 0.9995);
    match step {
        Some((size, letter)) => format!("{}{THIN}{letter}", significant(value / size)),
        None => significant(value),
    }
}

/// At most three significant digits, without zeros that say nothing.
pub(crate) fn significant(value: f64) -> String {
    if !value.is_finite() {
        return "?".to_owned();
    }
    let places = match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.995 => 2,
        size if size >= 0.0995 => 3,
        _ => 4,
    };
    let text = format!("{value:.places$}");
    if !text.contains('.') {
        return text;
    }
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// [`short`] with all digits for whoever points at it, or [`NOT_MEASURED`].
pub(crate) fn short_or_none(value: Option<u64>) -> String {
    match value {
        None => NOT_MEASURED.to_owned(),
        Some(value) if value < 10_000 => count(value),
        Some(value) => format!(r#"<span title="{}">{}</span>"#, count(value), short(value as f64)),
    }
}

/// A value with its unit, or [`NOT_MEASURED`].
pub(crate) fn with_unit(value: Option<f64>, unit: &str) -> String {
    value.map_or_else(|| NOT_MEASURED.to_owned(), |value| format!("{}{THIN}{unit}", significant(value)))
}

/// Microseconds, from a millisecond on as milliseconds, or [`NOT_MEASURED`].
pub(crate) fn micros(value: Option<f64>) -> String {
    match value {
        Some(us) if us.abs() >= 1e6 => with_unit(Some(us / 1e6), "s"),
        Some(us) if us.abs() >= 1e3 => with_unit(Some(us / 1e3), "ms"),
        us => with_unit(us, "\u{b5}s"),
    }
}

/// Milliseconds, from ten seconds on as seconds.
pub(crate) fn millis(value: f64) -> String {
    if value.abs() >= 1e4 { with_unit(Some(value / 1e3), "s") } else { with_unit(Some(value), "ms") }
}

/// Bytes as KiB, MiB or GiB.
pub(crate) fn bytes(value: u64) -> String {
    for (shift, unit) in [(30_u32, "GiB"), (20, "MiB"), (10, "KiB")] {
        if value >= 1 << shift {
            return format!("{}{THIN}{unit}", significant(value as f64 / (1_u64 << shift) as f64));
        }
    }
    format!("{value}{THIN}bytes")
}

/// `part` of `whole` as percent; `None` if there is no whole.
pub(crate) fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| 100.0 * part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_in_groups() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(786_432), "786\u{202f}432");
        assert_eq!(count(u64::MAX).chars().filter(|letter| *letter == THIN).count(), 6);
    }

    #[test]
    fn short_numbers_have_three_digits_and_a_letter() {
        for (value, text) in [
            (0.0, "0"),
            (12.0, "12"),
            (999.6, "1\u{202f}k"),
            (1_234.0, "1.23\u{202f}k"),
            (7.86e6, "7.86\u{202f}M"),
        ] {
            assert_eq!(short(value), text);
        }
        assert_eq!(short(f64::NAN), "?");
    }

    #[test]
    fn what_was_not_measured_is_not_a_number() {
        assert_eq!(count_or_none(None), NOT_MEASURED);
        assert_eq!(count_or_none(Some(0)), "0");
        assert_eq!(micros(None), NOT_MEASURED);
        assert_eq!(percent(1, 0), None);
    }

    #[test]
    fn latencies_pick_their_unit() {
        assert_eq!(micros(Some(90.0)), "90\u{202f}\u{b5}s");
        assert_eq!(micros(Some(1_500.0)), "1.5\u{202f}ms");
        assert_eq!(millis(48.0), "48\u{202f}ms");
        assert_eq!(bytes(8 << 20), "8\u{202f}MiB");
    }
}
