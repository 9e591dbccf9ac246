//! One row: the program is run, its report is read, and what came of it is judged.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use super::rows::{Agreed, Expect, Row};

/// Exit status of a refused command line.
const USAGE: i32 = 2;

/// What came of a row. What the report does not say is null.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) name: String,
    /// The command line after the program's name, without where results go.
    pub(super) arguments: Vec<String>,
    pub(super) kvm: Option<String>,
    pub(super) vmbus: Option<String>,
    pub(super) synthvid: Option<String>,
    pub(super) mode: Option<String>,
    pub(super) vram: Option<String>,
    pub(super) vcpus: Option<u64>,
    pub(super) boot_ms: Option<u64>,
    pub(super) first_dirt_ms: Option<f64>,
    pub(super) vmm_memory_kib: Option<u64>,
    /// From the start of the program to its end.
    pub(super) took_ms: u64,
    #[serde(flatten)]
    pub(super) verdict: Verdict,
}

/// The verdict of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", content = "detail", rename_all = "snake_case")]
pub(super) enum Verdict {
    /// As expected.
    Pass,
    /// The program refused to start, as it should; what it said.
    Refused(String),
    /// The guest cannot do it: the limit, and the line of its own log.
    GuestLimit(String),
    /// Anything else.
    Fail(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("pass"),
            Self::Refused(said) => write!(f, "pass: refused, {said}"),
            Self::GuestLimit(proof) => write!(f, "guest limit: {proof}"),
            Self::Fail(reason) => write!(f, "FAIL: {reason}"),
        }
    }
}

impl Outcome {
    pub(super) fn failed(&self) -> bool {
        matches!(self.verdict, Verdict::Fail(_))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} after {} s: {}", self.name, self.took_ms / 1_000, self.verdict)
    }
}

/// What a run left behind.
struct Left {
    status: Option<i32>,
    /// Standard error.
    said: String,
    report: Value,
    console: String,
}

/// Runs `row` with its results in `directory`; nothing that was there before can pass for them.
pub(super) fn carry_out(row: &Row, program: &Path, directory: &Path, more: &[String]) -> Outcome {
    let mut arguments = row.arguments();
    arguments.extend_from_slice(more);
    let started = Instant::now();
    let left = run(program, &arguments, directory);
    let took = started.elapsed();
    match left {
        Ok(left) => Outcome::of(row, arguments, &left, took),
        Err(reason) => {
            Outcome { verdict: Verdict::Fail(reason), ..Outcome::of(row, arguments, &Left::nothing(), took) }
        }
    }
}

