//! The wire to a server: everything passes, until it is told to be slow, late, cut or wrong.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub struct Wire {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    server: AtomicU16,
    /// Of both directions together; nothing: no limit.
    bytes_per_second: AtomicU64,
    /// So many connections are cut, each after so many bytes from the client.
    cuts: AtomicU32,
    cut_after: AtomicU64,
    /// What comes back is changed where this stands, once each.
    changed: Mutex<Option<(Vec<u8>, Vec<u8>)>>,
    /// Answers end in their middle, when they are longer than that.
    truncate_after: AtomicU64,
    delay_ms: AtomicU64,
    /// What happens, once, before the server hears such words of a client.
    before: Mutex<Option<Before>>,
    /// A client that says one of these is cut, and is not heard.
    refused: Mutex<Vec<Vec<u8>>>,
    /// A client that says this is heard, and cut instead of answered.
    unanswered: Mutex<Option<Vec<u8>>>,
    uploaded: AtomicU64,
    stopped: AtomicBool,
}

/// The words, and what happens.
type Before = (Vec<u8>, Box<dyn FnOnce() + Send>);

impl Wire {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(State::default());
        let of_listener = Arc::clone(&state);
        // It ends with the test process.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = Arc::clone(&of_listener);
                std::thread::spawn(move || state.carry(client));
            }
        });
        Self { port, state }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn leads_to(&self, port: u16) {
        self.state.server.store(port, SeqCst);
    }

    pub fn slow(&self, bytes_per_second: u64) {
        self.state.bytes_per_second.store(bytes_per_second, SeqCst);
    }

    /// The next connections are cut, each after so many bytes.
    pub fn cut(&self, connections: u32, after_bytes: u64) {
        self.state.cut_after.store(after_bytes, SeqCst);
        self.state.cuts.store(connections, SeqCst);
    }

    pub fn cuts_left(&self) -> u32 {
        self.state.cuts.load(SeqCst)
    }

    /// In everything that comes back.
    pub fn change(&self, from: &[u8], to: &[u8]) {
        assert_eq!(from.len(), to.len(), "an answer keeps its length");
        let changed = Some((from.to_vec(), to.to_vec()));
        *self.state.changed.lock().expect("no carrier panics") = changed;
    }

    pub fn truncate(&self, after_bytes: u64) {
        self.state.truncate_after.store(after_bytes, SeqCst);
    }

    /// How long what the client says is under way.
    pub fn delay(&self, delay: Duration) {
        let ms = delay.as_millis().try_into().expect("a short delay");
        self.state.delay_ms.store(ms, SeqCst);
    }

    /// The next time that a client says this, before the server hears it.
    pub fn before(&self, words: &str, happens: impl FnOnce() + Send + 'static) {
        let before: Before = (words.as_bytes().to_vec(), Box::new(happens));
        *self.state.before.lock().expect("no carrier panics") = Some(before);
    }

    /// Whether what was to happen before some words has happened.
    pub fn has_heard(&self) -> bool {
        let before = self.state.before.lock().expect("no carrier panics");
        before.is_none()
    }

    /// From now on whoever says one of these is cut, before the server hears it; none: nobody is.
    pub fn refuse(&self, words: &[&str]) {
        let words = words.iter().map(|words| words.as_bytes().to_vec());
        *self.state.refused.lock().expect("no carrier panics") = words.collect();
    }

    /// The next one that says this is heard by the server, and gets no answer.
    pub fn lose_answer(&self, words: &str) {
        let words = Some(words.as_bytes().to_vec());
        *self.state.unanswered.lock().expect("no carrier panics") = words;
    }

    /// Nothing passes any more, and nothing is closed: a server that hangs.
    pub fn stop(&self) {
        self.state.stopped.store(true, SeqCst);
    }

    /// How many bytes clients have sent.
    pub fn uploaded(&self) -> u64 {
        self.state.uploaded.load(SeqCst)
    }
}

