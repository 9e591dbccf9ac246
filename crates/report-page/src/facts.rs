//! What was measured, on what, and how.

use core::fmt::Write as _;

use meter::measurement::Measurement;
use meter::report::{Host, Kvm, LabClock, Synic};

use crate::number::{NOT_MEASURED, bytes, count, millis};
use crate::text::Text;

/// One sentence under the title.
pub(crate) fn sentence(measurement: &Measurement) -> String {
    let Measurement { host, guest, device, workloads, .. } = measurement;
    let unknown = |value: &Option<String>, what: &str| {
        value.as_deref().map_or_else(|| format!("unknown {what}"), |value| Text(value).to_string())
    };
    format!(
        "Driver <b>{}</b>, Generation {}, {} with VRAM in {}; {} workloads on {}.",
        unknown(&guest.driver, "driver"),
        device.generation,
        unknown(&device.mode, "mode"),
        match device.vram.kind.as_deref() {
            Some("mmio") => "the MMIO window".to_owned(),
            Some("ram") => "guest RAM".to_owned(),
            _ => unknown(&device.vram.kind, "place"),
        },
        workloads.len(),
        kvm(host),
    )
}

fn kvm(host: &Host) -> &'static str {
    match host.kvm {
        Kvm::Host => "the host's own KVM",
        Kvm::Lab if host.lab_clock == Some(LabClock::Instructions) => {
            "KVM inside an emulated machine whose clock goes by instructions, a nanosecond each"
        }
        Kvm::Lab => "KVM inside an emulated machine",
        Kvm::Sim => "no KVM, in virtual time",
    }
}

fn synic(synic: Synic) -> &'static str {
    match synic {
        Synic::Kernel => "KVM's own",
        Synic::User => "in user space, behind an MSR filter",
        Synic::Loopback => "in process",
    }
}

/// Every fact, in three groups.
pub(crate) fn section(out: &mut String, measurement: &Measurement) {
    let Measurement { host, guest, device, settings, .. } = measurement;
    let text = |value: &Option<String>| {
        value.as_deref().map_or_else(|| NOT_MEASURED.to_owned(), |value| Text(value).to_string())
    };
    let or_none = |value: Option<String>| value.unwrap_or_else(|| NOT_MEASURED.to_owned());
    out.push_str(r#"<section id="setup"><h2>What was measured, and how</h2><div class="facts">"#);
    group(
        out,
        "Guest",
        &[
            ("Kernel", text(&guest.kernel)),
            ("Package", text(&guest.package)),
            ("Package version", text(&guest.version)),
            ("SHA-256", guest.sha256.as_deref().map_or_else(|| NOT_MEASURED.to_owned(), digest)),
            ("Driver", text(&guest.driver)),
            (
                "SHA-256 of the driver",
                guest.driver_sha256.as_deref().map_or_else(|| "the kernel's own".to_owned(), digest),
            ),
            ("Resets", count(guest.resets)),
            ("Simulated", if guest.simulated { "yes" } else { "no" }.to_owned()),
        ],
    );
    group(
        out,
        "Device",
        &[
            ("Generation", device.generation.to_string()),
            ("VMBus version", text(&device.vmbus_version)),
            ("Video version", text(&device.synthvid_version)),
            ("Mode", text(&device.mode)),
            ("Depth", or_none(device.depth_bits.map(|bits| format!("{bits} bits a pixel")))),
            ("Pitch", or_none(device.pitch_bytes.map(|pitch| format!("{} bytes", count(pitch.into()))))),
            ("VRAM", text(&device.vram.kind)),
            ("VRAM address", text(&device.vram.gpa)),
            ("VRAM size", or_none(device.vram.bytes.map(bytes))),
            ("VRAM refused", count(device.vram.refused)),
            ("Mode changes", count(device.situation_changes)),
        ],
    );
    group(
        out,
        "Host",
        &[
            ("Ran on", kvm(host).to_owned()),
            ("SynIC", synic(host.synic).to_owned()),
            ("vmbus-emu", Text(&host.version).to_string()),
            ("Host kernel", text(&host.kernel)),
            ("Virtual processors", or_none(host.vcpus.map(|vcpus| vcpus.to_string()))),
            ("Guest RAM", or_none(host.ram_bytes.map(bytes))),
            ("Whole run", or_none(host.duration_ms.map(|ms| millis(ms as f64)))),
        ],
    );
    group(
        out,
        "Settings",
        &[
            ("Pixels compared", if settings.oracle { "yes" } else { "no, declared traffic only" }.to_owned()),
            ("Grace for a DIRT", format!("{} ms", count(settings.grace_ms))),
            ("Looks at the log", format!("every {} ms", count(settings.sample_ms))),
            ("Tile", format!("{0} by {0} px", settings.tile_px)),
            ("Seed", settings.seed.to_string()),
            ("Scale", format!("{} % of each workload", settings.scale_percent)),
        ],
    );
    out.push_str("</div></section>");
}

fn group(out: &mut String, title: &str, facts: &[(&str, String)]) {
    let _ = write!(out, "<div><h3>{title}</h3><dl>");
    for (name, value) in facts {
        let _ = write!(out, "<dt>{name}</dt><dd>{value}</dd>");
    }
    out.push_str("</dl></div>");
}

fn digest(digits: &str) -> String {
    format!(r#"<code class="digest">{}</code>"#, Text(digits))
}
