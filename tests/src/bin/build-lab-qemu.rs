//! Builds the QEMU for `vmbus-emu --lab-clock instructions` into the cache, if it is not there, and prints its path.
//! `cargo xtask lab-qemu` installs what that takes and runs this.

use std::process::ExitCode;

use guest_kit::cache;
use tests::lab_qemu;

fn main() -> ExitCode {
    match lab_qemu::build(&cache::directory()) {
        Ok(path) => {
            println!("{}", path.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
