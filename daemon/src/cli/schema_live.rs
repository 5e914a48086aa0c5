//! `fieldmesh schema publish|use|status`: the schema of a running fleet, through the daemon.

use std::path::{Path, PathBuf};

use reqwest::Method;

use super::client::Client;
use super::failure::{Exit, Failure};
use super::output::{Output, count, header, plain};
use super::schema_file;
use crate::api::types::{
    PublishReply, PublishRequest, RetiredField, SchemaDevice, SchemaDevices, SchemaReply,
    SchemaVersion, UseRequest,
};

#[derive(clap::Subcommand, Debug)]
pub(crate) enum LiveCommand {
    /// Publish a new version of the schema to every device
    Publish {
        /// The schema file
        file: PathBuf,
        /// Publish in spite of warnings
        #[arg(long)]
        force_warnings: bool,
    },
    /// Use another known version on this device, also an older one
    ///
    /// An older version than the newest stays in use until another is chosen. Nothing is lost either way:
    /// records are only read differently.
    Use {
        /// The version
        version: u32,
    },
    /// Show which versions there are, and which device is on which
    Status,
}

pub(crate) async fn live(
    client: &Client,
    command: &LiveCommand,
    out: Output,
) -> Result<Exit, Failure> {
    match command {
        LiveCommand::Publish {
            file,
            force_warnings,
        } => publish(client, file, *force_warnings, out).await,
        LiveCommand::Use { version } => choose(client, *version, out).await,
        LiveCommand::Status => status(client, out).await,
    }
}

async fn publish(
    client: &Client,
    file: &Path,
    force_warnings: bool,
    out: Output,
) -> Result<Exit, Failure> {
    // Read here first: errors are then shown in their lines.
    let schema = schema_file::read(file)?;
    let request = PublishRequest {
        source: schema.source,
        accept_warnings: force_warnings,
    };
    let call = client.write(Method::POST, &["schema"])?.body(&request)?;
    let reply: PublishReply = call.fetch().await?;
    if out.json {
        out.json(&reply)?;
        return Ok(Exit::Done);
    }
    for change in &reply.changes {
        out.talk(&format!(
            "{} {}: {}",
            plain(&change.code),
            plain(&change.pointer),
            plain(&change.message)
        ));
    }
    let (name, version) = (plain(&reply.name), reply.version);
    out.line(&match reply.already {
        true => format!("{name} version {version} had been published already"),
        false => format!("published {name} version {version}"),
    })?;
    if reply.active != version {
        out.talk(&format!(
            "this device stays on version {}; `fieldmesh schema use {version}` switches it",
            reply.active
        ));
    }
    Ok(Exit::Done)
}

async fn choose(client: &Client, version: u32, out: Output) -> Result<Exit, Failure> {
    let call = client
        .write(Method::PUT, &["schema", "active"])?
        .body(&UseRequest { version })?;
    let reply: SchemaReply = call.fetch().await?;
    if out.json {
        out.json(&reply)?;
    } else {
        out.line(&in_use(&reply))?;
    }
    Ok(Exit::Done)
}

async fn status(client: &Client, out: Output) -> Result<Exit, Failure> {
    let schema: SchemaReply = client.read(&["schema"])?.fetch().await?;
    let devices: SchemaDevices = client.read(&["schema", "devices"])?.fetch().await?;
    if out.json {
        out.json(&serde_json::json!({
            "schema": "fieldmesh.schema-status/1",
            "name": schema.summary.name,
            "version": schema.summary.version,
            "status": schema.status,
            "versions": schema.versions,
            "devices": devices.items,
            "retired": devices.retired,
        }))?;
        return Ok(Exit::Done);
    }
    out.line(&in_use(&schema))?;
    let versions: Vec<Vec<String>> = schema.versions.iter().flat_map(version_rows).collect();
    out.table(
        &header(&["version", "text", "state", "published"]),
        &versions,
    )?;
    let rows: Vec<Vec<String>> = devices.items.iter().map(device_row).collect();
    out.table(
        &header(&["device", "uses", "wrote under", "at", "note"]),
        &rows,
    )?;
    for field in &devices.retired {
        out.line(&retired(field))?;
    }
    Ok(Exit::Done)
}