impl State {
    fn carry(self: Arc<Self>, client: TcpStream) {
        // A server that is down is a connection that closes at once.
        let Ok(server) = TcpStream::connect(("127.0.0.1", self.server.load(SeqCst))) else {
            return;
        };
        let (from_server, to_client) = (server.try_clone(), client.try_clone());
        let (from_server, to_client) = (from_server.expect("clone"), to_client.expect("clone"));
        let (state, is_mute) = (Arc::clone(&self), Arc::new(AtomicBool::new(false)));
        let of_back = Arc::clone(&is_mute);
        let back = std::thread::spawn(move || state.back(from_server, to_client, &of_back));
        self.forth(client, server, &is_mute);
        let _ = back.join();
    }

    fn forth(&self, mut client: TcpStream, mut server: TcpStream, is_mute: &AtomicBool) {
        let takes_one = |cuts: u32| cuts.checked_sub(1);
        let is_cut = self.cuts.fetch_update(SeqCst, SeqCst, takes_one).is_ok();
        let mut left = match is_cut {
            true => self.cut_after.load(SeqCst),
            false => u64::MAX,
        };
        let mut chunk = [0; 64 * 1024];
        while let Ok(read @ 1..) = client.read(&mut chunk) {
            self.wait(read);
            if !self.hear(&chunk[..read], is_mute) {
                break;
            }
            std::thread::sleep(Duration::from_millis(self.delay_ms.load(SeqCst)));
            let now = read.min(usize::try_from(left).unwrap_or(usize::MAX));
            self.uploaded.fetch_add(now as u64, SeqCst);
            if server.write_all(&chunk[..now]).is_err() {
                break;
            }
            left -= now as u64;
            if left == 0 {
                break;
            }
        }
        // Either may be closed already.
        let _ = server.shutdown(Shutdown::Both);
        let _ = client.shutdown(Shutdown::Both);
    }

    /// Whether it may pass. The head of a request is one chunk, of a client on this machine.
    fn hear(&self, chunk: &[u8], is_mute: &AtomicBool) -> bool {
        let has = |words: &Vec<u8>| chunk.windows(words.len()).any(|window| window == *words);
        let is_refused = || {
            let refused = self.refused.lock().expect("no carrier panics");
            refused.iter().any(has)
        };
        // Also when it is let pass while something happens.
        let was_refused = is_refused();
        let mut before = self.before.lock().expect("no carrier panics");
        if before.as_ref().is_some_and(|(words, _)| has(words))
            && let Some((_, happens)) = before.take()
        {
            happens();
        }
        let mut unanswered = self.unanswered.lock().expect("no carrier panics");
        if unanswered.take_if(|words| has(words)).is_some() {
            is_mute.store(true, SeqCst);
        }
        !was_refused && !is_refused()
    }

    fn back(&self, mut server: TcpStream, mut client: TcpStream, is_mute: &AtomicBool) {
        let mut passed = 0;
        let mut chunk = [0; 64 * 1024];
        while let Ok(read @ 1..) = server.read(&mut chunk) {
            self.wait(read);
            if is_mute.load(SeqCst) {
                break;
            }
            let now = &mut chunk[..read];
            if let Some((from, to)) = &*self.changed.lock().expect("no carrier panics") {
                replace(now, from, to);
            }
            passed += read as u64;
            let limit = self.truncate_after.load(SeqCst);
            if client.write_all(now).is_err() || (limit > 0 && passed > limit) {
                break;
            }
        }
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    }

    fn wait(&self, bytes: usize) {
        while self.stopped.load(SeqCst) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let per_second = self.bytes_per_second.load(SeqCst);
        if let Some(micros) = (bytes as u64 * 1_000_000).checked_div(per_second) {
            std::thread::sleep(Duration::from_micros(micros));
        }
    }
}

fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    let length = from.len();
    for at in 0..(bytes.len() + 1).saturating_sub(length) {
        if bytes[at..at + length] == *from {
            bytes[at..at + length].copy_from_slice(to);
        }
    }
}
