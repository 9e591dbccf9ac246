//! `cargo xtask claims`: measures what the patch series "Support deferred IO for Hyper-V frame buffer driver" claims, and
//! writes it down.
//!
//! Each claim has its own measurement of Debian's driver and, where the claim is about a difference, one of a driver that is wrong on
//! purpose. The raw reports go to `docs/claims/`, the page that is made from them to `docs/claims.md`. Verdicts come from the
//! numbers: a claim that does not hold here is printed as one that does not hold.
//!
//! In the same way hypotheses from reading the drivers are measured, and written to `docs/hypotheses.md`, and how precise the measurements
//! are, which is `docs/precision.md`.

mod evidence;
mod hypotheses;
mod page;
mod place;
mod precision;
mod run;
mod section;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use evidence::Evidence;
use place::Place;
use serde_json::Value;

use crate::failure::Failure;
use crate::workspace::Workspace;
use crate::{lab_qemu, process, setup};

/// The guest whose driver the series changed, as it is today.
const GUEST: &str = "debian/6.1-cloud";
/// What a guest in an emulated machine may take from a write to its DIRT, so that slowness is not counted as a miss.
const GRACE_MS: &str = "2000";
/// Virtual processors of the boots that stand beside each other.
const VCPUS: [u32; 4] = [1, 2, 4, 8];

/// One measurement: its name, the wrong driver that it is of (none: Debian's own), its workloads.
struct Measured {
    name: &'static str,
    driver: Option<&'static str>,
    workloads: &'static str,
    /// Whether each workload runs once more, while the host wants no DIRT.
    cost: bool,
}

impl Measured {
    const fn wrong(driver: &'static str, workloads: &'static str) -> Self {
        Self { name: driver, driver: Some(driver), workloads, cost: false }
    }
}

const MEASURED: [Measured; 7] = [
    Measured {
        name: "stock",
        driver: None,
        workloads: "idle,cursor,lines,box,corners,fill,lastrow,video60,write,close",
        cost: false,
    },
    Measured::wrong("full-refresh-20hz", "idle,box"),
    Measured::wrong("last-row-missing", "lastrow"),
    Measured::wrong("refresh-60hz", "video60"),
    Measured::wrong("no-shadow-copy", "fill"),
    Measured::wrong("drop-one-in-ten", "box"),
    Measured { cost: true, ..Measured::wrong("dirt-when-unwanted", "box") },
];
/// Demo runs, for what is checked there and not measured: name, wrong driver.
const DEMOS: [(&str, Option<&str>); 2] =
    [("demo-stock", None), ("demo-dirt-when-unwanted", Some("dirt-when-unwanted"))];

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only make the runs whose name has this text in it; the others' reports stay. May be given again.
    #[arg(long, value_name = "TEXT", conflicts_with = "page")]
    only: Vec<String>,
    /// Only write the pages again, from the reports that are there.
    #[arg(long)]
    page: bool,
    /// Measure on this host's KVM; without it, in the KVM lab with a clock by instructions, where the host's speed does not count.
    #[arg(long, conflicts_with = "page")]
    on_host: bool,
}

impl Options {
    /// Whether the run called `name` is to be made.
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|text| name.contains(text))
    }
}

/// Measures everything, or what has `only` in its name, or with `--page` only writes the pages again from the reports that are there.
pub(crate) fn execute(workspace: &Workspace, options: &Options) -> Result<(), Failure> {
    let reports = workspace.root().join("docs/claims");
    if !options.page {
        let place = if options.on_host { Place::Host } else { Place::Lab };
        match place {
            Place::Host | Place::LabByHost => setup::execute()?,
            Place::Lab => lab_qemu::execute(workspace)?,
        }
        measure_all(workspace, place, &reports, |name| options.wants(name))?;
    }
    let evidence = Evidence::read(&reports)?;
    let pages = [
        ("claims.md", page::markdown(&evidence)),
        ("hypotheses.md", hypotheses::markdown(&evidence)),
        ("precision.md", precision::markdown(&evidence)),
    ];
    for (name, text) in pages {
        let path = workspace.root().join("docs").join(name);
        write(&path, text.as_bytes())?;
        println!("{}", path.display());
    }
    Ok(())
}

