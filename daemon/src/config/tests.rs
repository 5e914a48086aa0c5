use super::*;

const GOOD: &str = "name = \"tablet-3\"\norganisation = \"00112233445566778899aabbccddeeff\"\n";

fn dir_with(config: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(CONFIG_FILE), config).unwrap();
    std::fs::write(dir.path().join(SECRET_FILE), "ab".repeat(32) + "\n").unwrap();
    std::fs::write(dir.path().join(TOKEN_FILE), "token\n").unwrap();
    std::fs::write(dir.path().join(SCHEMA_FILE), crdt_schema::schema::CLINIC).unwrap();
    dir
}

fn load(config: &str, flags: Flags, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let dir = dir_with(config);
    let find = |name: &str| {
        env.iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
    };
    Config::load(dir.path(), flags, find)
}

fn problem(config: &str) -> String {
    load(config, Flags::default(), &[]).unwrap_err().to_string()
}

#[test]
fn a_short_file_gives_a_complete_configuration() {
    let config = load(GOOD, Flags::default(), &[]).unwrap();

    assert_eq!(config.name, "tablet-3");
    assert_eq!(config.listen, [LISTEN_DEFAULT.parse().unwrap()]);
    assert_eq!(config.api_tcp, Some(API_TCP_DEFAULT.parse().unwrap()));
    assert_eq!(config.join_secret, [0xab; 32]);
    assert!(config.mdns && !config.hub && !config.metered && config.peers.is_empty());
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file() {
    let file = format!("{GOOD}hub = false\napi_tcp = \"127.0.0.1:1\"\n");
    let env = [
        ("FIELDMESH_HUB", "true"),
        ("FIELDMESH_API_TCP", "127.0.0.1:2"),
    ];
    let flags = Flags {
        api: Some("none".to_owned()),
        ..Flags::default()
    };

    assert_eq!(
        load(&file, Flags::default(), &[])
            .unwrap()
            .api_tcp
            .unwrap()
            .port(),
        1
    );
    assert_eq!(
        load(&file, Flags::default(), &env)
            .unwrap()
            .api_tcp
            .unwrap()
            .port(),
        2
    );
    let config = load(&file, flags, &env).unwrap();
    assert_eq!(config.api_tcp, None);
    assert!(config.hub);
}

#[test]
fn peers_of_the_flags_come_on_top_and_listen_replaces() {
    let file =
        format!("{GOOD}peers = [\"/ip4/10.0.0.1/tcp/1\"]\nlisten = [\"/ip4/10.0.0.2/tcp/2\"]\n");
    let flags = Flags {
        peers: vec!["/ip4/10.0.0.3/tcp/3".to_owned()],
        listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
        ..Flags::default()
    };

    let config = load(&file, flags, &[]).unwrap();

    assert_eq!(config.peers.len(), 2);
    assert_eq!(config.listen, ["/ip4/127.0.0.1/tcp/0".parse().unwrap()]);
}

#[test]
fn an_unknown_setting_is_shown_with_its_line_and_a_caret() {
    let text = problem(&format!("{GOOD}hubb = true\n"));

    assert!(text.starts_with("unknown field `hubb`"), "{text}");
    assert!(text.contains("config.toml:3:1"), "{text}");
    assert!(text.contains("3 | hubb = true"), "{text}");
    assert!(text.ends_with("| ^^^^"), "{text}");
}

#[test]
fn a_bad_value_is_shown_with_its_line_and_a_caret() {
    let text = problem(&format!(
        "{GOOD}peers = [\"/ip4/10.0.0.1/tcp/1\", \"10.0.0.2:7172\"]\n"
    ));

    assert!(text.contains("config.toml:3:33"), "{text}");
    assert!(text.contains("looks like /ip4/"), "{text}");
    assert!(
        text.ends_with(&format!("| {}{}", " ".repeat(32), "^".repeat(15))),
        "{text}"
    );
}

#[test]
fn broken_toml_is_shown_where_it_breaks() {
    let text = problem("name = \"tablet\norganisation = 1\n");

    assert!(text.contains("config.toml:1:"), "{text}");
    assert!(text.contains("1 | name = \"tablet"), "{text}");
}

#[test]
fn a_span_at_the_end_of_the_file_or_inside_a_character_does_not_panic() {
    let file = File {
        path: Path::new("c"),
        text: "é = \"ü",
    };

    for start in 0..12 {
        for end in 0..12 {
            assert!(file.error(start..end, "bad").to_string().contains("c:1:"));
        }
    }
}

#[test]
fn the_api_stays_on_loopback() {
    let text = problem(&format!("{GOOD}api_tcp = \"0.0.0.0:7171\"\n"));

    assert!(text.contains("not a loopback address"), "{text}");
}

#[test]
fn a_bad_variable_is_named() {
    let error = load(GOOD, Flags::default(), &[("FIELDMESH_HUB", "maybe")]).unwrap_err();

    assert_eq!(
        error.to_string(),
        "FIELDMESH_HUB: \"maybe\" is neither true nor false"
    );
}

#[test]
fn a_directory_without_a_configuration_says_what_to_run() {
    let dir = tempfile::tempdir().unwrap();

    let error = Config::load(dir.path(), Flags::default(), |_| None).unwrap_err();

    assert!(error.to_string().contains("fieldmesh init"), "{error}");
}

#[test]
fn a_bad_secret_is_refused_without_being_shown() {
    let dir = dir_with(GOOD);
    std::fs::write(dir.path().join(SECRET_FILE), "hunter2").unwrap();

    let error = Config::load(dir.path(), Flags::default(), |_| None)
        .unwrap_err()
        .to_string();

    assert!(
        error.contains("64 hexadecimal digits") && !error.contains("hunter2"),
        "{error}"
    );
}

#[test]
fn secrets_are_not_in_the_debug_text() {
    let config = load(GOOD, Flags::default(), &[]).unwrap();

    let text = format!("{config:?}");

    assert!(
        !text.contains("171, 171") && !text.contains("token"),
        "{text}"
    );
}
