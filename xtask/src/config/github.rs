//! Who can read what a run in GitHub Actions leaves behind.

use std::env;
use std::fs::File;
use std::io::Read;

use serde::Deserialize;

/// An event is some hundred KiB at most.
const MAX_EVENT_BYTES: u64 = 16 << 20;

/// Whether the world can download the artifacts of this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Not a run of GitHub Actions, or one of a private repository.
    Few,
    /// A run of a public repository.
    Everybody,
    /// A run of GitHub Actions whose event does not say.
    Unknown,
}

#[derive(Deserialize)]
struct Event {
    repository: Option<Repository>,
}

#[derive(Deserialize)]
struct Repository {
    visibility: Option<String>,
    private: Option<bool>,
}

pub fn audience() -> Audience {
    if env::var("GITHUB_ACTIONS").is_ok_and(|value| value == "true") {
        return event().map_or(Audience::Unknown, |bytes| audience_of(&bytes));
    }
    Audience::Few
}

fn event() -> Option<Vec<u8>> {
    let file = File::open(env::var_os("GITHUB_EVENT_PATH")?).ok()?;
    let mut bytes = Vec::new();
    file.take(MAX_EVENT_BYTES).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// As the event says. One that contradicts itself is taken for public.
pub fn audience_of(event: &[u8]) -> Audience {
    let event: Option<Event> = serde_json::from_slice(event).ok();
    let Some(repository) = event.and_then(|event| event.repository) else {
        return Audience::Unknown;
    };
    let visibility = repository.visibility.as_deref();
    match (visibility, repository.private) {
        (Some("public"), _) | (_, Some(false)) => Audience::Everybody,
        (Some("private" | "internal"), _) | (_, Some(true)) => Audience::Few,
        _ => Audience::Unknown,
    }
}
