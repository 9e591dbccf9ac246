//! Made-up hosts, and what is said of them.

use std::path::{Path, PathBuf};

use guest_kit::packages::{GuestKernel, Whereabouts};
use guest_kit::probe::{QEMU, Readiness, Tool};
use hv_kvm::SynicMode;
use hv_kvm::caps::{API_VERSION, HostCaps};
use kvm_bindings as kvm;

use super::findings::{Cache, Guest, Kit};
use super::*;
use crate::host::{Obstacle, OpenedKvm};

const TOOLS: [(&str, &str); 4] =
    [(QEMU, "qemu-system-x86"), ("apt-get", "apt"), ("dpkg-deb", "dpkg"), ("setpriv", "util-linux")];

/// What a KVM without CONFIG_KVM_HYPERV lacks.
const HYPERV: [u32; 6] = [
    kvm::KVM_CAP_HYPERV,
    kvm::KVM_CAP_HYPERV_SYNIC2,
    kvm::KVM_CAP_HYPERV_VP_INDEX,
    kvm::KVM_CAP_HYPERV_EVENTFD,
    kvm::KVM_CAP_HYPERV_CPUID,
    kvm::KVM_CAP_SYS_HYPERV_CPUID,
];

fn kernel(name: &str) -> GuestKernel {
    GuestKernel {
        name: name.to_owned(),
        package: "linux-image-6.1.0-56-amd64".to_owned(),
        version: "6.1.192-2".to_owned(),
        sha256: String::new(),
        release: String::new(),
        image: PathBuf::new(),
        modules: PathBuf::new(),
        video_driver: String::new(),
    }
}

fn archive() -> Whereabouts {
    Whereabouts::Archive { package: "linux-image-6.1.0-56-amd64".into(), version: "1".into(), bytes: 1 << 20 }
}

/// A kit with every tool but those, and with the lab's kernel in the cache.
fn kit_without(missing: &[&str]) -> Kit {
    let tools = TOOLS.map(|(name, package)| Tool {
        name,
        purpose: "a test",
        path: (!missing.contains(&name)).then(|| Path::new("/usr/bin").join(name)),
        package,
    });
    let qemu_version = (!missing.contains(&QEMU)).then(|| "QEMU emulator version 7.2".to_owned());
    Kit {
        readiness: Readiness { tools: tools.into(), qemu_version },
        guests: vec![Guest { name: "debian/6.1", kernel: Ok(Whereabouts::Cached(kernel("debian/6.1"))) }],
        cache: Cache { directory: "/cache".into(), problem: None },
        built_qemu: None,
    }
}

fn opened_without(missing: &[u32], tiny_guest: Result<(), &str>) -> Result<OpenedKvm, Obstacle> {
    let caps = HostCaps::from_answers(API_VERSION, |number| i32::from(!missing.contains(&number)));
    Ok(OpenedKvm { caps, tiny_guest: tiny_guest.map_err(str::to_owned) })
}

fn pagetable_kvm() -> Result<OpenedKvm, Obstacle> {
    opened_without(&HYPERV, Err("an SSE instruction ended in InternalError"))
}

fn no_device() -> Result<OpenedKvm, Obstacle> {
    Err(Obstacle { reason: "there is no /dev/kvm".into(), hint: Some("load its module") })
}

fn host(kvm: Result<OpenedKvm, Obstacle>, kit: Kit) -> Findings {
    Findings {
        choice: KvmChoice::Auto,
        in_lab: false,
        release: "6.1.0-test".to_owned(),
        kvm: Some(kvm),
        kit: Some(kit),
    }
}

/// The row that begins with `mark` and `name`; fails with the whole text if there is none.
fn row<'a>(text: &'a str, mark: &str, name: &str) -> &'a str {
    let found = text.lines().find(|line| line.split_whitespace().take(2).eq([mark, name]));
    found.unwrap_or_else(|| panic!("no row {mark} {name} in\n{text}"))
}

fn nowhere(findings: &Findings) -> String {
    match findings.verdict() {
        Verdict::Nowhere { reason } => reason,
        other => panic!("expected no place, got {other:?}"),
    }
}

