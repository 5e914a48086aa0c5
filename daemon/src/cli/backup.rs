//! `fieldmesh backup` and `fieldmesh restore FILE`: a device in one file, and a device made of it.
//!
//! A backup holds the whole directory, keys and secrets included, with a consistent copy of the store whether
//! or not the daemon runs. A restored device writes into new logs from its first write on: what the backup
//! lacks comes back from the other devices.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead, IsTerminal};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::json;

use super::archive::{self, Manifest, Member};
use super::client::Client;
use super::failure::{Exit, Failure};
use super::offline::{failed, load};
use super::output::{Output, bytes, count, plain};
use crate::api::types::StoreCopy;
use crate::config::{Config, SOCKET_FILE, STORE_FILE, WITNESS_FILE};
use crate::node::offline::{COPY_PREFIX, OfflineStore};

#[derive(clap::Args, Debug)]
pub(crate) struct BackupArgs {
    /// The file to write; it must not exist
    file: PathBuf,
}

/// What to do with a backup file.
#[derive(Debug)]
pub(crate) struct RestoreOptions {
    /// The backup.
    pub(crate) file: PathBuf,
    /// Move a device that is there aside.
    pub(crate) replace: bool,
    /// Ask nothing.
    pub(crate) yes: bool,
}

/// A copy of the store that is removed when it has been used.
struct Copy {
    path: PathBuf,
    entries: u64,
}

impl Drop for Copy {
    fn drop(&mut self) {
        // The daemon removes what is left when it starts.
        let _ = fs::remove_file(&self.path);
    }
}

pub(crate) async fn backup(
    client: &Client,
    dir: &Path,
    args: &BackupArgs,
    out: Output,
) -> Result<Exit, Failure> {
    let config = load(dir)?;
    if args.file.exists() {
        let message = format!("{} exists", args.file.display());
        return Err(Failure::new(Exit::Conflict, message)
            .unchanged("it was left alone")
            .next("give the name of a new file"));
    }
    let copy = copy_store(client, &config).await?;
    let (manifest, sources) = gather(&config, &copy)?;
    archive::write(&args.file, &manifest, &sources)
        .map_err(|error| Failure::io(args.file.display(), &error))?;
    archive::verify(&args.file).map_err(|error| Failure::io(args.file.display(), &error))?;
    let size = fs::metadata(&args.file).map_or(0, |meta| meta.len());
    if out.json {
        out.json(&json!({
            "schema": "fieldmesh.backup/1",
            "file": args.file,
            "bytes": size,
            "entries": manifest.entries,
        }))?;
    } else {
        out.line(&format!(
            "{}: {}, {}",
            args.file.display(),
            count(manifest.entries, "change set"),
            bytes(size)
        ))?;
        out.talk("it holds this device's keys and secrets: keep it where only you can read it");
    }
    Ok(Exit::Done)
}

/// A consistent copy: made by the daemon if it runs, and here if it does not.
async fn copy_store(client: &Client, config: &Config) -> Result<Copy, Failure> {
    let dir = config.dir.clone();
    if is_running(&dir) {
        let copied: StoreCopy = client.write(Method::POST, &["backup"])?.fetch().await?;
        return Ok(Copy {
            path: dir.join(copied.file),
            entries: copied.entries,
        });
    }
    let path = dir.join(format!("{COPY_PREFIX}offline.redb"));
    // Left behind by a backup that was interrupted.
    let _ = fs::remove_file(&path);
    let store = OfflineStore::open(config).map_err(|error| failed(&error))?;
    let copied = store
        .copy_to(&path)
        .map_err(|error| Failure::new(Exit::Failed, error))?;
    Ok(Copy {
        path,
        entries: copied.entries,
    })
}

/// Whether a daemon serves the directory.
fn is_running(dir: &Path) -> bool {
    UnixStream::connect(dir.join(SOCKET_FILE)).is_ok()
}

/// The directory's files, the copy in the store's place.
fn gather(config: &Config, copy: &Copy) -> Result<(Manifest, Vec<File>), Failure> {
    let failed = |path: &Path, error: &io::Error| Failure::io(path.display(), error);
    let mut manifest = Manifest {
        created: jiff::Timestamp::now().to_string(),
        organisation: config.organisation.to_string(),
        name: config.name.clone(),
        entries: copy.entries,
        files: Vec::new(),
    };
    let mut paths = vec![(STORE_FILE.to_owned(), copy.path.clone())];
    let listed = fs::read_dir(&config.dir).map_err(|error| failed(&config.dir, &error))?;
    for file in listed {
        let file = file.map_err(|error| failed(&config.dir, &error))?;
        let name = file.file_name().to_string_lossy().into_owned();
        let is_kept = ![STORE_FILE, WITNESS_FILE, SOCKET_FILE].contains(&name.as_str())
            && !name.starts_with(COPY_PREFIX);
        if is_kept && file.file_type().is_ok_and(|kind| kind.is_file()) {
            paths.push((name, file.path()));
        }
    }
    paths.sort();
    let mut sources = Vec::new();
    for (name, path) in paths {
        let file = File::open(&path).map_err(|error| failed(&path, &error))?;
        let bytes = file
            .metadata()
            .map_err(|error| failed(&path, &error))?
            .len();
        manifest.files.push(Member { name, bytes });
        sources.push(file);
    }
    Ok((manifest, sources))
}

