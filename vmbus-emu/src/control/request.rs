//! What can be asked, as JSON and as words of a command line.

use device_model::input::{Button, Chord, ChordError, KEYS};
use device_model::options::nearest;
use serde::{Deserialize, Serialize};

/// Most chords in one request.
const CHORDS_MAX: usize = 64;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    /// What the run is like.
    Status,
    /// Ask the guest for another mode.
    Mode {
        /// Pixels.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// Type.
    Key {
        /// Chords, one after the other: names with `+` between them.
        keys: Vec<String>,
    },
    /// Move the pointer.
    MouseMove {
        /// Column of the guest's screen.
        x: u32,
        /// Row of it.
        y: u32,
    },
    /// Press and release a button.
    MouseClick {
        /// Its name.
        button: String,
    },
    /// Turn the wheel.
    MouseWheel {
        /// Notches away from the user.
        notches: i16,
    },
    /// Write the picture to a file.
    Screenshot {
        /// Where, an absolute path of the machine that the program runs on.
        file: String,
        /// With the guest's pointer over it.
        #[serde(default)]
        pointer: bool,
    },
    /// Say whether dirt is wanted.
    Dirt {
        /// It is.
        wanted: bool,
    },
    /// Take the video device away from the guest.
    Rescind,
    /// Offer it again.
    Reoffer,
    /// End the run.
    Quit,
}

/// Every command with its arguments, as `ctl` takes them.
const COMMANDS: [(&str, &str); 9] = [
    ("status", "what the run is like, as JSON"),
    ("mode WxH", "ask the guest for another mode"),
    ("key NAME...", "type: a, enter, ctrl+alt+del"),
    ("mouse move X Y | click BUTTON | wheel NOTCHES", "point"),
    ("screenshot FILE [--pointer]", "write the picture as PNG"),
    ("dirt on|off", "say whether the guest is to send DIRT"),
    ("rescind", "take the video device away from the guest"),
    ("reoffer", "offer it again"),
    ("quit", "end the run"),
];

impl Request {
    /// Reads the words after `ctl --socket PATH`. A relative file is taken from the current directory.
    ///
    /// # Errors
    /// What is wrong with them, and what would be right.
    pub(crate) fn from_words(words: &[String]) -> Result<Self, String> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let request = match words.as_slice() {
            [] => return Err(format!("no command, known are:\n{}", commands())),
            ["status"] => Self::Status,
            ["mode", mode] => {
                let (width, height) = mode
                    .split_once('x')
                    .and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)))
                    .ok_or_else(|| format!("mode: \"{mode}\" is not WIDTHxHEIGHT"))?;
                Self::Mode { width, height }
            }
            ["key", keys @ ..] if !keys.is_empty() => {
                Self::Key { keys: keys.iter().map(|key| (*key).to_owned()).collect() }
            }
            ["mouse", "move", x, y] => {
                Self::MouseMove { x: number("mouse move", x)?, y: number("mouse move", y)? }
            }
            ["mouse", "click", button] => Self::MouseClick { button: (*button).to_owned() },
            ["mouse", "wheel", notches] => Self::MouseWheel { notches: number("mouse wheel", notches)? },
            ["screenshot", file] | ["screenshot", file, "--pointer"] | ["screenshot", "--pointer", file] => {
                let path =
                    std::path::absolute(file).map_err(|error| format!("screenshot: {file}: {error}"))?;
                let file = path.into_os_string().into_string();
                let file = file.map_err(|_| "screenshot: the file's name is not UTF-8".to_owned())?;
                Self::Screenshot { file, pointer: words.contains(&"--pointer") }
            }
            ["dirt", "on"] => Self::Dirt { wanted: true },
            ["dirt", "off"] => Self::Dirt { wanted: false },
            ["rescind"] => Self::Rescind,
            ["reoffer"] => Self::Reoffer,
            ["quit"] => Self::Quit,
            [name, ..] => return Err(unknown(name)),
        };
        request.check()?;
        Ok(request)
    }

    /// Checks what the types let through.
    ///
    /// # Errors
    /// What is wrong, and the nearest that would be right.
    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Self::Key { keys } if keys.len() > CHORDS_MAX => {
                Err(format!("key: {} chords at once, limit is {CHORDS_MAX}", keys.len()))
            }
            Self::Key { keys } => keys.iter().try_for_each(|keys| chord(keys).map(drop)),
            Self::MouseClick { button: name } => button(name).map(drop),
            _ => Ok(()),
        }
    }
}

/// A chord by its text.
pub(super) fn chord(text: &str) -> Result<Chord, String> {
    Chord::parse(text).map_err(|error| {
        let known = || KEYS.iter().map(|key| key.name);
        match error {
            ChordError::UnknownKey(name) => match nearest(name, known()) {
                Some(near) => format!("key: {error}, did you mean {near}?"),
                None => format!("key: {error}, known are {}", known().collect::<Vec<_>>().join(" ")),
            },
            _ => format!("key: {error}"),
        }
    })
}