#[test]
fn full_host_runs_guests_and_needs_nothing() {
    let findings = host(opened_without(&[], Ok(())), kit_without(&[]));
    let verdict = findings.verdict();
    assert_eq!(verdict, Verdict::Here { in_lab: false, synic: SynicMode::Kernel });
    assert_eq!(verdict.to_string(), "a guest would run: on this host's KVM\nSynIC: in the kernel\n");
    let text = findings.to_string();
    assert!(!text.contains("To get more") && !text.lines().any(|line| line.starts_with("  no")), "{text}");
    row(&text, "ok", "HYPERV_SYNIC2");
    assert!(row(&text, "ok", QEMU).ends_with("/usr/bin/qemu-system-x86_64, QEMU emulator version 7.2"));
    assert!(row(&text, "ok", "debian/6.1").ends_with("linux-image-6.1.0-56-amd64 6.1.192-2, in the cache"));
}

#[test]
fn host_without_kvm_hyperv_runs_guests_on_our_synic_and_is_told_the_option() {
    let findings = host(opened_without(&HYPERV, Ok(())), kit_without(&[]));
    let verdict = findings.verdict();
    assert_eq!(verdict, Verdict::Here { in_lab: false, synic: SynicMode::User });
    assert!(verdict.to_string().ends_with("SynIC: in user space\n"));
    let text = findings.to_string();
    row(&text, "no", "HYPERV_EVENTFD");
    let advice = findings.advice();
    assert_eq!(
        advice[0],
        "for HYPERV, HYPERV_SYNIC2, HYPERV_VP_INDEX, HYPERV_EVENTFD, HYPERV_CPUID: \
         CONFIG_KVM_HYPERV (always in before 6.8)"
    );
}

#[test]
fn capability_that_nobody_needs_is_not_marked_as_a_fault() {
    let findings = host(opened_without(&[kvm::KVM_CAP_BINARY_STATS_FD], Ok(())), kit_without(&[]));
    row(&findings.to_string(), "-", "BINARY_STATS_FD");
    assert_eq!(findings.advice(), ["for BINARY_STATS_FD: Linux 5.14"]);
}

#[test]
fn kvm_that_emulates_leaves_guests_to_the_lab() {
    let findings = host(pagetable_kvm(), kit_without(&[]));
    let verdict = findings.verdict().to_string();
    assert!(
        verdict.starts_with(
            "a guest would run: in the KVM lab, because this host's KVM cannot run Linux: an SSE"
        ),
        "{verdict}"
    );
    let text = findings.to_string();
    assert!(row(&text, "no", "tiny").ends_with("did not run: an SSE instruction ended in InternalError"));
    row(&text, "ok", "X86_MSR_FILTER");
    assert!(findings.advice()[0].starts_with("for guests at full speed"), "{:?}", findings.advice());
}

#[test]
fn kvm_that_emulates_is_no_place_for_who_insists_on_it() {
    let findings = Findings { choice: KvmChoice::Host, ..host(pagetable_kvm(), kit_without(&[])) };
    assert!(nowhere(&findings).starts_with("this host's KVM cannot run Linux"));
    let text = findings.verdict().to_string();
    assert!(
        text.starts_with("a guest would run: not at all, because this") && text.ends_with("SynIC: none\n")
    );
}

#[test]
fn bare_host_is_told_both_ways_to_a_guest() {
    let findings = host(no_device(), kit_without(&[QEMU, "setpriv"]));
    assert_eq!(nowhere(&findings), "there is no /dev/kvm, and the KVM lab needs qemu-system-x86_64");
    let text = findings.to_string();
    assert!(row(&text, "no", "/dev/kvm").ends_with("there is no /dev/kvm"));
    assert!(row(&text, "no", QEMU).contains("in package qemu-system-x86"));
    assert!(!text.contains("HYPERV"), "capabilities of a KVM that is not there: {text}");
    assert_eq!(
        findings.advice(),
        [
            "load its module",
            "for missing tools, as root: apt-get install --no-install-recommends --yes qemu-system-x86 util-linux",
            "for the simulated guest nothing is needed: vmbus-emu sim",
        ]
    );
}

#[test]
fn forbidden_device_is_no_obstacle_to_the_lab() {
    let obstacle = Obstacle { reason: "no permission to open /dev/kvm".into(), hint: Some("adduser") };
    let findings = host(Err(obstacle), kit_without(&[]));
    let because = Some("no permission to open /dev/kvm".to_owned());
    assert_eq!(findings.verdict(), Verdict::Lab { because });
    assert_eq!(findings.advice(), ["adduser"]);
}

