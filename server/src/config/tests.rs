use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(&format!("dataDir=/d\nclientPort=1\n{text}"), Path::new("zoo.cfg"), &[])
}

fn good(text: &str) -> Config {
    parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

#[test]
fn the_embedded_default_is_a_lone_server_on_this_machine() {
    let config = Config::embedded_default();
    assert_eq!(config.client, Some(HostPort { host: Some("127.0.0.1".to_owned()), port: 2181 }));
    assert_eq!(config.data_dir, Path::new("./data"));
    assert_eq!(config.warnings, []);
    assert!(!config.ensemble.is_distributed());
}

#[test]
fn defaults_are_those_of_java() {
    let config = good("");
    assert_eq!(config.tick, Duration::from_secs(3));
    assert_eq!(config.sessions.timeout_min, Duration::from_secs(6));
    assert_eq!(config.sessions.timeout_max, Duration::from_secs(60));
    assert_eq!(config.limits.connections_per_address_max, Some(60));
    assert_eq!(config.limits.connections_max, None);
    assert_eq!(config.limits.request_bytes_max, 1_048_575);
    assert_eq!(config.limits.outstanding_max, 1000);
    assert_eq!(config.storage.snapshot_txns, 100_000);
    assert_eq!(config.storage.preallocate_bytes, 65_536 * 1024);
    assert_eq!(config.storage.purge, Purge { retain: 3, interval: None });
    assert!(config.storage.force_sync);
    assert!(config.four_letter_words.allows("srvr") && !config.four_letter_words.allows("mntr"));
    assert_eq!(config.admin.address, HostPort { host: None, port: 8080 });
    assert_eq!(config.metrics, MetricsProvider::Default);
    assert_eq!(config.warnings, []);
}

#[test]
fn a_wrong_value_is_named_with_file_line_and_key() {
    let table = [
        ("tickTime=fast", "zoo.cfg:3: tickTime: \"fast\" is not a whole number"),
        ("tickTime=0", "zoo.cfg:3: tickTime: 0 is not within 1 and 2147483647"),
        ("\nclientPort=65536", "zoo.cfg:4: clientPort: 65536 is not within 0 and 65535"),
        ("syncEnabled=yes", "zoo.cfg:3: syncEnabled: \"yes\" is none of: true, false"),
        ("forceSync=never", "zoo.cfg:3: forceSync: \"never\" is none of: yes, no"),
        ("electionAlg=2", "zoo.cfg:3: electionAlg: \"2\" is none of: 3"),
        (
            "minSessionTimeout=9\nmaxSessionTimeout=8",
            "zoo.cfg:3: minSessionTimeout: is larger than maxSessionTimeout",
        ),
        (
            "secureClientPortAddress=::1",
            "zoo.cfg:3: secureClientPortAddress: is set but secureClientPort is not",
        ),
        (
            "snapshot.compression.method=zstd",
            "zoo.cfg:3: snapshot.compression.method: \"zstd\" is none of: gz, snappy",
        ),
        ("metricsProvider.className=Mine", "zoo.cfg:3: metricsProvider.className: Mine does not exist here"),
        ("server.x=h:1:2", "zoo.cfg:3: server.x: a server's id is a whole number"),
        ("server.1=h:1:1", "zoo.cfg:3: server.1: quorum port and election port are the same"),
        ("server.1=h:1:2:king", "zoo.cfg:3: server.1: \"king\" is neither participant nor observer"),
        ("server.1=h:1:2|g:1:2", "zoo.cfg:3: server.1: several addresses need multiAddress.enabled=true"),
        ("server.1=h:1:2:observer", "zoo.cfg:3: server.1: observers need an ensemble of participants"),
        (
            "server.1=h:1:2\nserver.2=h:3:4:observer",
            "zoo.cfg:3: server.1: observers need an ensemble of participants",
        ),
        (
            "dynamicConfigFile=d\nserver.1=h:1:2",
            "zoo.cfg:4: server.1: belongs into the file that dynamicConfigFile names",
        ),
        (
            "quorum.auth.serverRequireSasl=true",
            "zoo.cfg:3: quorum.auth.serverRequireSasl: needs quorum.auth.enableSasl=true",
        ),
        ("server.1=h:1:2\nserver.2=h:3:4", "zoo.cfg: initLimit: is not set, and an ensemble needs it"),
        ("enforce.auth.enabled=true", "zoo.cfg:3: enforce.auth.enabled: true needs enforce.auth.schemes"),
        (
            "sessionRequireClientSASLAuth=true",
            "zoo.cfg:3: sessionRequireClientSASLAuth: SASL is not supported yet: nobody would get in",
        ),
        (
            "enforce.auth.enabled=true\nenforce.auth.schemes=digest,kerberos",
            "zoo.cfg:4: enforce.auth.schemes: there is no scheme \"kerberos\" here",
        ),
        (
            "DigestAuthenticationProvider.enabled=false\nenforce.auth.enabled=true\nenforce.auth.schemes=digest",
            "zoo.cfg:5: enforce.auth.schemes: there is no scheme \"digest\" here",
        ),
        (
            "authProvider.1=com.example.Tokens",
            "zoo.cfg:3: authProvider.1: com.example.Tokens does not exist here, and ACLs of its scheme would let \
             nobody in; without this line the server starts all the same",
        ),
        ("a=\\u1", "zoo.cfg:3: \\u needs the four hex digits of a character"),
    ];
    for (text, expected) in table {
        assert_eq!(parse(text).expect_err(text).to_string(), expected, "{text:?}");
    }
}

#[test]
fn a_file_without_a_data_directory_does_not_start() {
    let error = Config::parse("clientPort=1", Path::new("zoo.cfg"), &[]).expect_err("no dataDir");
    assert_eq!(error.to_string(), "zoo.cfg: dataDir: is not set");
}

#[test]
fn properties_and_keys_are_the_same_and_the_command_line_has_the_last_word() {
    assert_eq!(good("zookeeper.snapCount=7").storage.snapshot_txns, 7);
    let overrides = [("zookeeper.snapCount".to_owned(), "9".to_owned())];
    let text = "dataDir=/d\nclientPort=1\nsnapCount=8";
    let config = Config::parse(text, Path::new("zoo.cfg"), &overrides).unwrap();
    assert_eq!(config.storage.snapshot_txns, 9);

    let wrong = [("snapCount".to_owned(), "x".to_owned())];
    let error = Config::parse(text, Path::new("zoo.cfg"), &wrong).expect_err("x is no number");
    assert_eq!(error.to_string(), "command line: snapCount: \"x\" is not a whole number");
}

#[test]
fn numbers_may_be_hexadecimal() {
    assert_eq!(good("jute.maxbuffer=0x9fffff").limits.request_bytes_max, 0x9f_ffff);
}

#[test]
fn unused_unknown_and_repeated_keys_are_warned_about_once_by_name() {
    let config = good("nio.numWorkerThreads=4\nfoo=bar\ntickTime=1\ntickTime=2");
    let said: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "line 3: nio.numWorkerThreads: is not used: threads follow the cores and batches size themselves here",
            "line 4: foo: is unknown and ignored",
            "line 6: tickTime: given twice; the last one counts",
        ]
    );
    assert_eq!(config.tick, Duration::from_millis(2));
}

