//! The role of the KVM lab: mount what the host shares, run one program, pass on what it prints, power off.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, Instant},
};

use guest_agent::{
    lab::{Job, LabEvent, LabRequest, Share},
    lines::{LineReader, MAX_LINE_BYTES, parse},
};
use rustix::{
    mount::{MountFlags, UnmountFlags, unmount},
    process::{Pid, Signal, kill_process},
};

use crate::{CONFIGURATION, End, boot, line_port, modules, port::Port};

/// How long output may still come after the program ended, from children that it left behind.
const OUTPUT_WAIT: Duration = Duration::from_secs(2);

/// The longest piece of a line that is passed on in one event; JSON can make six bytes of one.
const PIECE_BYTES: u64 = (MAX_LINE_BYTES / 8) as u64;

type SharedPort = Arc<Mutex<Port>>;

/// Runs the job to its end.
pub(crate) fn run() -> End {
    let port = match Port::open() {
        Ok(port) => Arc::new(Mutex::new(port)),
        Err(error) => {
            eprintln!("guest-agent: no second serial port, so nobody to work for: {error}");
            return End::PowerOff;
        }
    };
    send(&port, &LabEvent::Hello { release: boot::release(), boot_ms: boot::uptime_ms() });
    let event = perform(&port).unwrap_or_else(|reason| LabEvent::Failed { reason });
    send(&port, &event);
    lock(&port).drain();
    End::PowerOff
}

fn perform(port: &SharedPort) -> Result<LabEvent, String> {
    let loaded = modules::load_all();
    if let Some(failed) = loaded.failed.first() {
        return Err(format!("module {} did not load: {}", failed.name, failed.error));
    }
    let path = format!("{CONFIGURATION}/job.json");
    let text = fs::read(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let job: Job = parse(&text).map_err(|fault| fault.to_string())?;
    for share in &job.shares {
        mount_share(share).map_err(|error| format!("cannot mount {}: {error}", share.path))?;
    }
    fs::create_dir_all(&job.working_directory)
        .map_err(|error| format!("cannot create {}: {error}", job.working_directory))?;

    if let Some(socket) = &job.line_socket {
        line_port::serve(socket).map_err(|error| format!("cannot serve the line port: {error}"))?;
    }
    send(port, &LabEvent::Started { at_ms: boot::uptime_ms() });
    let start = Instant::now();
    let status = run_program(&job, port).map_err(|error| format!("cannot run {}: {error}", job.program))?;
    let run_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    // Unmounting writes back what the program left in the page cache.
    for share in job.shares.iter().rev().filter(|share| share.writable) {
        if let Err(error) = unmount(share.path.as_str(), UnmountFlags::empty()) {
            eprintln!("guest-agent: cannot unmount {}: {error}", share.path);
            rustix::fs::sync();
        }
    }
    Ok(LabEvent::Exited { code: status.code(), signal: status.signal(), run_ms })
}

fn mount_share(share: &Share) -> io::Result<()> {
    let (flags, cache) = if share.writable {
        // What the program writes has to be on the host even if the lab is killed.
        (MountFlags::empty(), "mmap")
    } else {
        (MountFlags::RDONLY, "loose")
    };
    let options = format!("trans=virtio,version=9p2000.L,msize=262144,cache={cache}");
    boot::mount_at("9p", &share.tag, &share.path, flags, &options)
}

fn run_program(job: &Job, port: &SharedPort) -> io::Result<ExitStatus> {
    let mut child = Command::new(&job.program)
        .args(&job.arguments)
        .env_clear()
        .envs(job.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&job.working_directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stdout = forward(child.stdout.take(), port, |text| LabEvent::Stdout { text });
    let stderr = forward(child.stderr.take(), port, |text| LabEvent::Stderr { text });
    listen(&child, port)?;
    let status = child.wait()?;
    let deadline = Instant::now() + OUTPUT_WAIT;
    for done in [stdout, stderr] {
        // An error means that the thread is done, which is what this waits for.
        let _ = done.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
    Ok(status)
}

/// Passes on what comes out of `pipe`, line by line, on a thread of its own. The receiver hears when it is done.
fn forward(
    pipe: Option<impl Read + Send + 'static>,
    port: &SharedPort,
    event: impl Fn(String) -> LabEvent + Send + 'static,
) -> Receiver<()> {
    let (done, receiver) = channel::<()>();
    let port = Arc::clone(port);
    thread::spawn(move || {
        let Some(mut pipe) = pipe.map(BufReader::new) else { return };
        let mut line = Vec::new();
        while let Ok(1..) = pipe.by_ref().take(PIECE_BYTES).read_until(b'\n', &mut line) {
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            send(&port, &event(String::from_utf8_lossy(text).into_owned()));
            line.clear();
        }
        drop(done);
    });
    receiver
}

/// Does what the host asks for while the program runs, on a thread of its own, to the end of the lab.
fn listen(child: &Child, port: &SharedPort) -> io::Result<()> {
    let mut port = lock(port).duplicate()?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    thread::spawn(move || {
        let mut lines = LineReader::new();
        let each = |request| {
            if let (Ok(LabRequest::Interrupt), Some(pid)) = (request, pid) {
                // The program may have ended meanwhile, which is what was wanted.
                let _ = kill_process(pid, Signal::INT);
            }
        };
        while let Ok(true) = port.receive(&mut lines, each) {}
    });
    Ok(())
}

fn send(port: &SharedPort, event: &LabEvent) {
    lock(port).send(event);
}

fn lock(port: &SharedPort) -> std::sync::MutexGuard<'_, Port> {
    port.lock().unwrap_or_else(PoisonError::into_inner)
}
