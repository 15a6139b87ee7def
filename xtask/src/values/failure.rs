//! Outcomes that a script must be able to tell apart: exit code and hint.

/// What state the database is in; see the table of exit codes in the README.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Unexpected, before the first change.
    Unexpected,
    /// Wrong usage.
    Usage,
    /// Stopped on purpose before anything changed.
    Refused,
    /// A backup cannot be trusted.
    Untrusted,
    /// Failed after the first change; the database must be looked at.
    AfterChange,
    /// Done as asked, and something beside it is not.
    Incomplete,
}

impl Outcome {
    pub fn exit_code(self) -> u8 {
        match self {
            Outcome::Unexpected => 1,
            Outcome::Usage => 2,
            Outcome::Refused => 3,
            Outcome::Untrusted => 4,
            Outcome::AfterChange => 5,
            Outcome::Incomplete => 6,
        }
    }
}

/// An error with an exit code of its own and, where one is known, a next command.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub outcome: Outcome,
    message: String,
    pub hint: Option<String>,
}

impl Failure {
    fn new(outcome: Outcome, message: impl Into<String>) -> Failure {
        Failure {
            outcome,
            message: message.into(),
            hint: None,
        }
    }

    pub fn unexpected(message: impl Into<String>) -> Failure {
        Failure::new(Outcome::Unexpected, message)
    }

    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Outcome::Usage, message)
    }

    pub fn refused(message: impl Into<String>) -> Failure {
        Failure::new(Outcome::Refused, message)
    }

    pub fn untrusted(message: impl Into<String>) -> Failure {
        Failure::new(Outcome::Untrusted, message)
    }

    pub fn after_change(message: impl Into<String>) -> Failure {
        Failure::new(Outcome::AfterChange, message)
    }

    pub fn incomplete(message: impl Into<String>) -> Failure {
        Failure::new(Outcome::Incomplete, message)
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }
}

/// Whether it says that bytes were read and are not what they should be.
pub fn is_untrusted(error: &anyhow::Error) -> bool {
    is(error, Outcome::Untrusted)
}

/// Whether it was stopped on purpose.
pub fn is_refused(error: &anyhow::Error) -> bool {
    is(error, Outcome::Refused)
}

/// Whether the database may have been changed.
pub fn is_after_change(error: &anyhow::Error) -> bool {
    is(error, Outcome::AfterChange)
}

fn is(error: &anyhow::Error, outcome: Outcome) -> bool {
    let failure = error.downcast_ref::<Failure>();
    failure.is_some_and(|failure| failure.outcome == outcome)
}

/// In an error: what had begun on the database was rolled back, all of it.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("all migrations of this run were rolled back together")]
pub struct RolledBack;

/// The hint of an error: the outermost one, because it knows most of the story.
pub fn hint_of(error: &anyhow::Error) -> Option<String> {
    if let Some(hint) = error.downcast_ref::<Failure>().and_then(|f| f.hint.clone()) {
        return Some(hint);
    }
    let failures = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<Failure>());
    failures.filter_map(|failure| failure.hint.clone()).next()
}

/// For a hint: the command that builds this program with one feature more, and goes on.
pub fn builds(feature: &str, verb: &str) -> String {
    let built = [
        ("encryption", cfg!(feature = "encryption")),
        ("offsite", cfg!(feature = "offsite")),
        ("s3", cfg!(feature = "s3")),
        ("gcs", cfg!(feature = "gcs")),
        ("azure", cfg!(feature = "azure")),
    ];
    let built = built.iter().filter(|(_, is_built)| *is_built);
    let all: Vec<&str> = built.map(|(name, _)| *name).chain([feature]).collect();
    let run = format!(
        "run --quiet --package xtask-db --features {} --bin xtask --",
        all.join(",")
    );
    format!("cargo {run} db {verb}\nfor always, in `.cargo/config.toml`: xtask = \"{run}\"")
}
