//! A headless Chromium whose every request ends at a listener of ours.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const PROGRAM: &str = "chromium";

/// Domains that the browser itself calls, switched off or not. A page counts as quiet only if it does not name them.
pub(crate) const BROWSERS_OWN: [&str; 3] = ["googleapis.com", "google.com", "gvt1.com"];

/// What a visit to a page came to.
#[derive(Debug)]
pub(crate) struct Visit {
    /// The document after it was loaded.
    pub(crate) dom: String,
    /// Lines of the browser's log that the page's console caused.
    pub(crate) console: Vec<String>,
    /// First lines of the requests that reached the proxy, without those of [`BROWSERS_OWN`].
    pub(crate) requests: Vec<String>,
}

/// Chromium's own word for its version; `None` if there is none.
pub(crate) fn version() -> Option<String> {
    let output = Command::new(PROGRAM).arg("--version").stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Opens the file at `page` in a browser of its own. `more` are further switches.
pub(crate) fn visit(page: &Path, more: &[&str]) -> Visit {
    let proxy = Proxy::start();
    let profile = tempfile::tempdir().expect("a directory for the profile");
    let output = Command::new("timeout")
        .args(["--kill-after=5", "120", PROGRAM])
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
        ])
        // The browser's own traffic: updates, field trials, model downloads, sync, connection tests.
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--disable-default-apps", "--disable-extensions", "--disable-domain-reliability"])
        .args(["--disable-client-side-phishing-detection", "--no-default-browser-check", "--no-pings"])
        .arg("--disable-features=OptimizationHints,MediaRouter,Translate,NetworkTimeServiceQuerying")
        .args(["--enable-logging=stderr", "--v=0", "--proxy-bypass-list=<-loopback>", "--dump-dom"])
        .arg(format!("--proxy-server={}", proxy.address))
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(more)
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null())
        .output()
        .expect("timeout, of coreutils");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{PROGRAM}: {}\n{log}", output.status);
    Visit {
        dom: String::from_utf8_lossy(&output.stdout).into_owned(),
        console: log.lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect(),
        requests: proxy.stop().into_iter().filter(|line| !is_browsers_own(line)).collect(),
    }
}

/// `line` is "METHOD host:port HTTP/1.1" or "METHOD http://host/path HTTP/1.1". An empty line is a connection that said
/// nothing: the browser opens some ahead of need.
fn is_browsers_own(line: &str) -> bool {
    let Some(target) = line.split_ascii_whitespace().nth(1) else { return line.is_empty() };
    let host = target.trim_start_matches("http://").split(['/', ':']).next().unwrap_or_default();
    BROWSERS_OWN.iter().any(|domain| host == *domain || host.ends_with(&format!(".{domain}")))
}

/// Answers every request with a refusal and remembers it.
#[derive(Debug)]
struct Proxy {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    requests: Arc<Mutex<Vec<String>>>,
    thread: JoinHandle<()>,
}

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let address = listener.local_addr().expect("its address");
        let ended = Arc::new(AtomicBool::new(false));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let thread = thread::spawn({
            let (ended, requests) = (Arc::clone(&ended), Arc::clone(&requests));
            move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    if ended.load(Ordering::Acquire) {
                        return;
                    }
                    requests.lock().expect("no panic holds it").push(refuse(stream));
                }
            }
        });
        Self { address, ended, requests, thread }
    }

    fn stop(self) -> Vec<String> {
        self.ended.store(true, Ordering::Release);
        // Wakes `incoming`, behind whatever the browser still had in the queue.
        drop(TcpStream::connect(self.address));
        self.thread.join().expect("the proxy does not panic");
        std::mem::take(&mut *self.requests.lock().expect("no panic holds it"))
    }
}

fn refuse(mut stream: TcpStream) -> String {
    let mut line = String::new();
    if stream.set_read_timeout(Some(Duration::from_secs(2))).is_ok() {
        let _ = BufReader::new(&stream).read_line(&mut line);
    }
    let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    line.trim().to_owned()
}
