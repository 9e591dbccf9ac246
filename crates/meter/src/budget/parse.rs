//! From a budget's text to its limits. A mistake is told with its line.

use std::collections::BTreeMap;

use serde::Deserialize;
use thiserror::Error;
use toml::{Spanned, Value};

use super::{Budget, Limit, Limits, PREFIX};
use crate::measurement::{QUANTITIES, Quantity};

/// What lifts a limit.
const NO_LIMIT: &str = "none";
/// Longest text of a budget; one with every key for each of a hundred workloads is shorter.
const MAX_BYTES: usize = 256 << 10;

/// Why a text is no budget.
#[derive(Debug, Error, PartialEq)]
pub enum BudgetError {
    /// It is not TOML, or has a table that means nothing.
    #[error("{0}")]
    Toml(String),
    /// It is longer than any budget.
    #[error("{found} bytes, limit is {limit}")]
    TooLong {
        /// Its length.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A key bounds nothing that is measured.
    #[error("line {line}: unknown key {key:?}, known keys: {}", known_keys())]
    UnknownKey {
        /// Where it stands, from 1.
        line: usize,
        /// The key.
        key: String,
    },
    /// A limit is no number that can be one.
    #[error("line {line}: {key} is {value}, a limit is a number from 0 on, or \"none\"")]
    BadLimit {
        /// Where it stands, from 1.
        line: usize,
        /// Its key.
        key: String,
        /// What stands there.
        value: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    default: Table,
    #[serde(default)]
    workload: BTreeMap<String, Table>,
}

type Table = BTreeMap<Spanned<String>, Spanned<Value>>;

impl core::str::FromStr for Budget {
    type Err = BudgetError;

    fn from_str(text: &str) -> Result<Self, BudgetError> {
        if text.len() > MAX_BYTES {
            return Err(BudgetError::TooLong { found: text.len(), limit: MAX_BYTES });
        }
        let file: File = toml::from_str(text)
            .map_err(|error| BudgetError::Toml(error.to_string().trim_end().to_owned()))?;
        let default = limits(file.default, text)?;
        let workloads = file.workload.into_iter().map(|(name, table)| Ok((name, limits(table, text)?)));
        Ok(Self { default, workloads: workloads.collect::<Result<_, BudgetError>>()? })
    }
}

fn limits(table: Table, text: &str) -> Result<Limits, BudgetError> {
    table.into_iter().map(|(key, value)| limit(&key, &value, text)).collect()
}

fn limit(
    key: &Spanned<String>,
    value: &Spanned<Value>,
    text: &str,
) -> Result<(&'static str, Limit), BudgetError> {
    let line = line(text, key.span().start);
    let name = key.get_ref();
    let Some(quantity) = name.strip_prefix(PREFIX).and_then(Quantity::named) else {
        return Err(BudgetError::UnknownKey { line, key: name.clone() });
    };
    let number = match value.get_ref() {
        Value::String(word) if word == NO_LIMIT => return Ok((quantity.name, None)),
        // Exact up to 2^53.
        Value::Integer(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    };
    match number {
        Some(number) if number.is_finite() && number >= 0.0 => Ok((quantity.name, Some(number))),
        _ => Err(BudgetError::BadLimit { line, key: name.clone(), value: value.get_ref().to_string() }),
    }
}

/// The line, from 1, of the byte at `at`.
fn line(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

fn known_keys() -> String {
    QUANTITIES.iter().map(super::key).collect::<Vec<_>>().join(", ")
}