/// Makes a device of a backup.
pub(crate) fn restore(dir: &Path, options: &RestoreOptions, out: Output) -> Result<Exit, Failure> {
    let file = &options.file;
    let manifest = archive::verify(file).map_err(|error| Failure::io(file.display(), &error))?;
    out.talk(&format!(
        "{} of {}, {}",
        plain(&manifest.name),
        plain(&manifest.created),
        count(manifest.entries, "change set")
    ));
    let is_taken = fs::read_dir(dir).is_ok_and(|mut files| files.next().is_some());
    if is_taken {
        check_replace(dir, &manifest, options)?;
    }
    let fresh = sibling(dir, "restoring");
    let made = make(file, &fresh);
    if let Err(failure) = made {
        // Nothing of a restore that failed is of use.
        let _ = fs::remove_dir_all(&fresh);
        return Err(failure.unchanged(format!("{} was left alone", dir.display())));
    }
    let aside = move_in(dir, &fresh, is_taken)?;
    if out.json {
        out.json(&json!({
            "schema": "fieldmesh.restore/1",
            "dir": dir,
            "name": manifest.name,
            "entries": manifest.entries,
            "aside": aside,
        }))?;
    } else {
        out.line(&format!("{} is restored", dir.display()))?;
        if let Some(aside) = &aside {
            out.talk(&format!("what was there is in {}", aside.display()));
        }
        out.talk(
            "it writes into new logs; what the backup lacks comes back from the other devices",
        );
        out.talk("the device that the backup was made of must not run again beside it");
    }
    Ok(Exit::Done)
}

/// Whether what is in the directory may be moved aside.
fn check_replace(dir: &Path, manifest: &Manifest, options: &RestoreOptions) -> Result<(), Failure> {
    let place = dir.display();
    if is_running(dir) {
        return Err(
            Failure::new(Exit::Conflict, format!("a daemon runs in {place}"))
                .unchanged("nothing was changed")
                .next("stop it and run the same command again"),
        );
    }
    if !options.replace {
        return Err(
            Failure::new(Exit::Conflict, format!("{place} is not empty"))
                .unchanged("nothing was changed")
                .next("give --replace to move what is there aside, or another --dir"),
        );
    }
    if options.yes {
        return Ok(());
    }
    let name = plain(&manifest.name);
    let stdin = io::stdin();
    let mut answer = String::new();
    if stdin.is_terminal() {
        eprintln!("{place} is moved aside, and {name} is restored in its place.");
        eprintln!("Type the device's name to go on:");
        stdin
            .lock()
            .read_line(&mut answer)
            .map_err(|error| Failure::io("the answer", &error))?;
    }
    if answer.trim() == name && !name.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Exit::Conflict, "it was not confirmed")
        .unchanged("nothing was changed")
        .next("type the device's name when asked, or give --yes"))
}

/// A name beside the directory that is not taken.
fn sibling(dir: &Path, word: &str) -> PathBuf {
    let name = dir
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let with = |number: u32| dir.with_file_name(format!("{name}.{word}-{number}"));
    (1..)
        .map(with)
        .find(|path| !path.exists())
        .unwrap_or_else(|| with(0))
}

/// Unpacks the backup into a directory of its own and gives its store a new life.
fn make(file: &Path, fresh: &Path) -> Result<(), Failure> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(fresh)
        .map_err(|error| Failure::io(fresh.display(), &error))?;
    archive::unpack(file, fresh).map_err(|error| Failure::io(fresh.display(), &error))?;
    let config = load(fresh)?;
    let mut store = OfflineStore::open(&config).map_err(|error| failed(&error))?;
    store
        .begin_incarnation()
        .map_err(|error| Failure::new(Exit::Failed, error))
}

/// Puts the new directory in its place. Returns where what was there has gone.
fn move_in(dir: &Path, fresh: &Path, is_taken: bool) -> Result<Option<PathBuf>, Failure> {
    let failed = |error: io::Error| {
        Failure::io(dir.display(), &error)
            .next(format!("the restored device is in {}", fresh.display()))
    };
    let aside = is_taken.then(|| sibling(dir, "old"));
    match &aside {
        Some(aside) => fs::rename(dir, aside).map_err(failed)?,
        // An empty directory makes way.
        None if dir.exists() => fs::remove_dir(dir).map_err(failed)?,
        None => {}
    }
    fs::rename(fresh, dir).map_err(failed)?;
    Ok(aside)
}
