//! The table form of a device's keys, and the one parser that reads a text by such a table.

use core::ops::Range;

use super::error::{OptionError, OptionMistake};

/// One key of a device: its documentation and its parser side by side.
#[derive(Debug)]
pub struct KeySpec<T: 'static> {
    /// The word before the `=`.
    pub name: &'static str,
    /// Syntax of the value, as help texts show it.
    pub value: &'static str,
    /// What holds when the key is absent, in words or in the value's own syntax.
    pub default: &'static str,
    /// What the key does, in one sentence without a full stop.
    pub doc: &'static str,
    /// Reads a value into the device's low-level options.
    pub apply: fn(&mut T, &str) -> Result<(), ValueError>,
}

/// A device and its keys. `T` collects values before they are checked against each other.
#[derive(Debug)]
pub struct DeviceSpec<T: 'static> {
    /// The word that a `--device` text starts with.
    pub name: &'static str,
    /// What the device is, in one sentence without a full stop.
    pub doc: &'static str,
    /// Its keys, in the order of the help text.
    pub keys: &'static [KeySpec<T>],
}

/// Why one value does not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueError {
    /// The reason, with the limit.
    pub reason: String,
    /// The words that would do, or empty if the value is not one of a few words.
    pub known: &'static [&'static str],
}

impl ValueError {
    /// A value out of range or of the wrong form.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), known: &[] }
    }

    /// A value that is none of the known words.
    pub fn not_one_of(known: &'static [&'static str]) -> Self {
        Self { reason: "not a known value".to_owned(), known }
    }
}

/// Values read by a table, with the place of each, so that a later check can still point at it.
#[derive(Debug)]
pub(super) struct Parsed<'a, T> {
    /// What the keys gave.
    pub(super) values: T,
    text: &'a str,
    name_len: usize,
    places: Vec<(&'static str, Range<usize>)>,
}

impl<T> Parsed<'_, T> {
    /// A conflict seen after parsing, shown at the value of `key`, or at the device's name if `key` is absent.
    pub(super) fn conflict(&self, key: &str, reason: String) -> OptionError {
        let place = self.places.iter().find(|(name, _)| *name == key).map(|(_, place)| place.clone());
        OptionError::new(self.text, place.unwrap_or(0..self.name_len), OptionMistake::Conflict { reason })
    }
}

impl<T: Default> DeviceSpec<T> {
    /// Reads `NAME[,KEY=VALUE...]`, whose name the caller has already recognised.
    pub(super) fn parse<'a>(&self, text: &'a str) -> Result<Parsed<'a, T>, OptionError> {
        let mut items = split_outside_brackets(text)?.into_iter();
        let name_len = items.next().map_or(0, |name| name.len());
        let mut parsed = Parsed { values: T::default(), text, name_len, places: Vec::new() };
        for item in items {
            let (key, place) = self.item(&mut parsed.values, text, item)?;
            if parsed.places.iter().any(|(seen, _)| *seen == key) {
                let start = place.start - key.len() - 1;
                return Err(OptionError::new(text, start..start + key.len(), OptionMistake::Duplicate));
            }
            parsed.places.push((key, place));
        }
        Ok(parsed)
    }

    /// Reads one `key=value` at `item` and returns the key with its value's place.
    fn item(
        &self,
        values: &mut T,
        text: &str,
        item: Range<usize>,
    ) -> Result<(&'static str, Range<usize>), OptionError> {
        let words = &text[item.clone()];
        if words.is_empty() {
            return Err(OptionError::new(text, item, OptionMistake::Empty));
        }
        let key_len = words.find('=').unwrap_or(words.len());
        let key_place = item.start..item.start + key_len;
        let Some(key) = self.keys.iter().find(|key| key.name == &words[..key_len]) else {
            let known = self.keys.iter().map(|key| key.name).collect();
            return Err(OptionError::new(text, key_place, OptionMistake::UnknownKey { known }));
        };
        if key_len == words.len() {
            let form = format!("{}={}", key.name, key.value);
            return Err(OptionError::new(text, key_place, OptionMistake::MissingValue { form }));
        }
        let value_place = key_place.end + 1..item.end;
        (key.apply)(values, &text[value_place.clone()]).map_err(|error| {
            let mistake = OptionMistake::BadValue {
                reason: format!("{}; expected {}={}", error.reason, key.name, key.value),
                known: error.known,
            };
            OptionError::new(text, value_place.clone(), mistake)
        })?;
        Ok((key.name, value_place))
    }
}

