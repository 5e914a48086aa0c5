//! How a command ends: its exit code, and for a failure the place, the cause, what was not changed and
//! the next command to run.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// The exit codes of the `fieldmesh` command. They are part of its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything that was asked for is done.
    Done = 0,
    /// It failed, for a reason that has no code of its own.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// No daemon answers.
    Unreachable = 3,
    /// There is no such record, collection or review.
    NotFound = 4,
    /// The state is not the one that the command needs.
    Conflict = 5,
    /// The daemon or the system does not let this user do it.
    NotAllowed = 6,
    /// The data breaks the schema.
    Invalid = 7,
    /// A check ran and found a problem.
    Attention = 8,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// A stable code from the API, if the failure came from there.
    pub(crate) code: Option<Box<str>>,
    /// The place and the cause. Empty for a failure that needs no words.
    pub(crate) message: String,
    /// Each thing that is wrong: where, such as `/edits/3/fields/temp_c` in a request, and what. The
    /// place may be empty.
    pub(crate) problems: Vec<(String, String)>,
    /// What is still as it was.
    pub(crate) unchanged: Option<Box<str>>,
    /// What to do or run next.
    pub(crate) next: Option<Box<str>>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self {
            exit,
            code: None,
            message: message.to_string(),
            problems: Vec::new(),
            unchanged: None,
            next: None,
        }
    }

    /// A mistake on the command line.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A system call on `place` that failed.
    pub(crate) fn io(place: impl fmt::Display, error: &io::Error) -> Self {
        let exit = match error.kind() {
            io::ErrorKind::NotFound => Exit::NotFound,
            io::ErrorKind::PermissionDenied => Exit::NotAllowed,
            _ => Exit::Failed,
        };
        Self::new(exit, format!("{place}: {error}"))
    }

    /// Standard output went away, as in `fieldmesh list patient | head`: stop without a word.
    pub(crate) fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Done, "");
        }
        Self::new(
            Exit::Failed,
            format!("cannot write to standard output: {error}"),
        )
    }

    pub(crate) fn details(mut self, details: Vec<String>) -> Self {
        self.problems = details
            .into_iter()
            .map(|detail| (String::new(), detail))
            .collect();
        self
    }

    pub(crate) fn unchanged(mut self, unchanged: impl Into<String>) -> Self {
        self.unchanged = Some(unchanged.into().into());
        self
    }

    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into().into());
        self
    }

    pub(crate) fn has_code(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() {
            return Ok(());
        }
        write!(f, "error: {}", self.message)?;
        for (pointer, problem) in &self.problems {
            let colon = if pointer.is_empty() { "" } else { ": " };
            write!(f, "\n  {pointer}{colon}{problem}")?;
        }
        if let Some(unchanged) = &self.unchanged {
            write!(f, "\n{unchanged}")?;
        }
        if let Some(next) = &self.next {
            write!(f, "\nnext: {next}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_stayed_and_what_to_run_next() {
        let failure = Failure::new(Exit::NotFound, "patient/p1 does not exist")
            .details(vec!["/name: required".to_owned()])
            .unchanged("nothing was written")
            .next("fieldmesh list patient");

        assert_eq!(
            failure.to_string(),
            "error: patient/p1 does not exist\n  /name: required\nnothing was written\n\
             next: fieldmesh list patient"
        );
    }

    #[test]
    fn a_closed_pipe_is_not_an_error() {
        let failure = Failure::output(&io::ErrorKind::BrokenPipe.into());

        assert_eq!(
            (failure.exit, failure.to_string()),
            (Exit::Done, String::new())
        );
    }
}