#[test]
fn every_key_that_works_is_read() {
    let text: String = KEYS
        .iter()
        .filter(|key| key.effect == Effect::Works && !key.name.ends_with('*'))
        .map(|key| format!("{}=\n", key.name))
        .collect();
    let config =
        Config::parse(&format!("{text}\ndataDir=/d\nclientPort=1"), Path::new("zoo.cfg"), &[]).unwrap();
    let ignored: Vec<_> = config.warnings.iter().filter(|w| !w.what.starts_with("given twice")).collect();
    assert!(ignored.is_empty(), "{ignored:?}");
}

#[test]
fn members_are_read_in_every_form() {
    let peer = |host: &str, quorum_port, election_port| PeerAddress {
        host: host.to_owned(),
        quorum_port,
        election_port,
    };
    let table = [
        ("h:1:2", vec![peer("h", 1, 2)], Role::Participant, None),
        ("h:1:2:Observer", vec![peer("h", 1, 2)], Role::Observer, None),
        ("h:1:2;3", vec![peer("h", 1, 2)], Role::Participant, Some(HostPort { host: None, port: 3 })),
        (
            "[::1]:1:2:participant;[fe80::2]:3",
            vec![peer("::1", 1, 2)],
            Role::Participant,
            Some(HostPort { host: Some("fe80::2".to_owned()), port: 3 }),
        ),
        ("a:1:2|b:1:2", vec![peer("a", 1, 2), peer("b", 1, 2)], Role::Participant, None),
    ];
    for (text, addresses, role, client) in table {
        assert_eq!(membership::parse_member(text), Ok(Member { addresses, role, client }), "{text}");
    }
    for text in ["", "h", "h:1", "h:1:2:observer:x", "h:0:2", "h:1:2;", "h:1:2|g:1:2:observer", ":1:2"] {
        assert!(membership::parse_member(text).is_err(), "{text}");
    }
}