/// The ranges between commas that are outside square brackets.
fn split_outside_brackets(text: &str) -> Result<Vec<Range<usize>>, OptionError> {
    let mut items = Vec::new();
    let mut start = 0;
    let mut opened = None;
    for (at, letter) in text.char_indices() {
        match (letter, opened) {
            ('[', None) => opened = Some(at),
            (']', Some(_)) => opened = None,
            ('[', Some(_)) | (']', None) => {
                return Err(OptionError::new(text, at..at + 1, OptionMistake::UnbalancedBracket));
            }
            (',', None) => {
                items.push(start..at);
                start = at + 1;
            }
            _ => {}
        }
    }
    if let Some(at) = opened {
        return Err(OptionError::new(text, at..text.len(), OptionMistake::UnbalancedBracket));
    }
    items.push(start..text.len());
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Colour(String);

    const SPEC: DeviceSpec<Colour> = DeviceSpec {
        name: "lamp",
        doc: "a lamp",
        keys: &[KeySpec {
            name: "colour",
            value: "red|blue",
            default: "red",
            doc: "its light",
            apply: |colour, value| match value {
                "red" | "blue" | "[red,blue]" => {
                    colour.0 = value.to_owned();
                    Ok(())
                }
                _ => Err(ValueError::not_one_of(&["red", "blue"])),
            },
        }],
    };

    fn refused(text: &str) -> OptionError {
        SPEC.parse(text).map(|parsed| parsed.values).unwrap_err()
    }

    #[test]
    fn commas_inside_brackets_belong_to_the_value() {
        assert_eq!(SPEC.parse("lamp,colour=[red,blue]").unwrap().values.0, "[red,blue]");
    }

    #[test]
    fn device_without_keys_takes_the_defaults() {
        assert_eq!(SPEC.parse("lamp").unwrap().values.0, "");
    }

    #[test]
    fn duplicate_key_is_shown_at_its_second_place() {
        assert_eq!(
            refused("lamp,colour=red,colour=blue").to_string(),
            "key \"colour\" is given twice\n  lamp,colour=red,colour=blue\n                  ^^^^^^"
        );
    }

    #[test]
    fn bad_value_lists_the_known_and_the_nearest() {
        assert_eq!(
            refused("lamp,colour=bleu").to_string(),
            "bad value \"bleu\": not a known value; expected colour=red|blue\n\
             \x20 lamp,colour=bleu\n\
             \x20             ^^^^\n\
             known values: red, blue\n\
             did you mean blue?"
        );
    }

    #[test]
    fn key_without_value_says_what_form_it_has() {
        assert!(
            refused("lamp,colour")
                .to_string()
                .starts_with("\"colour\" has no value, expected colour=red|blue")
        );
    }

    #[test]
    fn missing_key_and_lone_brackets_are_told_apart() {
        assert_eq!(refused("lamp,").mistake(), &OptionMistake::Empty);
        assert_eq!(refused("lamp,,colour=red").mistake(), &OptionMistake::Empty);
        for text in ["lamp,colour=[red", "lamp,colour=red]", "lamp,colour=[[red]]"] {
            assert_eq!(refused(text).mistake(), &OptionMistake::UnbalancedBracket, "{text}");
        }
        assert!(matches!(refused("lamp,=red").mistake(), OptionMistake::UnknownKey { .. }));
    }
}
