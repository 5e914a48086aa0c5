//! `fieldmesh review`: conflicts that wait for a person.

use clap::ArgGroup;
use reqwest::Method;
use serde_json::Value as Json;

use super::client::Client;
use super::failure::{Exit, Failure};
use super::output::{Output, header, human, plain};
use super::pages::Pages;
use super::show;
use crate::api::types::{Record, ResolveRequest, Review, ReviewAnswer, ReviewKind};

/// Most reviews that the API gives in a page.
const PAGE_REVIEWS_MAX: usize = 1000;

#[derive(clap::Subcommand, Debug)]
pub(crate) enum ReviewCommand {
    /// The open reviews
    List,
    /// One review: what may be chosen, from whom, and when it was written
    Show {
        /// The review
        id: String,
    },
    /// Decide a review
    Resolve(ResolveArgs),
}

#[derive(clap::Args, Debug)]
#[command(group = ArgGroup::new("answer").required(true).args(["pick", "value", "keep", "delete", "accept"]))]
pub(crate) struct ResolveArgs {
    /// The review
    id: String,
    /// Take candidate N of `review show`
    #[arg(long, value_name = "N")]
    pick: Option<usize>,
    /// Take another value, as JSON; what is not JSON is taken as text
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    value: Option<String>,
    /// Keep the record that one device deleted
    #[arg(long)]
    keep: bool,
    /// Let the record be deleted
    #[arg(long)]
    delete: bool,
    /// Let stand what the review is about
    #[arg(long)]
    accept: bool,
    /// Why, for the others
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Decide anew what has been answered
    #[arg(long)]
    revisit: bool,
}

pub(crate) async fn review(
    client: &Client,
    command: &ReviewCommand,
    out: Output,
) -> Result<Exit, Failure> {
    match command {
        ReviewCommand::List => list(client, out).await,
        ReviewCommand::Show { id } => show(client, id, out).await,
        ReviewCommand::Resolve(args) => resolve(client, args, out).await,
    }
}

async fn list(client: &Client, out: Output) -> Result<Exit, Failure> {
    let mut pages = Pages::new(client.read(&["reviews"])?, PAGE_REVIEWS_MAX);
    let mut rows = Vec::new();
    while let Some(reviews) = pages.next::<Review>(usize::MAX).await? {
        if out.json {
            reviews.iter().try_for_each(|review| out.json(review))?;
        } else {
            rows.extend(reviews.iter().map(row));
        }
    }
    out.table(
        &header(&["review", "priority", "record", "candidates"]),
        &rows,
    )?;
    if rows.is_empty() && !out.json {
        out.talk("no decisions are open");
    }
    Ok(Exit::Done)
}

fn row(review: &Review) -> Vec<String> {
    let candidates = match review.about {
        ReviewKind::Bounds | ReviewKind::Invalid | ReviewKind::Clock => human(&review.shown),
        ReviewKind::Reference if review.field.is_none() => "accept | keep".to_owned(),
        ReviewKind::Reference => human(&review.shown),
        ReviewKind::Rule | ReviewKind::Past => String::new(),
        ReviewKind::Field => {
            let values = review
                .candidates
                .iter()
                .map(|candidate| human(&candidate.value));
            values.collect::<Vec<_>>().join(" | ")
        }
        ReviewKind::Deletion => "keep | delete".to_owned(),
    };
    let problem = review
        .problem
        .as_ref()
        .map_or(String::new(), |problem| format!("  ({problem})"));
    let elsewhere = match review.may_resolve {
        true => "",
        false => "  (not by this device)",
    };
    vec![
        review.id.clone(),
        review.priority.clone(),
        place(review),
        candidates + &problem + elsewhere,
    ]
}

async fn show(client: &Client, id: &str, out: Output) -> Result<Exit, Failure> {
    let review: Review = client.read(&["reviews", id])?.fetch().await?;
    if out.json {
        out.json(&review)?;
        return Ok(Exit::Done);
    }
    out.line(&out.bold(&plain(&place(&review))))?;
    if let Some(problem) = &review.problem {
        out.line(&format!("  {}", out.bad(&plain(problem))))?;
    }
    if review.provisional.is_none() && review.about == ReviewKind::Field {
        let shown = human(&review.shown);
        out.line(&format!("  {shown} from before is shown until decided"))?;
    }
    for (index, candidate) in review.candidates.iter().enumerate() {
        let is_choice = matches!(
            review.about,
            ReviewKind::Field | ReviewKind::Invalid | ReviewKind::Clock | ReviewKind::Deletion
        );
        let shown = if is_choice && review.answers.is_empty() && review.provisional == Some(index) {
            "  (shown until decided)"
        } else {
            ""
        };
        let what = match (review.about, &candidate.value) {
            (
                ReviewKind::Field
                | ReviewKind::Invalid
                | ReviewKind::Clock
                | ReviewKind::Rule
                | ReviewKind::Reference
                | ReviewKind::Past,
                _,
            ) => show::candidate(candidate),
            (ReviewKind::Bounds, value) => {
                format!(
                    "{} in all  {}",
                    human(value),
                    show::origin(&candidate.origin)
                )
            }
            (ReviewKind::Deletion, Json::Bool(true)) => {
                format!("deleted  {}", show::origin(&candidate.origin))
            }
            (ReviewKind::Deletion, _) => format!("edited  {}", show::origin(&candidate.origin)),
        };
        out.line(&format!("  {index}  {what}{shown}"))?;
    }
    for (at, answer) in review.answers.iter().enumerate() {
        out.line(&format!("  {}", answered(answer, at == 0)))?;
    }
    out.talk(&next_step(&review));
    Ok(Exit::Done)
}