#[test]
fn one_voter_runs_alone_and_a_member_must_know_who_it_is() {
    assert!(!good("server.1=h:1:2").ensemble.is_distributed());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("zoo.cfg");
    let text = "clientPort=1\ninitLimit=5\nsyncLimit=2\nserver.1=h:1:2\nserver.2=h:3:4\n";
    std::fs::write(&file, format!("dataDir={}\n{text}", dir.path().display())).unwrap();
    let error = Config::load(&file, &[]).expect_err("no myid");
    assert!(
        error.to_string().ends_with("dataDir: holds no file myid, which says which server.N this server is")
    );
}

#[test]
fn the_membership_is_told_as_java_tells_it() {
    let text = "multiAddress.enabled=true\ninitLimit=5\nsyncLimit=2\n\
        server.3=b:3:4:observer\nserver.2=c:5:6\nserver.1=z:1:2|[::1]:1:2;2181";
    assert_eq!(
        good(text).ensemble.membership.to_text(),
        "server.1=[::1]:1:2|z:1:2:participant;0.0.0.0:2181\nserver.2=c:5:6:participant\nserver.3=b:3:4:observer\nversion=0"
    );
}

#[test]
fn the_whitelist_opens_words() {
    let words = good("4lw.commands.whitelist=ruok, mntr").four_letter_words;
    assert!(words.allows("ruok") && words.allows("mntr") && !words.allows("srvr"));
    assert_eq!(good("4lw.commands.whitelist=*").four_letter_words, Whitelist::All);
    assert!(good("readonlymode.enabled=true").four_letter_words.allows("isro"));
}

#[test]
fn a_server_line_of_ours_says_where_clients_connect() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().display();
    fs::write(dir.path().join("myid"), "4\n").unwrap();
    let file = dir.path().join("zoo.cfg");

    fs::write(&file, format!("dataDir={data}\nserver.4=h:1:2;localhost:77\n")).unwrap();
    let config = Config::load(&file, &[]).unwrap();
    assert_eq!(config.my_id, Some(ServerId(4)));
    assert_eq!(config.client, Some(HostPort { host: Some("localhost".to_owned()), port: 77 }));

    fs::write(&file, format!("dataDir={data}\nclientPort=78\nserver.4=h:1:2;localhost:77\n")).unwrap();
    assert!(Config::load(&file, &[]).unwrap_err().to_string().contains("server.4"));
}

