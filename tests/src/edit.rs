//! One change of a source file.

use serde::Deserialize;

/// A text that is in a file exactly once, and what takes its place.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// The file's name.
    pub file: String,
    /// What is there.
    pub find: String,
    /// What shall be there.
    pub replace: String,
}

/// An edit that does not fit the source.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file} has {count} times what it should have once: {find:?}")]
pub struct NotOnce {
    file: String,
    find: String,
    count: usize,
}

impl Edit {
    /// The text with this change.
    ///
    /// # Errors
    /// What is to be found is there more or less often than once.
    pub fn apply(&self, text: &str) -> Result<String, NotOnce> {
        match text.matches(&self.find).count() {
            1 => Ok(text.replacen(&self.find, &self.replace, 1)),
            count => Err(NotOnce { file: self.file.clone(), find: self.find.clone(), count }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(find: &str) -> Edit {
        Edit { file: "a.c".into(), find: find.into(), replace: "new".into() }
    }

    #[test]
    fn what_is_there_once_is_replaced() {
        assert_eq!(edit("b").apply("abc").unwrap(), "anewc");
    }

    #[test]
    fn what_is_there_never_or_twice_is_refused_with_its_count() {
        assert_eq!(
            edit("b").apply("bab").unwrap_err().to_string(),
            "a.c has 2 times what it should have once: \"b\""
        );
        assert_eq!(
            edit("x").apply("bab").unwrap_err().to_string(),
            "a.c has 0 times what it should have once: \"x\""
        );
    }
}