/// An answer in one line. Of concurrent answers the first counts.
fn answered(answer: &ReviewAnswer, counts: bool) -> String {
    let decided = match answer.accepted {
        true => "accepted as it is".to_owned(),
        false => format!("decided: {}", human(&answer.value)),
    };
    let note = match answer.note.as_str() {
        "" => String::new(),
        note => format!("  ({})", plain(note)),
    };
    let also = if counts { "" } else { "also " };
    format!("{also}{decided}  {}{note}", show::origin(&answer.origin))
}

fn next_step(review: &Review) -> String {
    let id = plain(&review.id);
    if !review.may_resolve {
        return "this device's role may not answer it".to_owned();
    }
    let takes = match review.about {
        ReviewKind::Field => "--pick N, or --value JSON",
        ReviewKind::Invalid | ReviewKind::Clock => "--pick N, --value JSON, or --accept",
        ReviewKind::Bounds => "--value N, the right sum, or --accept",
        ReviewKind::Deletion => "--keep, or --delete",
        ReviewKind::Reference if review.field.is_none() => "--accept to delete it, or --keep",
        ReviewKind::Reference => "--value ID of another record, or --accept",
        ReviewKind::Rule | ReviewKind::Past => "--accept",
    };
    match review.answers.is_empty() {
        true => format!("decide with: fieldmesh review resolve {id} {takes}"),
        false => format!("decide anew with: fieldmesh review resolve {id} --revisit {takes}"),
    }
}

async fn resolve(client: &Client, args: &ResolveArgs, out: Output) -> Result<Exit, Failure> {
    let call = client.write(Method::POST, &["reviews", &args.id, "resolve"])?;
    let record: Record = call.body(&answer(args))?.fetch().await?;
    if out.json {
        out.json(&record)?;
    } else {
        out.talk(&format!(
            "decided: {}/{}",
            plain(&record.collection),
            plain(&record.id)
        ));
    }
    Ok(Exit::Done)
}

fn answer(args: &ResolveArgs) -> ResolveRequest {
    let value = args
        .value
        .as_deref()
        .map(|text| serde_json::from_str(text).unwrap_or_else(|_| Json::from(text)));
    ResolveRequest {
        candidate: args.pick,
        value,
        keep: (args.keep || args.delete).then_some(args.keep),
        accept: args.accept.then_some(true),
        revisit: args.revisit,
        note: args.note.clone().unwrap_or_default(),
    }
}

/// The record, by its name for people if it has one, and what about it.
fn place(review: &Review) -> String {
    let record = format!("{}/{}", review.collection, review.record_id);
    let label = if review.label.is_empty() {
        String::new()
    } else {
        format!(" ({})", review.label)
    };
    let about = match (&review.about, &review.field) {
        (ReviewKind::Deletion, _) | (ReviewKind::Reference, None) => "deleted or not",
        (ReviewKind::Rule, _) => review.rule.as_deref().unwrap_or("a rule"),
        (ReviewKind::Past, _) => "accepted before",
        (_, Some(field)) => field.as_str(),
        (_, None) => "a field",
    };
    format!("{record}{label}: {about}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> ResolveArgs {
        let id = "r".to_owned();
        ResolveArgs {
            id,
            pick: None,
            value: None,
            keep: false,
            delete: false,
            note: None,
            accept: false,
            revisit: false,
        }
    }

    #[test]
    fn an_answer_says_one_thing() {
        let pick = answer(&ResolveArgs {
            pick: Some(1),
            ..args()
        });
        let delete = answer(&ResolveArgs {
            delete: true,
            ..args()
        });
        let keep = answer(&ResolveArgs {
            keep: true,
            ..args()
        });

        assert_eq!(
            (pick.candidate, pick.value, pick.keep),
            (Some(1), None, None)
        );
        assert_eq!((delete.keep, keep.keep), (Some(false), Some(true)));
    }

    #[test]
    fn a_value_is_json_or_else_text() {
        let value = |text: &str| {
            answer(&ResolveArgs {
                value: Some(text.to_owned()),
                ..args()
            })
            .value
        };

        assert_eq!(value("37.5"), Some(Json::from(37.5)));
        assert_eq!(value("null"), Some(Json::Null));
        assert_eq!(value("malaria"), Some(Json::from("malaria")));
    }
}
