//! `fieldmesh init`: makes a device's directory.
//!
//! `config.toml` is written last, so a directory that has one is complete, and an `init` that was
//! interrupted can be run again.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crdt_schema::ident::OrganisationId;
use crdt_schema::schema::{self, Schema};
use serde_json::json;

use super::failure::{Exit, Failure};
use super::output::Output;
use super::{said, schema_file};
use crate::config;

#[derive(clap::Args, Debug)]
pub(crate) struct InitArgs {
    /// The device's name, for people [default: the host's name]
    #[arg(long)]
    name: Option<String>,
    /// A schema file [default: the clinic schema that comes with fieldmesh]
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// The organisation to join
    #[arg(long, value_name = "ID", requires = "join", conflicts_with = "new")]
    organisation: Option<OrganisationId>,
    /// The organisation's join secret, or `-` to read it from standard input
    #[arg(long, value_name = "SECRET", requires = "organisation")]
    join: Option<String>,
    /// The device's role among those of the schema
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// Found a new organisation (the default)
    #[arg(long)]
    new: bool,
}

/// Longest join secret read from standard input, in bytes.
const SECRET_BYTES_MAX: u64 = 1024;

pub(crate) fn init(dir: &Path, args: &InitArgs, output: Output) -> Result<Exit, Failure> {
    make(dir, args)?.report(dir, output)?;
    Ok(Exit::Done)
}

/// Makes the directory, and tells what is in it.
fn make(dir: &Path, args: &InitArgs) -> Result<Plan, Failure> {
    let untouched = format!("{} was not changed", dir.display());
    if dir.join(config::CONFIG_FILE).exists() {
        return Err(Failure::new(
            Exit::Conflict,
            format!("{} is already initialised", dir.display()),
        )
        .unchanged(untouched)
        .next(format!(
            "start it with `fieldmesh run --dir {dir}`, or name another directory with --dir",
            dir = dir.display()
        )));
    }
    let plan = Plan::new(args).map_err(|failure| failure.unchanged(untouched))?;
    plan.write(dir).map_err(|(path, error)| {
        Failure::io(path.display(), &error)
            .unchanged("the directory is not initialised; what is in it will be used")
            .next("correct this and run the same command again")
    })?;
    Ok(plan)
}

/// A role that the schema knows, if one is given.
fn read_role(role: Option<&str>, schema: &Schema) -> Result<Option<String>, Failure> {
    let Some(role) = role else {
        return Ok(None);
    };
    if schema.roles.contains_key(role) {
        return config::role(role).map(Some).map_err(Failure::usage);
    }
    let known: Vec<&str> = schema.roles.keys().map(String::as_str).collect();
    let known = match known.as_slice() {
        [] => "the schema declares no roles".to_owned(),
        names => format!("the roles are {}", names.join(", ")),
    };
    Err(Failure::usage(format!("the schema has no role {role:?}")).next(known))
}

/// What will be written, complete before anything is.
struct Plan {
    name: String,
    organisation: OrganisationId,
    founded: bool,
    secret: [u8; 32],
    token: [u8; 32],
    key: [u8; 32],
    schema: Schema,
    role: Option<String>,
}

impl Plan {
    fn new(args: &InitArgs) -> Result<Self, Failure> {
        let name = args.name.clone().unwrap_or_else(host_name);
        let name = config::name(&name).map_err(|e| Failure::usage(e).next("give --name"))?;
        let schema = match &args.schema {
            Some(path) => schema_file::read(path)?,
            None => schema_file::parse("the bundled schema", schema::CLINIC)?,
        };
        let role = read_role(args.role.as_deref(), &schema)?;
        let (organisation, secret) = match (&args.organisation, &args.join) {
            (Some(organisation), Some(join)) => (*organisation, join_secret(join)?),
            _ => (OrganisationId(random()?), random()?),
        };
        let founded = args.organisation.is_none();
        Ok(Self {
            name,
            organisation,
            founded,
            secret,
            token: random()?,
            key: random()?,
            schema,
            role,
        })
    }

    fn write(&self, dir: &Path) -> Result<(), (PathBuf, io::Error)> {
        let at = |path: PathBuf| move |error| (path, error);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(at(dir.into()))?;
        // A directory that was there before may be readable by others.
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(at(dir.into()))?;

        let key = dir.join(config::KEY_FILE);
        if !key.exists() {
            write(&key, &line(&self.key)).map_err(at(key))?;
        }
        let files = [
            (config::SECRET_FILE, line(&self.secret)),
            (config::TOKEN_FILE, line(&self.token)),
            (config::SCHEMA_FILE, self.schema.source.clone()),
            (config::CONFIG_FILE, self.config()),
        ];
        for (name, text) in files {
            let path = dir.join(name);
            write(&path, &text).map_err(at(path))?;
        }
        fs::File::open(dir)
            .and_then(|dir| dir.sync_all())
            .map_err(at(dir.into()))
    }