fn run(program: &Path, arguments: &[String], directory: &Path) -> Result<Left, String> {
    if directory.exists() {
        fs::remove_dir_all(directory)
            .map_err(|error| format!("cannot remove {}: {error}", directory.display()))?;
    }
    let mut command = Command::new(program);
    command.args(arguments).arg("--out").arg(directory).stdin(Stdio::null());
    let output = command.output().map_err(|error| format!("cannot start {}: {error}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // What a person looks for when the row failed; a refused command leaves no directory.
    if directory.is_dir() {
        let text = [&output.stdout[..], &output.stderr].concat();
        fs::write(directory.join("said.log"), text)
            .map_err(|error| format!("cannot write said.log: {error}"))?;
    }
    let report = fs::read(directory.join("report.json")).ok();
    let console = fs::read(directory.join("console.log")).unwrap_or_default();
    Ok(Left {
        status: output.status.code(),
        said,
        report: report.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default(),
        console: String::from_utf8_lossy(&console).into_owned(),
    })
}

impl Left {
    fn nothing() -> Self {
        Self { status: None, said: String::new(), report: Value::Null, console: String::new() }
    }

    fn text(&self, pointer: &str) -> Option<String> {
        self.report.pointer(pointer)?.as_str().map(str::to_owned)
    }

    fn count(&self, pointer: &str) -> Option<u64> {
        self.report.pointer(pointer)?.as_u64()
    }

    /// The first check that failed, else the last thing that the program said.
    fn complaint(&self) -> String {
        let checks = self.report.pointer("/checks").and_then(Value::as_array);
        let failed =
            checks.into_iter().flatten().find(|check| check.get("passed") == Some(&Value::Bool(false)));
        let text =
            |check: &Value, key: &str| check.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        match failed {
            Some(check) => format!("{}: {}", text(check, "name"), text(check, "detail")),
            None => {
                let error = self.said.lines().rfind(|line| line.starts_with("error: "));
                let status =
                    self.status.map_or_else(|| "a signal".to_owned(), |status| format!("status {status}"));
                format!("ended by {status}: {}", error.unwrap_or("it gave no reason"))
            }
        }
    }
}

impl Outcome {
    fn of(row: &Row, arguments: Vec<String>, left: &Left, took: Duration) -> Self {
        Self {
            name: row.name.clone(),
            arguments,
            kvm: left.text("/host/kvm"),
            vmbus: left.text("/device/vmbus_version"),
            synthvid: left.text("/device/synthvid_version"),
            mode: left.text("/device/mode"),
            vram: left.text("/device/vram/kind"),
            vcpus: left.count("/host/vcpus"),
            boot_ms: left.count("/guest/boot_ms"),
            first_dirt_ms: left.report.pointer("/traffic/first_dirt_ms").and_then(Value::as_f64),
            vmm_memory_kib: left.count("/host/vmm_memory_kib"),
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            verdict: verdict(&row.expect, left),
        }
    }
}

fn verdict(expect: &Expect, left: &Left) -> Verdict {
    match expect {
        Expect::Passes(_) if left.status != Some(0) => Verdict::Fail(left.complaint()),
        Expect::Passes(agreed) => match disagreement(agreed, left) {
            Some(disagreement) => Verdict::Fail(disagreement),
            None => Verdict::Pass,
        },
        Expect::Limit(limit) if left.status == Some(0) => {
            Verdict::Fail(format!("the guest can do it, but was expected not to: {}", limit.what))
        }
        Expect::Limit(limit) => match limit.proof(&left.console) {
            Some(line) => Verdict::GuestLimit(format!("{}: \"{line}\"", limit.what)),
            None => Verdict::Fail(format!(
                "{}; \"{}\" is not in the guest's log",
                left.complaint(),
                limit.pattern
            )),
        },
        Expect::Refused(part) if left.status == Some(USAGE) && left.said.contains(part) => {
            Verdict::Refused((*part).to_owned())
        }
        Expect::Refused(part) => Verdict::Fail(format!("not refused with \"{part}\": {}", left.complaint())),
    }
}

/// The first thing that guest and host agreed on otherwise.
fn disagreement(agreed: &Agreed, left: &Left) -> Option<String> {
    [
        ("VMBus version", agreed.vmbus, "/device/vmbus_version"),
        ("video protocol", agreed.synthvid, "/device/synthvid_version"),
        ("mode", agreed.mode, "/device/mode"),
        ("kind of VRAM", agreed.vram, "/device/vram/kind"),
    ]
    .into_iter()
    .find_map(|(what, expected, pointer)| {
        let (expected, found) = (expected?, left.text(pointer));
        let found = found.as_deref().unwrap_or("none");
        (found != expected).then(|| format!("{what} is {found}, expected {expected}"))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::guest_limits::ONLY_3_5;
    use super::*;

    fn left(status: i32, report: Value, console: &str) -> Left {
        let said = "error: the mode does not fit\nhint: more VRAM\n".to_owned();
        Left { status: Some(status), said, report, console: console.to_owned() }
    }

    fn report() -> Value {
        json!({
            "device": { "vmbus_version": "4.0", "synthvid_version": "3.5", "mode": "1024x768" },
            "checks": [
                { "name": "driver", "passed": true, "detail": "" },
                { "name": "pattern", "passed": false, "detail": "a pixel is wrong" }
            ]
        })
    }

    #[test]
    fn run_passes_only_with_what_was_to_be_agreed_on() {
        let agreed = Agreed { vmbus: Some("4.0"), synthvid: Some("3.5"), ..Agreed::default() };
        assert_eq!(verdict(&Expect::Passes(agreed.clone()), &left(0, report(), "")), Verdict::Pass);
        let other = Agreed { vmbus: Some("5.3"), ..agreed.clone() };
        let reason = "VMBus version is 4.0, expected 5.3".to_owned();
        assert_eq!(verdict(&Expect::Passes(other), &left(0, report(), "")), Verdict::Fail(reason));
        let none = Agreed { vram: Some("mmio"), ..agreed.clone() };
        let reason = "kind of VRAM is none, expected mmio".to_owned();
        assert_eq!(verdict(&Expect::Passes(none), &left(0, report(), "")), Verdict::Fail(reason));
        let reason = "pattern: a pixel is wrong".to_owned();
        assert_eq!(verdict(&Expect::Passes(agreed), &left(1, report(), "")), Verdict::Fail(reason));
    }

    #[test]
    fn guest_limit_needs_its_line_in_the_log_and_a_run_that_failed() {
        let line = "[ 1.0] hyperv_fb: Synthetic video device version not accepted\r\n";
        let found = verdict(&Expect::Limit(&ONLY_3_5), &left(1, report(), line));
        assert!(matches!(&found, Verdict::GuestLimit(proof) if proof.contains("not accepted")), "{found}");
        let found = verdict(&Expect::Limit(&ONLY_3_5), &left(1, report(), "nothing"));
        assert!(
            matches!(&found, Verdict::Fail(reason) if reason.contains("is not in the guest's log")),
            "{found}"
        );
        let found = verdict(&Expect::Limit(&ONLY_3_5), &left(0, report(), line));
        assert!(matches!(found, Verdict::Fail(_)), "{found}");
    }

    #[test]
    fn refusal_is_a_usage_error_with_the_right_words() {
        let expect = Expect::Refused("does not fit");
        assert_eq!(verdict(&expect, &left(2, Value::Null, "")), Verdict::Refused("does not fit".into()));
        for (status, part) in [(1, "does not fit"), (2, "something else")] {
            let found = verdict(&Expect::Refused(part), &left(status, Value::Null, ""));
            assert!(matches!(found, Verdict::Fail(_)), "{status}: {found}");
        }
    }

    #[test]
    fn run_without_report_tells_what_the_program_said() {
        let found = verdict(&Expect::Passes(Agreed::default()), &left(4, Value::Null, ""));
        assert_eq!(found, Verdict::Fail("ended by status 4: error: the mode does not fit".into()));
    }
}
