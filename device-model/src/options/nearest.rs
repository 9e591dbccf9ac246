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
        .map(|word| (distance(&typed, &word.to_lowercase()), word))
        .filter(|(distance, word)| *distance <= limit && *distance < word.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, &from) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, &to) in b.iter().enumerate() {
            let mut best = (above[j] + usize::from(from != to)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && from == b[j - 1] && a[i - 1] == to {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = core::mem::replace(&mut above, row);
    }
    above[b.len()]
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