#[test]
fn lab_that_was_asked_for_is_judged_without_the_host() {
    let asked = |kit| Findings { choice: KvmChoice::Lab, kvm: None, ..host(no_device(), kit) };
    let ready = asked(kit_without(&[]));
    assert_eq!(ready.verdict(), Verdict::Lab { because: None });
    assert!(!ready.to_string().contains("/dev/kvm"));
    assert_eq!(nowhere(&asked(kit_without(&[QEMU]))), "the KVM lab needs qemu-system-x86_64");
}

#[test]
fn qemu_of_a_clock_by_instructions_is_shown_where_it_is_and_else_how_to_get_it() {
    let text = |built_qemu| host(no_device(), Kit { built_qemu, ..kit_without(&[]) }).to_string();
    let path = "/cache/lab-qemu/1/qemu-system-x86_64";
    assert!(
        text(Some(path.into()))
            .lines()
            .any(|line| line.starts_with("  ok  lab clock") && line.ends_with(path))
    );
    let without = text(None);
    let told =
        |line: &str| line.starts_with("  -   lab clock") && line.ends_with("cargo xtask lab-qemu builds it");
    assert!(without.lines().any(told), "{without}");
}

#[test]
fn qemu_that_does_not_start_is_no_lab_and_shown_so() {
    let mut kit = kit_without(&[]);
    kit.readiness.qemu_version = None;
    let findings = host(no_device(), kit);
    assert!(nowhere(&findings).ends_with("needs qemu-system-x86_64, and the one here does not work"));
    row(&findings.to_string(), "no", QEMU);
}

#[test]
fn lab_kernel_in_the_archive_needs_tools_and_a_cache_to_come_from_there() {
    let with = |missing: &[&str], problem: Option<&str>| {
        let mut kit = kit_without(missing);
        kit.guests = vec![Guest { name: "debian/6.1", kernel: Ok(archive()) }];
        kit.cache.problem = problem.map(str::to_owned);
        Findings { choice: KvmChoice::Lab, kvm: None, ..host(no_device(), kit) }
    };
    assert_eq!(with(&[], None).verdict(), Verdict::Lab { because: None });
    assert!(row(&with(&[], None).to_string(), "ok", "debian/6.1").ends_with("to be downloaded, 1 MiB"));
    assert_eq!(
        nowhere(&with(&["apt-get", "dpkg-deb"], None)),
        "the KVM lab has no kernel, debian/6.1: there is no apt-get and no dpkg-deb to fetch it with"
    );
    let read_only = with(&[], Some("/ cannot be written: Read-only file system (os error 30)"));
    assert!(
        nowhere(&read_only).ends_with("debian/6.1: / cannot be written: Read-only file system (os error 30)")
    );
    assert!(read_only.advice()[0].contains("VMBUS_EMU_CACHE"), "{:?}", read_only.advice());
    row(&read_only.to_string(), "no", "cache");
}

#[test]
fn host_without_guest_kernels_still_runs_ones_own_and_hears_of_apt() {
    let mut kit = kit_without(&[]);
    kit.guests[0].kernel = Err("not in the cache, and the package index has no package".into());
    let findings = host(opened_without(&[], Ok(())), kit);
    assert!(matches!(findings.verdict(), Verdict::Here { .. }));
    row(&findings.to_string(), "no", "debian/6.1");
    assert!(findings.advice()[0].ends_with("apt-get update"), "{:?}", findings.advice());
}

#[test]
fn inside_the_lab_only_its_kvm_is_shown() {
    let findings = Findings {
        in_lab: true,
        kit: None,
        choice: KvmChoice::Host,
        ..host(opened_without(&[], Ok(())), kit_without(&[]))
    };
    let text = findings.to_string();
    assert!(
        text.starts_with("KVM of the lab, Linux 6.1.0-test\n") && !text.contains("Guest kernels"),
        "{text}"
    );
    assert_eq!(findings.verdict().to_string(), "a guest would run: in the KVM lab\nSynIC: in the kernel\n");
}

#[test]
fn cache_may_be_missing_but_not_be_a_file() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(Cache::look_at(directory.path().join("not/yet/there")).problem, None);
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let problem = Cache::look_at(file.join("cache")).problem.unwrap();
    assert!(problem.ends_with("/file is no directory"), "{problem}");
}
