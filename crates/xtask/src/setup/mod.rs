//! `cargo xtask setup`: what a Debian machine must have besides Rust.
//!
//! Does nothing where nothing is missing, so that every other command can begin with it.

mod apt;
mod needs;

use crate::failure::Failure;
use apt::Apt;
use needs::{LAB_QEMU_NEEDS, NEEDS, Need};

/// Installs what is missing, or says which line would.
pub(crate) fn execute() -> Result<(), Failure> {
    provide(&[NEEDS])
}

/// The same for building the lab's own QEMU.
pub(crate) fn execute_for_lab_qemu() -> Result<(), Failure> {
    provide(&[NEEDS, LAB_QEMU_NEEDS])
}

fn provide(needs: &[&[Need]]) -> Result<(), Failure> {
    let needs = || needs.iter().copied().flatten();
    let missing: Vec<_> = needs().filter(|need| !need.is_met()).collect();
    let apt = Apt::find();
    if let Some(apt) = apt.as_ref().filter(|apt| apt.has_old_lists()) {
        apt.renew_lists();
    }
    if missing.is_empty() && apt.as_ref().is_some_and(Apt::has_lists) {
        return Ok(());
    }
    for need in &missing {
        eprintln!("setup: {} is missing, needed for {}", need.thing, need.purpose);
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    let Some(apt) = apt else {
        let named = if packages.is_empty() { String::new() } else { format!(" ({})", packages.join(", ")) };
        return Err(Failure::cannot_run(format!(
            "there is no apt-get, which fetches guest kernels and what is missing{named}; \
             this needs Debian 12 or a descendant of it"
        )));
    };
    apt.install(&packages)?;
    match needs().find(|need| !need.is_met()) {
        None => Ok(()),
        Some(need) => Err(Failure::cannot_run(format!(
            "{} is still missing after {} was installed",
            need.thing, need.package
        ))),
    }
}
