//! What came back from the daemon: a body of bounded size, or a failure that says what to do.

use std::error::Error as _;
use std::io;

use reqwest::StatusCode;

use super::failure::{Exit, Failure};
use super::output::plain;
use crate::api::types::Problem;
use crate::config::TOKEN_FILE;

/// Largest reply that is read whole.
pub(super) const REPLY_BYTES_MAX: usize = 64 << 20;
/// Longest text of a reply that is not ours and is shown in an error, in characters.
const FOREIGN_CHARS_MAX: usize = 200;

/// Why an attempt brought no good reply.
pub(super) enum Lost {
    Final(Failure),
    Retryable(Failure),
}

pub(super) enum Body {
    TooLarge,
    Broken(reqwest::Error),
}

pub(super) async fn collect(mut response: reqwest::Response) -> Result<Vec<u8>, Body> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Body::Broken)? {
        if bytes.len() + chunk.len() > REPLY_BYTES_MAX {
            return Err(Body::TooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The daemon's refusal as a failure, and whether the same request may succeed later.
pub(super) fn problem(status: StatusCode, bytes: &[u8], writes: bool) -> (Failure, bool) {
    let Ok(problem) = serde_json::from_slice::<Problem>(bytes) else {
        let text: String = String::from_utf8_lossy(bytes)
            .chars()
            .take(FOREIGN_CHARS_MAX)
            .collect();
        let message = format!("unexpected reply {status}: {}", plain(&text));
        let next = "check that --api is the address of a fieldmesh daemon";
        return (Failure::new(Exit::Failed, message).next(next), false);
    };
    let mut failure = Failure::new(exit(status), plain(&problem.detail));
    let problems = problem.errors.iter();
    failure.problems = problems
        .map(|e| (plain(&e.pointer), plain(&e.message)))
        .collect();
    failure.code = Some(problem.code.into());
    failure.next = (!problem.hint.is_empty()).then(|| plain(&problem.hint).into());
    if status == StatusCode::UNAUTHORIZED {
        failure = failure.next(format!(
            "give --token or FIELDMESH_TOKEN; the token is in {TOKEN_FILE}"
        ));
    }
    if writes {
        failure = failure.unchanged("nothing was written");
    }
    (
        failure,
        problem.retryable && status == StatusCode::SERVICE_UNAVAILABLE,
    )
}

fn exit(status: StatusCode) -> Exit {
    match status.as_u16() {
        401 | 403 => Exit::NotAllowed,
        404 => Exit::NotFound,
        409 | 412 => Exit::Conflict,
        400 | 413 | 415 | 422 => Exit::Invalid,
        _ => Exit::Failed,
    }
}

/// The error with all its causes.
pub(super) fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

pub(super) fn io_kind(error: &reqwest::Error) -> Option<io::ErrorKind> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        source = cause.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_becomes_an_exit_code_a_cause_and_a_remedy() {
        let body = serde_json::json!({
            "type": "about:blank", "title": "Invalid", "status": 422, "detail": "visit/v1 is invalid",
            "code": "invalid", "retryable": false, "hint": "correct the fields",
            "errors": [{"pointer": "/temp_c", "code": "above_max", "message": "at most 45"}],
        });

        let (failure, retryable) = problem(
            StatusCode::UNPROCESSABLE_ENTITY,
            body.to_string().as_bytes(),
            true,
        );

        assert!(!retryable);
        assert_eq!(failure.exit, Exit::Invalid);
        assert_eq!(
            failure.to_string(),
            "error: visit/v1 is invalid\n  /temp_c: at most 45\nnothing was written\n\
             next: correct the fields"
        );
    }

    #[test]
    fn a_reply_of_something_else_is_shown_shortened_and_without_control_characters() {
        let body = format!("\x1b[31m{}", "x".repeat(5000));

        let (failure, _) = problem(StatusCode::BAD_GATEWAY, body.as_bytes(), false);

        let text = failure.to_string();
        assert!(text.len() < 400 && !text.contains('\x1b'), "{text}");
    }
}
