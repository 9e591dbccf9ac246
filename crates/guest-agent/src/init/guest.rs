//! The role of a guest under test: tell the host what is here, then do what the host asks for.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use guest_agent::{
    lifecycle::Step,
    lines::{LineFault, LineReader},
    pattern::Picture,
    protocol::{Command, Done, Event, Hello, Request},
    workload::Workload,
};

use crate::{
    End, boot, console, drawn, firmware,
    framebuffer::{self, Framebuffer},
    input::InputDevices,
    kms,
    lifecycle::{self, Lifecycle},
    modules::{self, Modules},
    port::Port,
    workload::{self, Stage},
};

/// How long a driver may take from loading to its frame buffer. Its own waits are 10 s each.
const FRAMEBUFFER_WAIT: Duration = Duration::from_secs(15);
/// Lines on the firmware's screen.
const GREETING_LINES: u32 = 8;

/// Runs to the end of the guest.
pub(crate) fn run() -> End {
    let port = match Port::open() {
        Ok(port) => port,
        Err(error) => {
            eprintln!("guest-agent: no second serial port, so nobody to report to: {error}");
            return End::PowerOff;
        }
    };
    let mut guest = Guest { port, screen: None, kms: None, lifecycle: Lifecycle::default() };
    guest.hello();
    guest.greet_on_firmware_screen();
    let modules = modules::load_all();
    guest.find_screen(&modules);
    guest.serve()
}

struct Guest {
    port: Port,
    screen: Option<Framebuffer>,
    /// The card, while it is held.
    kms: Option<kms::Output>,
    lifecycle: Lifecycle,
}

impl Guest {
    fn hello(&mut self) {
        let cmdline = fs::read_to_string("/proc/cmdline").unwrap_or_default().trim().to_owned();
        let hello = Hello { release: boot::release(), cmdline, boot_ms: boot::uptime_ms() };
        self.port.send(&Event::Hello(hello));
    }

    /// Prints a few lines where the firmware's screen shows them, for the host to see that it works.
    fn greet_on_firmware_screen(&mut self) {
        let Some(screen) = firmware::screen() else { return };
        if screen.driver.is_some()
            && let Err(error) = console::print_lines(GREETING_LINES)
        {
            self.port.send(&Event::Log { text: format!("cannot print on the firmware's screen: {error}") });
        }
        self.port.send(&Event::FirmwareScreen(screen));
    }

    fn find_screen(&mut self, modules: &Modules) {
        let (loaded, failed) = (modules.loaded.clone(), modules.failed.clone());
        self.port.send(&Event::Modules { loaded, failed });
        // A driver whose module is not there cannot come any more.
        let video = |name: &str| name.starts_with("hyperv_fb") || name.starts_with("hyperv_drm");
        let hopeless = modules.failed.iter().find(|module| video(&module.name) || module.name == "hv_vmbus");
        let deadline = Instant::now() + if hopeless.is_some() { Duration::ZERO } else { FRAMEBUFFER_WAIT };
        while !framebuffer::is_the_drivers() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        if !framebuffer::is_the_drivers() {
            let reason = hopeless.map_or_else(
                || format!("no /dev/fb0 of a video driver's after {} s", FRAMEBUFFER_WAIT.as_secs()),
                |module| format!("module {} did not load: {}", module.name, module.error),
            );
            self.port.send(&Event::NoDriver { reason });
            return;
        }
        match Framebuffer::open() {
            Ok(screen) => {
                // Before anybody draws: the console's cursor would blink in the middle of the picture.
                if let Err(error) = console::clear() {
                    self.port.send(&Event::Log { text: format!("cannot clear the console: {error}") });
                }
                self.port.send(&Event::Driver(screen.geometry().clone()));
                self.screen = Some(screen);
            }
            Err(error) => self.port.send(&Event::NoDriver { reason: format!("/dev/fb0: {error}") }),
        }
    }

    fn serve(&mut self) -> End {
        let mut lines = LineReader::new();
        loop {
            let mut requests: Vec<Result<Request, LineFault>> = Vec::new();
            match self.port.receive(&mut lines, |request| requests.push(request)) {
                Ok(true) => {}
                Ok(false) => thread::sleep(Duration::from_millis(100)),
                Err(error) => {
                    eprintln!("guest-agent: cannot read requests: {error}");
                    return End::PowerOff;
                }
            }
            for request in requests {
                let end = match request {
                    Ok(request) => self.answer(&request),
                    Err(fault) => {
                        self.port.send(&Event::Log { text: format!("request: {fault}") });
                        None
                    }
                };
                if let Some(end) = end {
                    self.port.drain();
                    return end;
                }
            }
        }
    }

