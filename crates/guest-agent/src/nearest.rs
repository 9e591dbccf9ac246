//! Guesses which known word a mistyped one stood for.

/// The word of `known` with the fewest changes of a letter, or swaps of two, from `typed`; none if all are too far to be worth suggesting.
#[must_use]
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (typed.chars().count() / 3).max(2);
    known
        .into_iter()
        .map(|word| (strsim::osa_distance(typed, word), word))
        .filter(|(edits, word)| *edits <= limit && *edits < word.chars().count())
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_letter_wrong_missing_or_too_much_is_near() {
        for typed in ["flod", "flooed", "floot", "flood"] {
            assert_eq!(nearest(typed, ["fill", "flood", "box"]), Some("flood"), "{typed}");
        }
    }

    #[test]
    fn nothing_alike_is_not_near() {
        assert_eq!(nearest("brightness", ["fill", "flood"]), None);
        assert_eq!(nearest("", ["vt"]), None);
        assert_eq!(nearest("ab", ["vt"]), None);
    }
}
