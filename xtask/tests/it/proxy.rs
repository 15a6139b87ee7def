//! A stand-in for a network that fails at the worst moment: everything passes until a session that
//! has said one thing says another; then the answer to that is lost. Nobody can produce that on
//! demand with a real network.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What becomes of the words that the proxy waits for. The client never hears of them again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// They never reach the server.
    Before,
    /// The server has done as they say.
    After,
    /// The same, and from then on nobody gets through.
    Gone,
    /// They reach the server when the client has long been cut off.
    Late(Duration),
}

/// In a session that has said `after`, the fault happens at `at`. Only once.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    pub after: &'static str,
    pub at: &'static str,
    pub fault: Fault,
}

pub struct Proxy {
    port: u16,
    plan: Arc<Plan>,
}

struct Plan {
    server: u16,
    cut: Mutex<Option<Cut>>,
    cuts: AtomicU32,
    is_gone: AtomicBool,
}

impl Proxy {
    /// Leads to the server at this port; nothing is cut yet.
    pub fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let port = listener.local_addr().expect("the listener's port").port();
        let plan = Arc::new(Plan {
            server,
            cut: Mutex::new(None),
            cuts: AtomicU32::new(0),
            is_gone: AtomicBool::new(false),
        });
        let of_listener = Arc::clone(&plan);
        // It ends with the test process.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let plan = Arc::clone(&of_listener);
                std::thread::spawn(move || forward(client, &plan));
            }
        });
        Self { port, plan }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn cut(&self, cut: Cut) {
        *self.plan.cut.lock().expect("no forwarder panics") = Some(cut);
    }

    /// How many sessions were cut so far.
    pub fn cuts(&self) -> u32 {
        self.plan.cuts.load(Ordering::SeqCst)
    }
}

impl Plan {
    /// The fault, when it is this session's turn.
    fn take(&self, said: &[u8], now: &[u8]) -> Option<Fault> {
        let mut cut = self.cut.lock().expect("no forwarder panics");
        let due = cut.is_some_and(|cut| has(now, cut.at) && has(said, cut.after));
        due.then(|| cut.take().map(|cut| cut.fault)).flatten()
    }
}

fn has(text: &[u8], words: &str) -> bool {
    text.windows(words.len())
        .any(|part| part == words.as_bytes())
}

fn forward(mut client: TcpStream, plan: &Plan) {
    if plan.is_gone.load(Ordering::SeqCst) {
        return;
    }
    // A server that is down is a connection that closes at once.
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", plan.server)) else {
        return;
    };
    let is_cut = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicBool::new(false));
    let answers = {
        let (client, server) = (client.try_clone(), server.try_clone());
        let (client, server) = (client.expect("clone"), server.expect("clone"));
        let (is_cut, answered) = (Arc::clone(&is_cut), Arc::clone(&answered));
        std::thread::spawn(move || answer(server, client, &is_cut, &answered))
    };
    let mut said = Vec::new();
    let mut chunk = [0; 16 * 1024];
    while let Ok(read @ 1..) = client.read(&mut chunk) {
        let now = &chunk[..read];
        if let Some(fault) = plan.take(&said, now) {
            is_cut.store(true, Ordering::SeqCst);
            plan.is_gone.store(fault == Fault::Gone, Ordering::SeqCst);
            if let Fault::Late(after) = fault {
                drop(client.shutdown(Shutdown::Both));
                plan.cuts.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(after);
            }
            if fault != Fault::Before && server.write_all(now).is_ok() {
                wait_for(&answered);
            }
            if !matches!(fault, Fault::Late(_)) {
                plan.cuts.fetch_add(1, Ordering::SeqCst);
            }
            break;
        }
        said.extend_from_slice(now);
        if server.write_all(now).is_err() {
            break;
        }
    }
    // Either may be closed already.
    let _ = server.shutdown(Shutdown::Both);
    let _ = client.shutdown(Shutdown::Both);
    let _ = answers.join();
}

/// From the server to the client, until the cut: what comes then is only noted.
fn answer(
    mut server: TcpStream,
    mut client: TcpStream,
    is_cut: &AtomicBool,
    answered: &AtomicBool,
) {
    let mut chunk = [0; 16 * 1024];
    while let Ok(read @ 1..) = server.read(&mut chunk) {
        if is_cut.load(Ordering::SeqCst) {
            answered.store(true, Ordering::SeqCst);
        } else if client.write_all(&chunk[..read]).is_err() {
            break;
        }
    }
    answered.store(true, Ordering::SeqCst);
    // It may be closed already.
    let _ = client.shutdown(Shutdown::Both);
}

fn wait_for(answered: &AtomicBool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !answered.load(Ordering::SeqCst) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
}