    /// Does one request and tells its end. Returns how the machine ends, if this is the last.
    fn answer(&mut self, request: &Request) -> Option<End> {
        let start = Instant::now();
        let result = self.perform(&request.command);
        let ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let ok = result.is_ok();
        self.port.send(&Event::Done(Done { id: request.id, ok, error: result.err(), ms }));
        match request.command {
            Command::PowerOff => Some(End::PowerOff),
            Command::Reboot => Some(End::Reboot),
            Command::Lifecycle { step: Step::KexecStart } => Some(End::Kexec),
            Command::Crash => {
                self.port.drain();
                let crashed = fs::write("/proc/sysrq-trigger", "c");
                self.port.send(&Event::Log { text: format!("the kernel did not crash: {crashed:?}") });
                None
            }
            _ => None,
        }
    }

    fn perform(&mut self, command: &Command) -> Result<(), String> {
        match *command {
            Command::Draw { pattern, seed } => {
                let screen = self.screen()?;
                let (width, height) = (screen.geometry().width, screen.geometry().height);
                screen.draw(&Picture::new(pattern, width, height, seed))
            }
            Command::Fill { color } => {
                let screen = self.screen()?;
                let size = (screen.geometry().width, screen.geometry().height);
                screen.fill((0, 0), size, color)
            }
            Command::Poke { x, y, width, height, color } => {
                self.screen()?.fill((x, y), (width, height), color)
            }
            Command::Flush => self.screen()?.flush(),
            Command::KmsMode { width, height, pattern, seed } => {
                let picture = Picture::new(pattern, width, height, seed);
                self.kms()?.set_mode(width, height, &picture)
            }
            Command::KmsTiles { pattern, seed, columns, rows } => {
                let picture = |width, height| Picture::new(pattern, width, height, seed);
                self.kms()?.draw_tiles((columns, rows), picture).map(drop)
            }
            Command::KmsRelease => {
                // Closing the card is what brings the console back.
                self.kms = None;
                Ok(())
            }
            Command::Console { lines } => {
                console::print_lines(lines).map_err(|error| format!("cannot print on the console: {error}"))
            }
            Command::Typing { ms } => console::type_for(Duration::from_millis(ms.into()))
                .map_err(|error| format!("cannot print on the console: {error}")),
            Command::Vcs => {
                let cells =
                    console::read_cells().map_err(|error| format!("cannot read the console: {error}"))?;
                self.port.send(&Event::Vcs(cells));
                Ok(())
            }
            Command::Idle { ms } => {
                thread::sleep(Duration::from_millis(ms.into()));
                Ok(())
            }
            Command::Input { devices, ms } => {
                let devices = InputDevices::open(devices)?;
                self.port.send(&Event::InputReady { devices: devices.names() });
                let input = devices.read(ms)?;
                self.port.send(&Event::Input(input));
                Ok(())
            }
            Command::Info => {
                self.hello();
                let event = match &self.screen {
                    Some(screen) => Event::Driver(screen.geometry().clone()),
                    None => Event::NoDriver { reason: "there was no frame buffer at start".into() },
                };
                self.port.send(&event);
                Ok(())
            }
            Command::Lifecycle { step } => self.live(step),
            Command::Workload { workload, seed, scale_percent } => {
                self.workload(workload, seed, scale_percent)
            }
            Command::DrawnTiles { tile_px } => self.drawn_tiles(tile_px),
            Command::PowerOff | Command::Reboot | Command::Crash => Ok(()),
        }
    }

    /// One step of the driver's life, with a screen that nobody holds while it may go.
    fn live(&mut self, step: Step) -> Result<(), String> {
        if step.takes_screen() {
            self.screen = None;
            self.kms = None;
        }
        if let Some(text) = self.lifecycle.take(step)? {
            self.port.send(&Event::Log { text });
        }
        if step.brings_screen() {
            let screen = lifecycle::open_screen()?;
            console::clear().map_err(|error| format!("cannot clear the console: {error}"))?;
            self.screen = Some(screen);
        }
        Ok(())
    }

    fn workload(&mut self, workload: Workload, seed: u64, scale_percent: u32) -> Result<(), String> {
        if workload != Workload::Kms {
            self.kms = None;
        }
        let mut stage = Stage { port: &mut self.port, screen: &mut self.screen, kms: &mut self.kms };
        let done = workload::run(workload, seed, scale_percent, &mut stage)?;
        self.port.send(&Event::WorkloadDone(done));
        Ok(())
    }

    fn drawn_tiles(&mut self, tile_px: u32) -> Result<(), String> {
        let port = &mut self.port;
        let send = |tiles| port.send(&Event::DrawnTiles(tiles));
        match (&mut self.kms, &self.screen) {
            (Some(output), _) => drawn::of_output(output, tile_px, send),
            (None, Some(screen)) => drawn::of_screen(screen, tile_px, send),
            (None, None) => Err("there is no frame buffer".into()),
        }
    }

    fn screen(&mut self) -> Result<&mut Framebuffer, String> {
        self.screen.as_mut().ok_or_else(|| "there is no frame buffer".to_owned())
    }

    fn kms(&mut self) -> Result<&mut kms::Output, String> {
        if self.kms.is_none() {
            self.kms = Some(kms::Output::open()?);
        }
        self.kms.as_mut().ok_or_else(|| "there is no card".to_owned())
    }
}
