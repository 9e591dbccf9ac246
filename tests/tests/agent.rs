//! The guest agent under QEMU's emulator, without VMBus: what it tells, what it draws, and what a real console font looks like to
//! the console check. The machine that it is made for is tested elsewhere.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use guest_kit::{
    cache,
    console_check::{self, ConsoleText},
    guest_agent::{
        lines::{LineReader, encode},
        pattern::{Pattern, Picture},
        protocol::{Command as Order, Done, Event, Request, console_line},
    },
    initramfs::{Initramfs, Role},
    modules::ModuleTree,
    packages::{self, GuestKernel},
    probe,
};
use tests::bare_metal::requirement::skip;

/// Kernel and QEMU, or none with the reason printed.
fn kernel(name: &str) -> Option<GuestKernel> {
    if probe::find_program(probe::QEMU).is_none() {
        skip("lab", "no qemu-system-x86_64");
        return None;
    }
    match packages::fetch(name, &cache::directory(), &mut |_| ()) {
        Ok(kernel) => Some(kernel),
        Err(error) => {
            skip("kernels", &error.to_string());
            None
        }
    }
}

/// How long the guest may say nothing, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(120);

fn read_on_a_thread(mut pipe: ChildStdout) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            if sender.send(buffer.get(..count).unwrap_or_default().to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A guest under QEMU's emulator with a plain VGA, killed when dropped.
struct Guest {
    qemu: Child,
    requests: ChildStdin,
    bytes: Receiver<Vec<u8>>,
    lines: LineReader,
    waiting: Vec<Event>,
    directory: tempfile::TempDir,
    next_id: u32,
}

impl Guest {
    fn start(kernel: &GuestKernel, modules: &[&str]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let modules = ModuleTree::open(&kernel.modules)?.closure(modules)?;
        let initrd = directory.path().join("initrd");
        std::fs::write(&initrd, Initramfs::with_agent(Role::Guest, &modules).to_bytes()?)?;
        let control = format!("unix:{},server=on,wait=off", directory.path().join("qmp").display());
        let mut qemu = Command::new(probe::QEMU)
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-vga", "std"])
            .args([
                "-machine", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "512", "-qmp", &control,
            ])
            .arg("-kernel")
            .arg(&kernel.image)
            .arg("-initrd")
            .arg(&initrd)
            .args(["-append", "console=ttyS0 panic=-1 quiet", "-serial", "null", "-serial", "stdio"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let requests = qemu.stdin.take().context("no pipe")?;
        let bytes = read_on_a_thread(qemu.stdout.take().context("no pipe")?);
        let (lines, waiting) = (LineReader::new(), Vec::new());
        Ok(Self { qemu, requests, bytes, lines, waiting, directory, next_id: 1 })
    }

    fn event(&mut self) -> Result<Event> {
        while self.waiting.is_empty() {
            let bytes = self.bytes.recv_timeout(PATIENCE).context("the guest ended or hung")?;
            let mut broken = None;
            self.lines.push(&bytes, |event| match event {
                Ok(event) => self.waiting.push(event),
                Err(fault) => broken = Some(fault),
            });
            if let Some(fault) = broken {
                bail!("{fault}");
            }
        }
        Ok(self.waiting.remove(0))
    }

    /// Sends a request and gives back what came before its end, and the end.
    fn ask(&mut self, command: Order) -> Result<(Vec<Event>, Done)> {
        let id = self.next_id;
        self.next_id += 1;
        self.requests.write_all(&encode(&Request { id, command }))?;
        self.requests.flush()?;
        let mut before = Vec::new();
        loop {
            match self.event()? {
                Event::Done(done) if done.id == id => return Ok((before, done)),
                other => before.push(other),
            }
        }
    }

    fn must(&mut self, command: Order) -> Result<Vec<Event>> {
        let (before, done) = self.ask(command)?;
        ensure!(done.ok, "{done:?}");
        Ok(before)
    }

    /// What the VGA shows now.
    fn screen(&self) -> Result<Screen> {
        let file = self.directory.path().join("screen.ppm");
        let mut control = UnixStream::connect(self.directory.path().join("qmp"))?;
        let mut answers = BufReader::new(control.try_clone()?);
        let mut line = String::new();
        answers.read_line(&mut line)?;
        for command in [
            serde_json::json!({ "execute": "qmp_capabilities" }),
            serde_json::json!({ "execute": "screendump", "arguments": { "filename": file } }),
        ] {
            writeln!(control, "{command}")?;
            line.clear();
            answers.read_line(&mut line)?;
            ensure!(line.contains("return"), "{line}");
        }
        Screen::read(&file)
    }

    fn power_off(&mut self) -> Result<()> {
        self.must(Order::PowerOff)?;
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.qemu.try_wait()?.is_none() {
            ensure!(Instant::now() < deadline, "the guest did not power off");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// A picture from a PPM file.
struct Screen {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Screen {
    fn read(file: &Path) -> Result<Self> {
        let bytes = std::fs::read(file)?;
        let mut parts = bytes.splitn(4, |byte| byte.is_ascii_whitespace());
        let mut text = || std::str::from_utf8(parts.next().unwrap_or_default());
        ensure!(text()? == "P6", "not a PPM");
        let (width, height) = (text()?.parse()?, text()?.parse()?);
        let rest = parts.next().context("cut short")?;
        let rgb = rest.strip_prefix(b"255\n").context("not 8 bits a channel")?.to_vec();
        Ok(Self { width, height, rgb })
    }

    fn pixel(&self, x: u32, y: u32) -> u32 {
        let at = (y as usize * self.width as usize + x as usize) * 3;
        self.rgb
            .get(at..at + 3)
            .map_or(u32::MAX, |rgb| rgb.iter().fold(0, |pixel, channel| pixel << 8 | u32::from(*channel)))
    }
}

#[test]
fn guest_without_vmbus_says_why_there_is_no_driver() -> Result<()> {
    let Some(kernel) = kernel("debian/6.1-cloud") else { return Ok(()) };
    let mut guest = Guest::start(&kernel, &["hyperv_fb", "hyperv_keyboard"])?;
    let Event::Hello(hello) = guest.event()? else { bail!("no hello") };
    println!("{hello:?}");
    ensure!(hello.release == kernel.release, "{hello:?}");
    ensure!(hello.cmdline.contains("console=ttyS0"), "{hello:?}");
    let Event::Modules { failed, .. } = guest.event()? else { bail!("no modules") };
    println!("{failed:?}");
    ensure!(failed.iter().any(|module| module.name == "hv_vmbus"), "{failed:?}");
    let Event::NoDriver { reason } = guest.event()? else { bail!("no no_driver") };
    ensure!(reason.contains("hv_vmbus"), "{reason}");
    let (_, done) = guest.ask(Order::Draw { pattern: Pattern::Noise, seed: 1 })?;
    ensure!(!done.ok && done.error.as_deref() == Some("there is no frame buffer"), "{done:?}");
    guest.power_off()
}

#[test]
fn agent_draws_and_prints_what_the_checks_expect_on_a_plain_vga() -> Result<()> {
    let Some(kernel) = kernel("debian/6.1") else { return Ok(()) };
    let mut guest = Guest::start(&kernel, &["bochs"])?;
    let driver = loop {
        match guest.event()? {
            Event::Driver(driver) => break driver,
            Event::NoDriver { reason } => bail!("{reason}"),
            other => println!("{other:?}"),
        }
    };
    println!("{driver:?}");
    let (width, height) = (driver.width, driver.height);

    guest.must(Order::Draw { pattern: Pattern::Coordinates, seed: 42 })?;
    guest.must(Order::Flush)?;
    let screen = guest.screen()?;
    ensure!((screen.width, screen.height) == (width, height), "{} x {}", screen.width, screen.height);
    let drawn = Picture::new(Pattern::Coordinates, width, height, 42).compare(|x, y| screen.pixel(x, y));
    ensure!(drawn.is_exact(), "{drawn}");

    guest.must(Order::Poke { x: 7, y: 9, width: 1, height: 1, color: 0x12_3456 })?;
    guest.must(Order::Flush)?;
    let screen = guest.screen()?;
    ensure!(screen.pixel(7, 9) == 0x12_3456, "0x{:06x}", screen.pixel(7, 9));
    let (_, outside) = guest.ask(Order::Poke { x: width, y: 0, width: 1, height: 1, color: 0 })?;
    ensure!(!outside.ok, "{outside:?}");

    guest.must(Order::Console { lines: 200 })?;
    guest.must(Order::Idle { ms: 300 })?;
    let events = guest.must(Order::Vcs)?;
    let Some(Event::Vcs(vcs)) = events.first() else { bail!("{events:?}") };
    ensure!(vcs.attribute.is_some(), "cells with different attributes");
    let last = vcs.text.iter().rfind(|row| !row.is_empty());
    ensure!(last == Some(&console_line(200, 200)), "{last:?}");
    let screen = guest.screen()?;
    let text = ConsoleText::from(vcs);
    let found = console_check::check(&text, width, height, |x, y| screen.pixel(x, y))?;
    println!("{found:?}");
    ensure!(found.glyphs > 60, "{found:?}");

    let mut stale = text.clone();
    if let [first, second, ..] = stale.text.as_mut_slice() {
        std::mem::swap(first, second);
    }
    let check = console_check::check(&stale, width, height, |x, y| screen.pixel(x, y));
    ensure!(check.is_err(), "swapped rows were not noticed");
    guest.power_off()
}
