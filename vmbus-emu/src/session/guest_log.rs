//! What the guest's kernel complained of in its own log: warnings with a backtrace, oopses, and errors of the video drivers.

use std::sync::{Arc, Mutex, PoisonError};

use meter::report::Check;

use super::checks;
use crate::machine::ConsoleCallback;

/// Complaints that are kept, and bytes of each.
const MAX_COMPLAINTS: usize = 64;
const MAX_BYTES: usize = 240;

/// What a line holds that means trouble: the kernel's own words (`kernel/panic.c`, `lib/bug.c`, `lib/refcount.c`,
/// `arch/x86/mm/fault.c`, `kernel/hung_task.c`, `kernel/rcu`, `mm/page_alloc.c`), and those of the drivers under test.
const TROUBLE: [&str; 16] = [
    "WARNING: ",
    "BUG: ",
    "kernel BUG at",
    "Oops",
    "general protection fault",
    "Kernel panic",
    "refcount_t: ",
    "list_add corruption",
    "list_del corruption",
    "blocked for more than",
    "detected stall",
    "soft lockup",
    "Bad page",
    "Unable to send packet",
    "vmbus device is missing",
    "hyperv_drm* ERROR",
];

/// A complaint that a kernel is known for, whoever its host is.
struct Known {
    drivers: &'static [&'static str],
    /// In the complaint's line.
    words: &'static str,
    /// What it is.
    why: &'static str,
}

const KNOWN: [Known; 1] = [Known {
    drivers: &["hyperv_fb", "hyperv_drm"],
    words: "Unable to send packet via vmbus; error -19",
    why: "a rescinded channel takes no DIRT (ENODEV), and the driver goes on drawing until it has been removed",
}];

/// The complaints in a console log. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct GuestLog(Arc<Mutex<Found>>);

#[derive(Debug, Default)]
struct Found {
    lines: Vec<String>,
    total: u64,
}

/// A place in the log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LogMark(u64);

impl GuestLog {
    /// A callback for the console that listens, and passes each line on to `next`.
    pub(crate) fn listen(&self, next: Option<ConsoleCallback>) -> ConsoleCallback {
        let found = Arc::clone(&self.0);
        Arc::new(move |line: &[u8]| {
            if let Some(complaint) = complaint(line) {
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                found.total = found.total.saturating_add(1);
                if found.lines.len() < MAX_COMPLAINTS {
                    found.lines.push(complaint);
                }
            }
            if let Some(next) = &next {
                next(line);
            }
        })
    }

    /// Here and now.
    pub(crate) fn mark(&self) -> LogMark {
        LogMark(self.found().total)
    }

    /// How often the guest's kernel has complained so far, and its first complaint; `None` if it never did.
    pub(crate) fn summary(&self) -> Option<String> {
        let found = self.found();
        let first = found.lines.first()?;
        Some(format!("the guest's log has {} complaints, the first: {first}", found.total))
    }

    /// Whether the guest's kernel has complained of nothing since `mark`, or only of what this kernel is known for; what it is known
    /// for goes to `limitations`, in the kernel's own words.
    pub(crate) fn check(&self, mark: LogMark, driver: Option<&str>, limitations: &mut Vec<String>) -> Check {
        let found = self.found();
        let first = usize::try_from(mark.0).unwrap_or(usize::MAX);
        let lines = found.lines.get(first.min(found.lines.len())..).unwrap_or_default();
        let (mut known, mut unknown) = (0_u64, Vec::new());
        for line in lines {
            match KNOWN.iter().find(|known| {
                driver.is_some_and(|driver| known.drivers.contains(&driver)) && line.contains(known.words)
            }) {
                Some(entry) => {
                    known += 1;
                    let text = format!("guest limitation: {}; its log says: {line}", entry.why);
                    if !limitations.contains(&text) {
                        limitations.push(text);
                    }
                }
                None => unknown.push(line.as_str()),
            }
        }
        let unlisted = found.total.saturating_sub(mark.0).saturating_sub(lines.len() as u64);
        let detail = match unknown.len() {
            0 if known == 0 && unlisted == 0 => "the guest's kernel complained of nothing".to_owned(),
            0 => format!("{known} complaints that this driver is known for, {unlisted} not listed"),
            count => format!("{count} complaints, {unlisted} more not listed: {}", unknown.join(" | ")),
        };
        checks::check("guest_log_clean", unknown.is_empty() && unlisted == 0, detail)
    }

    fn found(&self) -> std::sync::MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The line as text, if it means trouble.
fn complaint(line: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(line);
    if !TROUBLE.iter().any(|words| text.contains(words)) {
        return None;
    }
    let printable: String = text.trim().chars().filter(|character| !character.is_control()).collect();
    let end = printable.char_indices().map(|(at, _)| at).find(|at| *at >= MAX_BYTES);
    Some(printable.get(..end.unwrap_or(printable.len())).unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WARNING: &[u8] = b"[    3.1] WARNING: CPU: 0 PID: 1 at drivers/video/fbdev/core/fbsysfs.c:87\r\n";

    #[test]
    fn warning_of_the_kernel_fails_the_check_and_is_quoted() {
        let log = GuestLog::default();
        let console = log.listen(None);
        console(b"[    1.0] Console: switching to colour frame buffer device 128x48\n");
        let mark = log.mark();
        assert!(log.check(mark, None, &mut Vec::new()).passed);
        assert_eq!(log.summary(), None);
        console(WARNING);
        let summary = log.summary().unwrap();
        assert!(summary.starts_with("the guest's log has 1 complaints, the first: "), "{summary}");
        let check = log.check(mark, Some("hyperv_fb"), &mut Vec::new());
        assert!(!check.passed && check.detail.contains("fbsysfs.c:87"), "{}", check.detail);
        assert!(log.check(log.mark(), None, &mut Vec::new()).passed, "it was before this mark");
    }

    #[test]
    fn complaint_that_a_driver_is_known_for_is_told_as_its_limitation() {
        let log = GuestLog::default();
        let console = log.listen(None);
        console(b"[   33.5] hyperv_drm 6b8c: [drm] *ERROR* Unable to send packet via vmbus; error -19\n");
        let mut limitations = Vec::new();
        assert!(log.check(LogMark::default(), Some("hyperv_drm"), &mut limitations).passed);
        assert!(limitations.len() == 1 && limitations[0].contains("error -19"), "{limitations:?}");
        assert!(!log.check(LogMark::default(), Some("simpledrm"), &mut Vec::new()).passed);
    }

    #[test]
    fn flood_of_warnings_is_bounded_and_counted() {
        let log = GuestLog::default();
        let console = log.listen(None);
        let mark = log.mark();
        let long = [WARNING, &[b'x'; 4000]].concat();
        (0..1000).for_each(|_| console(&long));
        let found = log.found();
        assert_eq!((found.lines.len(), found.total), (MAX_COMPLAINTS, 1000));
        assert!(found.lines.iter().all(|line| line.len() <= MAX_BYTES));
        drop(found);
        assert!(!log.check(mark, None, &mut Vec::new()).passed);
    }

    #[test]
    fn lines_go_on_to_whoever_listened_before() {
        let (sender, lines) = std::sync::mpsc::channel();
        let next: ConsoleCallback = Arc::new(move |line: &[u8]| sender.send(line.to_vec()).unwrap());
        GuestLog::default().listen(Some(next))(WARNING);
        assert_eq!(lines.recv().unwrap(), WARNING);
    }
}