/// A button by its name.
pub(super) fn button(name: &str) -> Result<Button, String> {
    let known = || Button::NAMES.map(|(name, _)| name);
    name.parse().map_err(|_| match nearest(name, known()) {
        Some(near) => format!("mouse click: unknown button \"{name}\", did you mean {near}?"),
        None => format!("mouse click: unknown button \"{name}\", known are {}", known().join(", ")),
    })
}

fn number<N: std::str::FromStr>(command: &str, word: &str) -> Result<N, String> {
    word.parse().map_err(|_| format!("{command}: \"{word}\" is not a number that fits"))
}

fn unknown(name: &str) -> String {
    let names = COMMANDS.map(|(form, _)| form.split(' ').next().unwrap_or_default());
    if let Some((form, _)) = COMMANDS.iter().find(|(form, _)| form.split(' ').next() == Some(name)) {
        return format!("{name}: expected {form}");
    }
    match nearest(name, names) {
        Some(near) => format!("unknown command \"{name}\", did you mean {near}?"),
        None => format!("unknown command \"{name}\", known are:\n{}", commands()),
    }
}

/// What `ctl --help` says of them.
pub(crate) fn commands_help() -> String {
    format!("Commands:\n{}", commands())
}

/// The table of commands as text.
fn commands() -> String {
    let width = COMMANDS.iter().map(|(form, _)| form.len()).max().unwrap_or_default();
    let lines = COMMANDS.iter().map(|(form, doc)| format!("  {form:width$}  {doc}"));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Result<Request, String> {
        Request::from_words(&text.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn words_and_json_say_the_same() {
        for (text, json) in [
            ("status", r#"{"command":"status"}"#),
            ("mode 1280x1024", r#"{"command":"mode","width":1280,"height":1024}"#),
            ("key a ctrl+alt+del", r#"{"command":"key","keys":["a","ctrl+alt+del"]}"#),
            ("mouse move 3 4", r#"{"command":"mouse_move","x":3,"y":4}"#),
            ("mouse click left", r#"{"command":"mouse_click","button":"left"}"#),
            ("mouse wheel -2", r#"{"command":"mouse_wheel","notches":-2}"#),
            ("screenshot /a.png", r#"{"command":"screenshot","file":"/a.png"}"#),
            ("screenshot /a.png --pointer", r#"{"command":"screenshot","file":"/a.png","pointer":true}"#),
            ("dirt off", r#"{"command":"dirt","wanted":false}"#),
            ("rescind", r#"{"command":"rescind"}"#),
            ("reoffer", r#"{"command":"reoffer"}"#),
            ("quit", r#"{"command":"quit"}"#),
        ] {
            let request = words(text).unwrap();
            assert_eq!(serde_json::from_str::<Request>(json).unwrap(), request, "{text}");
            let again = serde_json::to_string(&request).unwrap();
            assert_eq!(serde_json::from_str::<Request>(&again).unwrap(), request, "{text}");
        }
    }

    #[test]
    fn mistakes_are_answered_with_what_would_be_right() {
        for (text, part) in [
            ("statsu", "did you mean status?"),
            ("xyzzyxyzzy", "known are:\n  status"),
            ("mode 1280", "\"1280\" is not WIDTHxHEIGHT"),
            ("mode", "expected mode WxH"),
            ("mode 99999999999x1", "is not WIDTHxHEIGHT"),
            ("key entre", "did you mean enter?"),
            ("key ctrl+alt+xyzzyxyzzy", "unknown key \"xyzzyxyzzy\", known are esc 1 2"),
            ("key a+a", "in the chord twice"),
            ("key", "expected key NAME..."),
            ("mouse click lft", "did you mean left?"),
            ("mouse click xyzzyxyzzy", "known are left, right, middle"),
            ("mouse move 1", "expected mouse move X Y"),
            ("mouse move -1 1", "\"-1\" is not a number that fits"),
            ("mouse wheel 99999", "is not a number that fits"),
            ("dirt maybe", "expected dirt on|off"),
            ("screenshot", "expected screenshot FILE [--pointer]"),
        ] {
            let error = words(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(Request::from_words(&[]).unwrap_err().starts_with("no command"));
        assert!(
            words(&format!("key{}", " a".repeat(65))).unwrap_err().contains("65 chords at once, limit is 64")
        );
    }

    #[test]
    fn relative_file_is_made_absolute_where_the_user_stands() {
        let Ok(Request::Screenshot { file, .. }) = words("screenshot a.png") else { panic!("it is right") };
        assert_eq!(std::path::Path::new(&file), std::env::current_dir().unwrap().join("a.png"));
    }
}