fn measure_all(
    workspace: &Workspace,
    place: Place,
    reports: &Path,
    wanted: impl Fn(&str) -> bool,
) -> Result<(), Failure> {
    let mut build = Command::new(workspace.cargo());
    build
        .args(["build", "--locked", "--release", "--package", "vmbus-emu", "--package", "tests"])
        .args(["--bin", "vmbus-emu", "--bin", "build-driver"])
        .current_dir(workspace.root());
    process::run(&mut build)?;
    let programs = workspace.target().join("release");
    let scratch = workspace.target().join("claims");
    create(reports)?;
    create(&scratch)?;
    for Measured { name, driver, workloads, cost } in MEASURED.iter().filter(|one| wanted(one.name)) {
        let mut run = Command::new(programs.join("vmbus-emu"));
        run.args(["measure", "--guest", GUEST, "--grace", GRACE_MS, "--workload", workloads])
            .args(place.arguments())
            .arg("--report")
            .arg(scratch.join(name));
        if *cost {
            run.arg("--cost");
        }
        carry_out(run, &programs, *driver, &scratch.join(name), &reports.join(format!("{name}.json")))?;
    }
    for (name, driver) in DEMOS.into_iter().filter(|(name, _)| wanted(name)) {
        let mut run = Command::new(programs.join("vmbus-emu"));
        run.args(["run", "--guest", GUEST]).args(place.arguments()).arg("--out").arg(scratch.join(name));
        carry_out(run, &programs, driver, &scratch.join(name), &reports.join(format!("{name}.json")))?;
    }
    for vcpus in VCPUS {
        let name = format!("boot-{vcpus}");
        if !wanted(&name) {
            continue;
        }
        let mut run = Command::new(programs.join("vmbus-emu"));
        run.args(["run", "--guest", GUEST, "--scenario", "boot", "--cpus", &vcpus.to_string()])
            .args(place.arguments())
            .arg("--out")
            .arg(scratch.join(&name));
        carry_out(run, &programs, None, &scratch.join(&name), &reports.join(format!("{name}.json")))?;
    }
    hypotheses::program(workspace.root(), &scratch)?;
    for run in hypotheses::RUNS.iter().chain(&precision::RUNS).filter(|run| wanted(run.name)) {
        let (results, kept) = (scratch.join(run.name), reports.join(format!("{}.json", run.name)));
        let command = run.command(&programs.join("vmbus-emu"), place, &scratch, &results);
        carry_out(command, &programs, None, &results, &kept)?;
        keep_small(&kept, &scratch)?;
    }
    Ok(())
}

/// Takes out of a report what no verdict uses and what is most of its bytes, heat maps and timelines, and the directory of this
/// machine in which a guest's program lies.
fn keep_small(kept: &Path, scratch: &Path) -> Result<(), Failure> {
    let text = fs::read_to_string(kept).map_err(|error| io("read", kept, &error))?;
    let text = text.replace(&format!("{}/", scratch.display()), "");
    write(kept, &small(text.as_bytes()).map_err(|error| Failure::check(error.to_string()))?)
}

fn small(text: &[u8]) -> serde_json::Result<Vec<u8>> {
    let mut report: Value = serde_json::from_slice(text)?;
    let workloads = report.get_mut("workloads").and_then(Value::as_array_mut);
    for workload in workloads.into_iter().flatten().filter_map(Value::as_object_mut) {
        workload.remove("heat");
        workload.remove("timeline");
    }
    serde_json::to_vec(&report)
}

/// Runs one measurement and keeps its report. A failed check is a finding and no reason to stop; no report is one.
fn carry_out(
    mut run: Command,
    programs: &Path,
    driver: Option<&str>,
    results: &Path,
    kept: &Path,
) -> Result<(), Failure> {
    if let Some(driver) = driver {
        run.arg("--driver").arg(build_driver(programs, driver)?);
    }
    create(results)?;
    let report = results.join("report.json");
    if report.exists() {
        fs::remove_file(&report).map_err(|error| io("remove", &report, &error))?;
    }
    eprintln!("$ {}", process::shown(&run));
    let status = run.status().map_err(|error| process::cannot_start(&run, &error))?;
    if !matches!(status.code(), Some(0 | 1)) {
        return Err(Failure::check(format!("`{}` ended with {status}", process::shown(&run))));
    }
    let text = fs::read(&report).map_err(|error| io("read", &report, &error))?;
    let value: Value = serde_json::from_slice(&text)
        .map_err(|error| Failure::check(format!("{} is no report: {error}", report.display())))?;
    let text = serde_json::to_vec(&value).map_err(|error| Failure::check(error.to_string()))?;
    write(kept, &text)
}

/// The module file of a wrong driver.
fn build_driver(programs: &Path, name: &str) -> Result<PathBuf, Failure> {
    let mut build = Command::new(programs.join("build-driver"));
    build.arg(name);
    let output = process::output(&mut build)?;
    let said = String::from_utf8_lossy(&output.stdout);
    match said.lines().last() {
        Some(path) if output.status.success() => Ok(PathBuf::from(path)),
        _ => {
            Err(Failure::check(format!("driver {name}: {}", String::from_utf8_lossy(&output.stderr).trim())))
        }
    }
}

fn create(directory: &Path) -> Result<(), Failure> {
    fs::create_dir_all(directory).map_err(|error| io("create", directory, &error))
}

fn write(path: &Path, text: &[u8]) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| io("write", path, &error))
}

fn io(action: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::cannot_run(format!("cannot {action} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_report_has_lost_its_maps_and_nothing_else() {
        let text = br#"{"checks":[],"workloads":[{"name":"fill","heat":{"rows":1},"timeline":[{"at_ms":0}],"missed_px":3}]}"#;
        let kept = String::from_utf8(small(text).unwrap()).unwrap();
        assert_eq!(kept, r#"{"checks":[],"workloads":[{"missed_px":3,"name":"fill"}]}"#);
        assert!(small(b"no report").is_err());
    }
}
