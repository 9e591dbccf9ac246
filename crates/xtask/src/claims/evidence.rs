//! The raw reports behind the page, and the numbers that are taken from them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::failure::Failure;

/// Reports by the name of their file.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    reports: BTreeMap<String, Value>,
}

impl Evidence {
    /// Every report of a directory.
    pub(super) fn read(directory: &Path) -> Result<Self, Failure> {
        let cannot = |error: std::io::Error| {
            Failure::cannot_run(format!("cannot read the reports in {}: {error}", directory.display()))
        };
        let mut reports = BTreeMap::new();
        for entry in fs::read_dir(directory).map_err(cannot)? {
            let path = entry.map_err(cannot)?.path();
            let (Some(name), Some("json")) =
                (path.file_stem().and_then(|stem| stem.to_str()), path.extension().and_then(|e| e.to_str()))
            else {
                continue;
            };
            let text = fs::read(&path).map_err(cannot)?;
            let value = serde_json::from_slice(&text)
                .map_err(|error| Failure::check(format!("{} is no report: {error}", path.display())))?;
            reports.insert(name.to_owned(), value);
        }
        Ok(Self { reports })
    }

    /// From values, for tests.
    #[cfg(test)]
    pub(super) fn of(reports: impl IntoIterator<Item = (&'static str, Value)>) -> Self {
        Self { reports: reports.into_iter().map(|(name, value)| (name.to_owned(), value)).collect() }
    }

    /// The value at `pointer` in report `name`.
    pub(super) fn value(&self, name: &str, pointer: &str) -> Option<&Value> {
        self.reports.get(name)?.pointer(pointer).filter(|value| !value.is_null())
    }

    /// Whether there is a report of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.reports.contains_key(name)
    }

    /// The text there.
    pub(super) fn text(&self, name: &str, pointer: &str) -> Option<&str> {
        self.value(name, pointer)?.as_str()
    }

    /// The number `key` of a workload; `None` if the workload did not run or nobody measured that.
    pub(super) fn number(&self, name: &str, workload: &str, key: &str) -> Option<f64> {
        self.workload(name, workload)?.pointer(&format!("/{key}"))?.as_f64()
    }

    /// A workload that ran to its end.
    fn workload(&self, name: &str, workload: &str) -> Option<&Value> {
        let all = self.value(name, "/workloads")?.as_array()?;
        let found = all.iter().find(|one| one.get("name").and_then(Value::as_str) == Some(workload))?;
        found.get("not_run").is_none_or(Value::is_null).then_some(found)
    }

    /// `key` of a workload's timeline for each second of the workload, without what came after it.
    pub(super) fn per_second(&self, name: &str, workload: &str, key: &str) -> Option<f64> {
        let ms = self.number(name, workload, "duration_ms").filter(|ms| *ms > 0.0)?;
        let slices = self.workload(name, workload)?.get("timeline")?.as_array()?;
        let number = |slice: &Value, key: &str| slice.get(key).and_then(Value::as_f64).unwrap_or(0.0);
        let during = slices.iter().filter(|slice| number(slice, "at_ms") < ms);
        // From plus zero: the sum of nothing is minus zero, and would be shown as that.
        Some(during.fold(0.0, |sum, slice| sum + number(slice, key)) * 1000.0 / ms)
    }

    /// Whether a check of a run passed, and what it says.
    pub(super) fn check(&self, name: &str, check: &str) -> Option<(bool, &str)> {
        let all = self.value(name, "/checks")?.as_array()?;
        let found = all.iter().find(|one| one.get("name").and_then(Value::as_str) == Some(check))?;
        Some((found.get("passed")?.as_bool()?, found.get("detail")?.as_str()?))
    }
}