#[test]
fn a_dynamic_file_holds_the_members_and_its_name_their_version() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("zoo.cfg");
    let dynamic = dir.path().join("zoo.cfg.dynamic.1f");
    fs::write(&dynamic, "server.4=h:1:2;77\n").unwrap();
    let text =
        format!("dataDir={}\nclientPort=77\ndynamicConfigFile={}", dir.path().display(), dynamic.display());
    fs::write(&file, text).unwrap();
    let config = Config::load(&file, &[]).unwrap();
    assert_eq!(config.ensemble.membership.version, 0x1f);
    assert_eq!(config.ensemble.membership.voters().collect::<Vec<_>>(), [ServerId(4)]);
}

#[test]
fn a_voter_whom_reconfigurations_left_alone_with_an_observer_starts_again() {
    let text =
        "dataDir=/d\nclientPort=1\nstandaloneEnabled=false\ninitLimit=5\nsyncLimit=2\ndynamicConfigFile=d";
    let mut config = Config::parse(text, Path::new("zoo.cfg"), &[]).unwrap();
    let members = "server.1=h:1:2:observer;9\nserver.3=h:3:4:participant;9";
    config.ensemble.read_dynamic(members, Path::new("zoo.cfg.dynamic.2")).unwrap();
    assert!(config.ensemble.is_distributed());

    let nobody = config.ensemble.read_dynamic("", Path::new("zoo.cfg.dynamic.3")).unwrap_err();
    let expected = "standaloneEnabled: false needs at least one server.N=.. that votes";
    assert!(nobody.to_string().ends_with(expected), "{nobody}");
}

#[test]
fn the_clients_port_may_stand_in_the_dynamic_file_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (file, dynamic) = (dir.path().join("zoo.cfg"), dir.path().join("zoo.cfg.dynamic.1f"));
    fs::write(dir.path().join("myid"), "4").unwrap();
    let text = format!("dataDir={}\ndynamicConfigFile={}", dir.path().display(), dynamic.display());
    fs::write(&file, text).unwrap();
    fs::write(&dynamic, "server.4=h:1:2;77\n").unwrap();
    let config = Config::load(&file, &[]).unwrap();
    assert_eq!(config.client, Some(HostPort { host: None, port: 77 }));

    fs::write(&dynamic, "server.4=h:1:2\n").unwrap();
    let error = Config::load(&file, &[]).unwrap_err();
    assert!(error.to_string().ends_with("zoo.cfg: clientPort: is not set"), "{error}");
}

const SAMPLE: &str = include_str!("../../../conf/zoo_sample.cfg");

/// The sample's `#key=value` lines.
fn shown() -> impl Iterator<Item = (&'static str, &'static str)> {
    SAMPLE
        .lines()
        .filter_map(|line| line.strip_prefix('#')?.split_once('='))
        .filter(|(key, _)| !key.contains(' '))
}

#[test]
fn the_samples_are_valid() {
    for text in [SAMPLE, include_str!("../../../conf/zoo.cfg")] {
        let config = Config::parse(text, Path::new("sample"), &[]).unwrap();
        assert_eq!(config.client, Some(HostPort { host: None, port: 2181 }));
        assert_eq!(config.warnings, []);
    }
}

#[test]
fn the_sample_explains_every_key_and_no_other() {
    let set = ["tickTime", "dataDir", "clientPort"];
    let named: Vec<&str> = shown().map(|(key, _)| key).chain(set).collect();
    let missing: Vec<&str> =
        KEYS.iter().filter(|key| !named.iter().any(|name| key.is(name))).map(|key| key.name).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let unknown: Vec<&&str> = named.iter().filter(|name| find(name).is_none()).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn the_sample_shows_defaults() {
    let plain = Config::parse(SAMPLE, Path::new("sample"), &[]).unwrap();
    for (key, value) in shown() {
        let text = format!("{SAMPLE}\n{key}={value}\n");
        let mut config = Config::parse(&text, Path::new("sample"), &[]).unwrap();
        config.text = plain.text.clone();
        config.warnings.clear();
        assert_eq!(config, plain, "{key}={value}");
    }
}
