//! One device of the demo: a daemon process and the way to its API.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value as Json, json};
use tokio::time::{Instant, sleep};

use crate::cli::client::{Client, Target};
use crate::cli::failure::{Exit, Failure};

/// How long anything in the demo may take to come true.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often the demo looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// One device: its folder, its daemon and the way to its API.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) name: &'static str,
    pub(super) dir: PathBuf,
    hub: bool,
    child: Option<Child>,
    client: Client,
}

impl Machine {
    /// A device in `dir`, initialised and not started.
    pub(super) fn new(name: &'static str, dir: PathBuf, hub: bool) -> Result<Self, Failure> {
        let client = Client::new(Target {
            dir: dir.clone(),
            api: None,
            token: None,
            space: None,
            person: Some(name.to_owned()),
        })?;
        Ok(Self {
            name,
            dir,
            hub,
            child: None,
            client,
        })
    }

    /// Starts the daemon, which listens on ports that the system chooses.
    pub(super) fn start(&mut self, peers: &[String]) -> Result<(), Failure> {
        let log = File::options().create(true).append(true).open(self.log());
        let log = log.map_err(|error| Failure::io(self.log().display(), &error))?;
        let mut command = program()?;
        command.args([
            "run",
            "--no-mdns",
            "--listen",
            "/ip4/127.0.0.1/tcp/0",
            "--api",
            "127.0.0.1:0",
        ]);
        if self.hub {
            command.arg("--hub");
        }
        for peer in peers {
            command.args(["--peer", peer]);
        }
        command
            .arg("--dir")
            .arg(&self.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        // A group of its own: an interrupt at the keyboard after `--keep` leaves the daemon alone.
        command.process_group(0);
        let child = command
            .spawn()
            .map_err(|error| Failure::io("starting a daemon", &error))?;
        self.child = Some(child);
        Ok(())
    }

    pub(super) fn is_running(&self) -> bool {
        self.child.is_some()
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Ends the daemon as a power cut would, as far as the process is concerned: SIGKILL.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; then there is nothing left to kill.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("demo.log")
    }

    pub(super) async fn status(&self) -> Result<Json, Failure> {
        self.client.read(&["status"])?.fetch().await
    }

    /// The addresses that peers can dial.
    pub(super) async fn listening(&self) -> Result<Vec<String>, Failure> {
        let status = self.status().await?;
        let listening = status["network"]["listening"]
            .as_array()
            .into_iter()
            .flatten();
        Ok(listening
            .filter_map(|address| address.as_str().map(str::to_owned))
            .collect())
    }

    pub(super) async fn set_online(&self, online: bool) -> Result<(), Failure> {
        self.client
            .write(Method::PUT, &["network"])?
            .body(&json!({ "online": online }))?
            .done()
            .await
    }

    pub(super) async fn get(&self, collection: &str, id: &str, why: bool) -> Result<Json, Failure> {
        let call = self
            .client
            .read(&["collections", collection, "records", id])?;
        if why {
            call.query("why", true).fetch().await
        } else {
            call.fetch().await
        }
    }

    pub(super) async fn patch(
        &self,
        collection: &str,
        id: &str,
        fields: Json,
    ) -> Result<Json, Failure> {
        let call = self
            .client
            .write(Method::PATCH, &["collections", collection, "records", id])?;
        call.query("upsert", true).body(&fields)?.fetch().await
    }

    pub(super) async fn delete(
        &self,
        collection: &str,
        id: &str,
        reason: &str,
    ) -> Result<(), Failure> {
        let call = self
            .client
            .write(Method::DELETE, &["collections", collection, "records", id])?;
        call.query("reason", reason).done().await
    }

    pub(super) async fn batch(&self, edits: Vec<Json>) -> Result<(), Failure> {
        self.client
            .write(Method::POST, &["batch"])?
            .body(&json!({ "edits": edits }))?
            .done()
            .await
    }

    pub(super) async fn reviews(&self) -> Result<Vec<Json>, Failure> {
        let reply: Json = self.client.read(&["reviews"])?.fetch().await?;
        Ok(reply["items"].as_array().cloned().unwrap_or_default())
    }

    pub(super) async fn resolve(&self, review: &str, answer: Json) -> Result<(), Failure> {
        self.client
            .write(Method::POST, &["reviews", review, "resolve"])?
            .body(&answer)?
            .done()
            .await
    }

    /// How many live records of a collection the device holds.
    pub(super) async fn count(&self, collection: &str) -> Result<u64, Failure> {
        let status = self.status().await?;
        let counts = status["store"]["collections"]
            .as_array()
            .into_iter()
            .flatten();
        let of_collection = counts.filter(|count| count["collection"] == collection);
        Ok(of_collection
            .filter_map(|count| count["live"].as_u64())
            .sum())
    }

    /// Waits until `look` says yes.
    pub(super) async fn wait_until<F, Fut>(&self, what: &str, mut look: F) -> Result<(), Failure>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<bool, Failure>>,
    {
        let give_up = Instant::now() + PATIENCE;
        loop {
            match look().await {
                Ok(true) => return Ok(()),
                // A daemon that is still starting does not answer yet.
                Ok(false)
                | Err(Failure {
                    exit: Exit::Unreachable,
                    ..
                }) => {}
                Err(failure) => return Err(failure),
            }
            if Instant::now() > give_up {
                let message = format!("{}: waited {PATIENCE:?} in vain until {what}", self.name);
                return Err(Failure::new(Exit::Failed, message));
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    pub(super) async fn wait_for_count(&self, collection: &str, count: u64) -> Result<(), Failure> {
        let what = format!("it has {count} records in {collection}");
        self.wait_until(&what, || async {
            Ok(self.count(collection).await? == count)
        })
        .await
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Machine {
    /// Lets the daemon outlive the demo.
    pub(super) fn release(&mut self) {
        self.child = None;
    }
}

/// Makes a device's directory, in `joined` (organisation and secret) or in a new organisation. Returns what
/// `init --json` said.
pub(super) fn init(
    dir: &Path,
    name: &str,
    joined: Option<&(String, String)>,
) -> Result<Json, Failure> {
    let mut command = program()?;
    command
        .args(["--json", "init", "--name", name])
        .arg("--dir")
        .arg(dir);
    if let Some((organisation, secret)) = joined {
        command.args(["--organisation", organisation, "--join", secret]);
    }
    run(command, "init")
}

/// Runs another command of this program against a device and returns what it said as JSON.
pub(super) fn import(dir: &Path, collection: &str, file: &Path, id: &str) -> Result<Json, Failure> {
    let mut command = program()?;
    command
        .args(["--json", "import", collection])
        .arg(file)
        .args(["--id", id])
        .arg("--dir")
        .arg(dir);
    run(command, "import")
}

fn run(mut command: Command, what: &str) -> Result<Json, Failure> {
    let output = command
        .output()
        .map_err(|error| Failure::io(what, &error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Failure::new(
            Exit::Failed,
            format!("fieldmesh {what} failed: {said}"),
        ));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().next_back().unwrap_or_default();
    serde_json::from_str(last)
        .map_err(|error| Failure::new(Exit::Failed, format!("{what}: {error}")))
}

/// This program, without the settings that the environment has for the user's own daemon.
fn program() -> Result<Command, Failure> {
    let path = std::env::current_exe().map_err(|error| Failure::io("this program", &error))?;
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FIELDMESH_") {
            command.env_remove(name);
        }
    }
    Ok(command)
}

/// Makes the folder that the devices live in, under a name that says whose it is.
pub(super) fn make_root() -> Result<PathBuf, Failure> {
    let mut random = [0; 4];
    getrandom::fill(&mut random).map_err(|error| Failure::new(Exit::Failed, error))?;
    // Unix socket paths are short by law: stay near the root of the temporary folder.
    let root = std::env::temp_dir().join(format!("fieldmesh-demo-{}", hex::encode(random)));
    fs::create_dir(&root).map_err(|error| Failure::io(root.display(), &error))?;
    Ok(root)
}
