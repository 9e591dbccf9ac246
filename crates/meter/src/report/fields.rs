//! Every key of a report with its unit and its meaning: the source of the table in `docs/report.md`.

use core::fmt::Write as _;

/// One key of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its path: `.` for a key of an object, `[]` for the elements of a list.
    pub path: &'static str,
    /// Type and unit of its value.
    pub value: &'static str,
    /// What it says, as a sentence without a full stop.
    pub meaning: &'static str,
}

macro_rules! fields {
    ($($path:literal, $value:literal, $meaning:literal;)*) => {
        /// Every key, in the order of the document.
        pub const FIELDS: &[Field] = &[$(Field { path: $path, value: $value, meaning: $meaning },)*];
    };
}

fields! {
    "schema", "string", "Name and version of this layout, `vmbus-emu.report/1`";
    "host.kvm", "`host`, `lab` or `sim`", "Where the guest's code ran: the host's KVM, KVM inside an emulated machine, or nowhere because the guest is simulated";
    "host.lab_clock", "`host`, `instructions` or null", "What moved the emulated machine's clock, and with it every time in this report: the host's time, or its processor, a nanosecond an instruction";
    "host.synic", "`kernel`, `user` or `loopback`", "Which SynIC served the guest: KVM's, the program's own behind an MSR filter, or the program's own in one process with a simulated guest";
    "host.version", "string", "Version of the program";
    "host.kernel", "string or null", "Kernel release that the program ran on";
    "host.vcpus", "count or null", "Virtual processors of the guest";
    "host.ram_bytes", "bytes or null", "Guest RAM";
    "host.duration_ms", "ms or null", "From the start of the guest to the end of the run; virtual time for a simulated guest";
    "host.vmm_memory_kib", "KiB or null", "Resident memory of the program when the guest had done its part, without guest RAM and VRAM: its own text, heap, stacks and the surface";
    "guest.kernel", "string or null", "Kernel release of the guest";
    "guest.driver", "string or null", "Video driver that did the handshake";
    "guest.package", "string or null", "Distribution package that the kernel is from";
    "guest.version", "string or null", "Version of that package";
    "guest.sha256", "64 hex digits or null", "SHA-256 of the package file or, without a package, of the kernel image";
    "guest.driver_sha256", "64 hex digits or null", "SHA-256 of the video driver's module, unpacked, where it is not the kernel's own";
    "guest.simulated", "bool", "The guest is the one that the program simulates";
    "guest.boot_ms", "ms or null", "From the start of the guest's kernel to its first program, by the guest's own clock";
    "guest.resets", "count", "Times the guest reset its machine, or was reset, and was run on; everything else in the report is of all of it";
    "device.vmbus_version", "string or null", "VMBus version that guest and host agreed on, as `5.3`";
    "device.synthvid_version", "string or null", "Synthetic video version that guest and host agreed on, as `3.5`";
    "device.generation", "1 or 2", "Hyper-V generation of the virtual machine";
    "device.mode", "string or null", "Screen that the guest last declared, as `1024x768`";
    "device.pitch_bytes", "bytes or null", "From one row of that screen to the next";
    "device.depth_bits", "bits or null", "Bits a pixel of that screen";
    "device.vram.kind", "`mmio`, `ram` or null", "Where the guest put its VRAM: the MMIO window or its own RAM";
    "device.vram.gpa", "hex string or null", "Guest physical address of the VRAM, as `0xf8000000`";
    "device.vram.bytes", "bytes or null", "Size of the VRAM";
    "device.vram.refused", "count", "Times the guest declared VRAM where it may not lie, and got no acknowledgement";
    "device.firmware_framebuffer.mode", "string or null", "Shape of the frame buffer that the firmware left for the kernel, as `1024x768`; null if it left none";
    "device.firmware_framebuffer.gpa", "hex string or null", "Guest physical address of it";
    "device.firmware_framebuffer.drawn_px", "px or null", "Pixels of it that were not zero when the video driver first declared its VRAM, after the last reset; null if it never did";
    "device.firmware_framebuffer.declared_gpa", "hex string or null", "Address of the VRAM that the driver declared then; the firmware's own if it took over in place";
    "device.situation_changes", "count", "Times the guest changed the shape of its screen, the first one included; a repetition is no change";
    "life.contacts", "count", "Contacts with the bus that were answered with a version: kernels that started or woke up";
    "life.channel_opens", "count", "Channels that the guest opened, all devices together";
    "life.channel_closes", "count", "Channels that were closed, by either side";
    "life.vram_gpas", "list of hex strings", "Addresses at which the guest had its VRAM, each once, lowest first, at most 64";
    "life.last_dirt_ms", "ms or null", "When the last DIRT message was carried out, from the start of the run";
    "life.unload_ms", "ms or null", "When the guest last left the bus (UNLOAD); if it was asked to crash, only if that was later";
    "life.crash_asked_ms", "ms or null", "When the guest was asked to crash";
    "life.dirt_after_crash", "count or null", "DIRT messages from then on";
    "life.dirt_after_unload", "count or null", "Those among them that came after the guest had left the bus";
    "traffic.dirt_messages", "count", "DIRT messages carried out";
    "traffic.dirt_rects", "count", "Rectangles in them, rejected ones included";
    "traffic.declared_px", "px", "Pixels of the accepted rectangles after clipping to the screen, overlaps counted each time";
    "traffic.implied_px", "px", "Pixels copied without a DIRT, because the screen changed its shape, the VRAM moved, or dirt was wanted again";
    "traffic.changed_px", "px", "Pixels whose value in the host's surface a DIRT changed";
    "traffic.implied_changed_px", "px", "Pixels whose value a copy without a DIRT changed";
    "traffic.rejected_rects", "count", "Rectangles refused: empty, inverted, or wholly off the screen";
    "traffic.signals", "count or null", "Doorbell rings of the video channel";
    "traffic.packets", "count", "Packets read from all channels";
    "traffic.feature_changes", "count", "FEATURE_CHANGE messages sent to the guest";
    "traffic.max_dirt_in_1s", "count", "Most DIRT messages in one second, anywhere in the run; times are cut to 100 us, and the second is 10,000 of these";
    "traffic.first_dirt_ms", "ms or null", "When the first DIRT message was carried out, from the start of the guest";
    "traffic.dirt_span_ms", "ms or null", "From the first DIRT message to the last";
    "traffic.interval_ms.p50", "ms or null", "Median time from one DIRT message to the next, rounded down by at most 0.1 %";
    "traffic.interval_ms.p99", "ms or null", "99 of 100 such times are not longer, rounded alike";
    "traffic.interval_ms.max", "ms or null", "Longest such time, exact to the microsecond";
    "traffic.faults.control", "count", "Rules that the guest broke in VMBus control messages";
    "traffic.faults.ring", "count", "Rules that the guest broke in ring indices and packet descriptors";
    "traffic.faults.pipe", "count", "Rules that the guest broke in the framing inside a packet";
    "traffic.faults.device", "count", "Rules that the guest broke in a device's own protocol";
    "latency_us.doorbell_to_surface.p50", "us or null", "Median time from seeing the doorbell of a DIRT message to its pixels in the surface, rounded down by at most 0.1 %";
    "latency_us.doorbell_to_surface.p99", "us or null", "99 of 100 such times are not longer, rounded alike";
    "exits.total", "count or null", "Exits of all virtual processors, those that the kernel handled included";
    "exits.user", "count or null", "Exits to the program";
    "exits.hypercall_user", "count or null", "Hypercalls among them";
    "exits.signal_user", "count or null", "HvCallSignalEvent hypercalls among those";
    "exits.by_reason", "object of counts", "Exits to the program by KVM's name of the reason; empty if nobody counted";
    "checks[].name", "string", "Short name of a check, stable from version to version";
    "checks[].passed", "bool", "Its outcome";
    "checks[].detail", "string", "What was expected and what was found";
    "console.tail", "list of strings or null", "Last lines of the guest's text console, oldest first";
    "limits", "list of strings", "What this report cannot know";
}

/// The table as Markdown, as `docs/report.md` holds it between its two markers.
#[must_use]
pub fn field_table() -> String {
    let mut table = String::from("| key | value | meaning |\n|---|---|---|\n");
    for Field { path, value, meaning } in FIELDS {
        // Writing to a String does not fail.
        let _ = writeln!(table, "| `{path}` | {value} | {meaning} |");
    }
    table
}
