//! Strings from a guest, made harmless.

use core::fmt::{self, Display, Formatter, Write as _};

/// Characters of a string that are shown; what is longer ends in an ellipsis.
pub(crate) const CHARS_MAX: usize = 400;

/// Shows a string as HTML text or as an attribute's value: escaped, shortened, and without characters that move others
/// about (controls, and those that turn the direction of writing).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a>(pub(crate) &'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut letters = self.0.chars();
        for letter in letters.by_ref().take(CHARS_MAX) {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\n' | '\t' => f.write_char(' ')?,
                _ if is_disruptive(letter) => f.write_char('\u{fffd}')?,
                _ => f.write_char(letter)?,
            }
        }
        if letters.next().is_some() {
            f.write_char('\u{2026}')?;
        }
        Ok(())
    }
}

fn is_disruptive(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The same text as a plain string, for places that escape by themselves.
pub(crate) fn plain(text: &str) -> String {
    let mut plain: String = text
        .chars()
        .take(CHARS_MAX)
        .map(|letter| if is_disruptive(letter) { '\u{fffd}' } else { letter })
        .collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        plain.push('\u{2026}');
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_becomes_text() {
        let hostile = r#"</td><script>alert("1")</script><img src='x' onerror=y>&"#;
        let shown = Text(hostile).to_string();
        assert!(!shown.contains(['<', '>', '"', '\'']), "{shown}");
        assert!(shown.starts_with("&lt;/td&gt;&lt;script&gt;"), "{shown}");
        assert!(shown.ends_with("&amp;"), "{shown}");
    }

    #[test]
    fn endless_string_is_cut_and_says_so() {
        let shown = Text(&"x".repeat(1 << 20)).to_string();
        assert_eq!(shown.chars().count(), CHARS_MAX + 1);
        assert!(shown.ends_with('\u{2026}'));
        assert_eq!(plain(&"x".repeat(1 << 20)), shown);
    }

    #[test]
    fn characters_that_move_others_are_replaced() {
        assert_eq!(Text("a\u{202e}b\u{1b}[31m").to_string(), "a\u{fffd}b\u{fffd}[31m");
    }
}