/// The version in use, why it is not the newest, and whether its records are all there.
fn in_use(schema: &SchemaReply) -> String {
    let (summary, status) = (&schema.summary, &schema.status);
    let mut text = format!(
        "{} version {} is in use",
        plain(&summary.name),
        summary.version
    );
    if status.newest > summary.version {
        let newest = status.newest;
        let why = match (&status.held_back, status.pinned) {
            (_, true) => format!("chosen here; `fieldmesh schema use {newest}` ends that"),
            (Some(why), _) => plain(why),
            (None, _) => format!("not followed here; `fieldmesh schema use {newest}` switches"),
        };
        text.push_str(&format!(", version {newest} is the newest: {why}"));
    } else if let Some(why) = &status.held_back {
        text.push_str(&format!("; {}", plain(why)));
    }
    if let Some(refresh) = status.refresh {
        text.push_str(&format!(
            "\nreviews and counts are being brought up to it: {} of {}",
            refresh.done,
            count(refresh.total, "record")
        ));
    }
    text
}

fn version_rows(version: &SchemaVersion) -> Vec<Vec<String>> {
    let state = match (&version.problem, version.active, &version.published) {
        (Some(problem), _, _) => problem.clone(),
        (None, true, _) => "in use".to_owned(),
        (None, false, Some(_)) => "published".to_owned(),
        (None, false, None) => "own file".to_owned(),
    };
    let published = version.published.as_ref();
    let mut rows = vec![vec![
        version.version.to_string(),
        version.digest.clone(),
        state,
        published.map_or_else(
            || "not yet".to_owned(),
            |by| format!("{} by {}", by.at, by.name),
        ),
    ]];
    rows.extend(version.refused.iter().map(|late| {
        vec![
            version.version.to_string(),
            late.digest.clone(),
            "refused: another text was first".to_owned(),
            format!("{} by {}", late.at, late.name),
        ]
    }));
    rows
}

fn device_row(device: &SchemaDevice) -> Vec<String> {
    let version = |version: Option<u32>| version.map_or_else(String::new, |v| v.to_string());
    let name = match device.name.as_str() {
        "" => device.device.chars().take(8).collect(),
        name => name.to_owned(),
    };
    vec![
        name,
        version(device.uses),
        version(device.wrote),
        device.wrote_at.clone().unwrap_or_default(),
        device.note.clone().unwrap_or_default(),
    ]
}

fn retired(field: &RetiredField) -> String {
    let place = format!("{}.{}", plain(&field.collection), plain(&field.field));
    let end = match (&field.until, field.until_version) {
        (Some(day), _) => format!("ends on {}", plain(day)),
        (None, Some(version)) => format!("ended with version {version}"),
        (None, None) => "has ended".to_owned(),
    };
    let writers = match (&field.last_written, &field.until) {
        (None, Some(_)) => "no device has written it since".to_owned(),
        (None, None) => "no device writes it any more".to_owned(),
        (Some(at), _) => format!("{} lately, last at {at}", count(field.devices, "device")),
    };
    format!("{place} {end}: {writers}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn reply(change: impl Fn(&mut SchemaReply)) -> String {
        let mut reply: SchemaReply = serde_json::from_value(json!({
            "name": "clinic", "version": 1, "source": "", "collections": [],
            "newest": 2, "pinned": false, "follow": true, "versions": [],
        }))
        .unwrap();
        change(&mut reply);
        in_use(&reply)
    }

    #[test]
    fn the_first_line_says_why_the_newest_version_is_not_in_use() {
        assert!(reply(|_| {}).ends_with("not followed here; `fieldmesh schema use 2` switches"));
        assert!(reply(|r| r.status.pinned = true).contains("chosen here"));
        assert!(
            reply(|r| r.status.held_back = Some("a.b is gone".into())).ends_with(": a.b is gone")
        );
        assert_eq!(reply(|r| r.status.newest = 1), "clinic version 1 is in use");
    }

    #[test]
    fn a_refused_text_has_a_row_of_its_own() {
        let text =
            |digest: &str| json!({"digest": digest, "at": "t", "device": "d", "name": "tablet"});
        let version: SchemaVersion = serde_json::from_value(json!({
            "version": 2, "digest": "aa", "active": true, "published": text("aa"),
            "refused": [text("bb")],
        }))
        .unwrap();

        let rows = version_rows(&version);

        assert_eq!((rows.len(), rows[0][2].as_str()), (2, "in use"));
        assert!(rows[1][2].starts_with("refused"));
    }
}
