//! Guesses which known word a mistyped one stood for.

/// The word of `known` nearest to `typed`, if one is near enough to be worth suggesting.
///
/// Near enough means an edit distance of at most two, or a third of the typed letters in a longer word.
/// Case does not count.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let limit = (typed.chars().count() / 3).max(2);
    known
        .into_iter()
        .map(|word| (strsim::osa_distance(&typed, &word.to_lowercase()), word))
        .filter(|(distance, word)| *distance <= limit && *distance < word.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swapped_letters_find_the_word() {
        assert_eq!(nearest("vrma", ["mode", "vram", "dirt"]), Some("vram"));
        assert_eq!(nearest("MODE", ["modes", "mode"]), Some("mode"));
    }

    #[test]
    fn far_word_is_not_suggested() {
        assert_eq!(nearest("brightness", ["mode", "vram"]), None);
        assert_eq!(nearest("", ["on", "off"]), None);
        assert_eq!(nearest("xy", ["on"]), None);
    }
}