    fn config(&self) -> String {
        format!(
            "# fieldmesh. A flag beats a FIELDMESH_... variable, which beats this file.\n\
             name = {name}\n\
             organisation = \"{organisation}\"\n\n\
             # Where peers reach this device.\n\
             listen = [\"{listen}\"]\n\
             # Peers to dial for as long as the daemon runs, such as a hub.\n\
             peers = []\n\
             # Look for peers on the local network.\n\
             mdns = true\n\
             # A hub is always on and counts as the durable copy.\n\
             hub = false\n\
             # Use newer versions of the schema as soon as they are published.\n\
             schema_follow = true\n\n\
             # The HTTP API for apps on this device, or \"none\". The Unix socket is always there.\n\
             api_tcp = \"{api}\"\n{role}",
            name = toml::Value::String(self.name.clone()),
            organisation = self.organisation,
            listen = config::LISTEN_DEFAULT,
            api = config::API_TCP_DEFAULT,
            role = self.role.as_ref().map_or_else(String::new, |role| format!(
                "\n# The device's role among those of the schema.\nrole = \"{role}\"\n"
            )),
        )
    }

    fn report(&self, dir: &Path, output: Output) -> Result<(), Failure> {
        let secret = hex::encode(self.secret);
        if output.json {
            return output.json(&json!({
                "schema": "fieldmesh.init/1",
                "dir": dir.display().to_string(),
                "name": self.name,
                "organisation": self.organisation,
                "join": secret,
                "data_schema": { "name": self.schema.name, "version": self.schema.version },
            }));
        }
        output.talk(&format!(
            "{} is device {:?} with schema {} version {}",
            dir.display(),
            self.name,
            self.schema.name,
            self.schema.version
        ));
        output.talk(if self.founded {
            "founded the organisation"
        } else {
            "joined the organisation"
        });
        output.line(&self.organisation.to_string())?;
        output.talk(
            "on the next device run (whoever has the join secret can read and write everything):",
        );
        output.line(&format!(
            "fieldmesh init --organisation {} --join {secret}",
            self.organisation
        ))?;
        output.talk(&format!(
            "start this one with: fieldmesh run --dir {}",
            dir.display()
        ));
        Ok(())
    }
}

fn join_secret(text: &str) -> Result<[u8; 32], Failure> {
    let text = said(text, SECRET_BYTES_MAX)?;
    config::secret(&text).map_err(|problem| Failure::usage(format!("--join: {problem}")))
}

fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::new(Exit::Failed, format!("no randomness: {error}")))?;
    Ok(bytes)
}

fn line(bytes: &[u8]) -> String {
    hex::encode(bytes) + "\n"
}

/// Writes a file that only its owner may read, and makes it durable.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "device".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Flags};

    fn args(name: &str) -> InitArgs {
        let name = Some(name.to_owned());
        InitArgs {
            name,
            schema: None,
            organisation: None,
            join: None,
            role: None,
            new: true,
        }
    }

    #[test]
    fn what_init_writes_is_a_valid_configuration_that_only_the_owner_reads() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("device");

        make(&dir, &args("Mary's \"tablet\" \\ 3")).unwrap();

        let config = Config::load(&dir, Flags::default(), |_| None).unwrap();
        assert_eq!(config.name, "Mary's \"tablet\" \\ 3");
        assert_eq!(config.schema.name, "clinic");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        for name in [config::KEY_FILE, config::SECRET_FILE, config::TOKEN_FILE] {
            assert_eq!(mode(&dir.join(name)), 0o600, "{name}");
        }
    }

    #[test]
    fn an_initialised_directory_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), &args("one")).unwrap();
        let before = fs::read(dir.path().join(config::SECRET_FILE)).unwrap();

        let failure = make(dir.path(), &args("two")).err().unwrap();

        assert_eq!(failure.exit, Exit::Conflict);
        assert!(
            failure.to_string().contains("already initialised"),
            "{failure}"
        );
        assert_eq!(
            fs::read(dir.path().join(config::SECRET_FILE)).unwrap(),
            before
        );
    }

    #[test]
    fn an_interrupted_init_keeps_the_device_key_when_run_again() {
        let dir = tempfile::tempdir().unwrap();
        let plan = Plan::new(&args("one")).unwrap();
        plan.write(dir.path()).unwrap();
        fs::remove_file(dir.path().join(config::CONFIG_FILE)).unwrap();

        make(dir.path(), &args("one")).unwrap();

        assert_eq!(
            fs::read_to_string(dir.path().join(config::KEY_FILE)).unwrap(),
            line(&plan.key)
        );
    }

    #[test]
    fn a_joining_device_gets_the_organisation_and_its_secret() {
        let dir = tempfile::tempdir().unwrap();
        let mut args = args("two");
        args.organisation = Some(OrganisationId([7; 16]));
        args.join = Some("0f".repeat(32));

        make(dir.path(), &args).unwrap();

        let config = Config::load(dir.path(), Flags::default(), |_| None).unwrap();
        assert_eq!(
            (config.organisation, config.join_secret),
            (OrganisationId([7; 16]), [0x0f; 32])
        );
    }

    #[test]
    fn a_bad_join_secret_changes_nothing() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("device");
        let mut args = args("two");
        args.organisation = Some(OrganisationId([7; 16]));
        args.join = Some("short".to_owned());

        let failure = make(&dir, &args).err().unwrap();

        assert_eq!(failure.exit, Exit::Usage);
        assert!(!dir.exists());
    }
}
