//! Builds the wrong guest drivers of `tests/drivers/`, to be tried by hand.
//!
//! ```text
//! build-driver                 lists them
//! build-driver NAME...         builds them for debian/6.1-cloud and prints their files
//! ```
//!
//! A file it prints is for `vmbus-emu run --guest debian/6.1-cloud --driver FILE`.

use std::process::ExitCode;

use anyhow::Result;
use guest_kit::cache;
use tests::drivers::{self, Driver};
use tests::guest_run;

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let ended = if names.is_empty() { list() } else { build(&names) };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn list() -> Result<()> {
    for name in drivers::names()? {
        let driver = Driver::named(&name)?;
        println!("{name:<20} {}", driver.description);
    }
    Ok(())
}

fn build(names: &[String]) -> Result<()> {
    let kernel = guest_run::kernel()?;
    for name in names {
        println!("{}", drivers::build(&Driver::named(name)?, &kernel, &cache::directory())?.display());
    }
    Ok(())
}
