//! KVM's own counters of a virtual processor, on this host's KVM.

use anyhow::{Context, Result, ensure};
use hv_kvm::SynicMode;
use hv_kvm::binary_stats::{EXITS, StatsError, VcpuCounter};
use hv_kvm::caps::{API_VERSION, HostCaps};
use kvm_ioctls::Kvm;
use tests::bare_metal::BareMetal;
use tests::bare_metal::program::Opcode;
use tests::bare_metal::requirement::skip;

/// Opens a counter of the guest's first CPU; none, with the reason printed, on a KVM that has no such thing.
fn counter(guest: &BareMetal, name: &str) -> Result<Option<VcpuCounter>> {
    let caps = HostCaps::probe(&Kvm::new()?);
    let vcpu = guest.vcpu(0).context("no CPU")?;
    match VcpuCounter::open(&caps, guest.slots().vm(), vcpu, name) {
        Err(missing @ StatsError::Missing) => {
            skip("kvm", &missing.to_string());
            Ok(None)
        }
        opened => Ok(Some(opened?)),
    }
}

#[test]
fn every_exit_to_user_space_is_among_kvms_exits() -> Result<()> {
    const COMMANDS: u64 = 100;
    let Some(mut guest) = BareMetal::new(SynicMode::User, 1)? else { return Ok(()) };
    let Some(exits) = counter(&guest, EXITS)? else { return Ok(()) };
    let before = exits.value()?;
    ensure!(before > 0, "the CPU has come to its first exit");
    for _ in 0..COMMANDS {
        // Ends with an OUT, which is an exit.
        guest.command(0, Opcode::Nop, &[])?;
    }
    let during = exits.value()?.checked_sub(before).context("the counter went backwards")?;
    ensure!(during >= COMMANDS, "KVM counts {during} exits in {COMMANDS} commands");
    ensure!(exits.value()? == before + during, "a CPU that stands still makes no exits");
    Ok(())
}

#[test]
fn counter_outlives_its_guest() -> Result<()> {
    let Some(guest) = BareMetal::new(SynicMode::User, 1)? else { return Ok(()) };
    let Some(exits) = counter(&guest, EXITS)? else { return Ok(()) };
    let last = exits.value()?;
    drop(guest);
    ensure!(exits.value()? == last);
    Ok(())
}

#[test]
fn unknown_statistic_is_named() -> Result<()> {
    let Some(guest) = BareMetal::new(SynicMode::User, 1)? else { return Ok(()) };
    if counter(&guest, EXITS)?.is_none() {
        return Ok(());
    }
    let error = counter(&guest, "no_such_statistic").unwrap_err().to_string();
    ensure!(error.starts_with("KVM's statistics have no \"no_such_statistic\" among "), "{error}");
    Ok(())
}

#[test]
fn kvm_without_the_capability_is_not_asked() -> Result<()> {
    let Some(guest) = BareMetal::new(SynicMode::User, 1)? else { return Ok(()) };
    let none = HostCaps::from_answers(API_VERSION, |_| 0);
    let vcpu = guest.vcpu(0).context("no CPU")?;
    let opened = VcpuCounter::open(&none, guest.slots().vm(), vcpu, EXITS);
    ensure!(matches!(opened, Err(StatsError::Missing)), "{opened:?}");
    Ok(())
}
