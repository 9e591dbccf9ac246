//! `cargo xtask matrix --fast`: older buses and video protocols, a guest's limit, and a refusal, with a real guest.

use std::env;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;
use tests::guest_run::place;
use tests::program::vmbus_emu;

#[test]
fn fast_rows_pass_or_show_the_guests_limit_in_its_own_log() -> Result<()> {
    let Some(place) = place() else { return Ok(()) };
    let out = tempfile::tempdir()?;
    let mut matrix = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    matrix
        .args(["run", "--quiet", "--locked", "--package", "xtask", "--", "matrix", "--fast", "--out"])
        .arg(out.path())
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .env("VMBUS_EMU_PROGRAM", vmbus_emu());
    let output = matrix.output()?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");

    let document: Value = serde_json::from_slice(&fs::read(out.path().join("matrix.json"))?)?;
    let rows = document.pointer("/rows").and_then(Value::as_array).context("matrix.json has no rows")?;
    let verdict = |row: &Value| row.get("verdict").and_then(Value::as_str).unwrap_or_default().to_owned();
    let count = |kind: &str| rows.iter().filter(|row| verdict(row) == kind).count();
    assert_eq!((count("pass"), count("guest_limit"), count("refused"), rows.len()), (4, 2, 1, 7), "{said}");
    for row in rows.iter().filter(|row| verdict(row) == "pass") {
        assert_eq!(row.get("kvm").and_then(Value::as_str), Some(place), "{row}");
        assert!(row.get("first_dirt_ms").and_then(Value::as_f64).is_some_and(|ms| ms > 0.0), "{row}");
    }
    for row in rows.iter().filter(|row| verdict(row) == "guest_limit") {
        let detail = row.get("detail").and_then(Value::as_str).unwrap_or_default();
        assert!(detail.contains("Synthetic video device version not accepted"), "{row}");
    }
    let table = fs::read_to_string(out.path().join("matrix.md"))?;
    assert_eq!(table.lines().count(), rows.len() + 2, "{table}");
    Ok(())
}
