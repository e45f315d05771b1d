//! The program itself: how it starts, and how it ends.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::Output,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::client::{ACCOUNT, Api, TOKEN, bare, output};

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn its_help_says_what_it_is_and_how_to_call_it() {
    let output = output(bare().env("LOCAL_API_TOKEN", "env-token").arg("--help"));
    let help = text(&output);
    assert!(output.status.success(), "{help}");
    for part in
        ["Secrets Store REST API", "curl http", "--listen", "--data", "--mirror", "LOCAL_API_TOKEN"]
    {
        assert!(help.contains(part), "no {part}: {help}");
    }
    assert!(!help.contains("env-token"), "{help}");
}

#[test]
fn without_a_token_or_an_account_it_does_not_start() {
    for (given, missing) in [(["--account", ACCOUNT], "--token"), (["--token", TOKEN], "--account")]
    {
        let output = output(bare().args(given));
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output).contains(missing), "{output:?}");
    }
    // An empty token would let in everybody.
    for empty in [
        output(bare().args(["--token", "", "--account", ACCOUNT])),
        output(bare().args(["--account", ACCOUNT]).env("LOCAL_API_TOKEN", "")),
    ] {
        assert_eq!(empty.status.code(), Some(2), "{empty:?}");
    }
}

#[test]
fn token_and_account_may_be_variables() {
    let mut command = bare();
    command.args(["--listen", "127.0.0.1:0"]);
    command.env("LOCAL_API_TOKEN", TOKEN).env("LOCAL_API_ACCOUNT", ACCOUNT);
    Api::start(&mut command).store();
}

#[test]
fn a_taken_address_is_refused_with_what_to_do() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output =
        output(bare().args(["--token", TOKEN, "--account", ACCOUNT, "--listen", &address]));
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output);
    assert!(said.contains(&address) && said.contains("--listen"), "{said}");
}

#[test]
fn a_signal_ends_it_with_code_0_and_frees_the_port() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut api = Api::new();
        let mut idle = TcpStream::connect(api.address()).unwrap();
        write!(idle, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        assert!(idle.read(&mut [0; 1000]).unwrap() > 0);
        let started = Instant::now();
        api.signal(signal);
        let (status, said) = api.wait();
        assert_eq!((status.code(), said.as_str()), (Some(0), ""));
        // A connection that is kept open for nothing does not hold it up.
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        TcpListener::bind(api.address()).unwrap();
    }
}

#[test]
fn a_client_that_never_finishes_its_request_does_not_keep_it_alive() {
    let mut api = Api::new();
    let mut slow = TcpStream::connect(api.address()).unwrap();
    write!(slow, "GET /client/v4 HTTP/1.1\r\nhost:").unwrap();
    // So that it has the half of a request before the end begins.
    api.get("/quota").result();
    api.signal(Signal::TERM);
    assert_eq!(api.wait().0.code(), Some(0));
}

#[test]
fn what_is_no_http_does_it_no_harm() {
    let api = Api::new();
    for rubbish in [b"\0\xff\xfe rubbish\r\n\r\n" as &[u8], b"GET /\r\n\r\n", b""] {
        let mut stream = TcpStream::connect(api.address()).unwrap();
        stream.write_all(rubbish).unwrap();
    }
    api.get("/quota").result();
}

/// In-process, as `cargo xtask dev` has it.
mod started {
    use std::{net::TcpListener, path::PathBuf, time::Duration};

    use local_api::{Options, Seed};
    use serde_json::json;

    use crate::client::{ACCOUNT, Answer, Api, MARK, TOKEN};

    fn options(data: Option<PathBuf>, seed: Vec<Seed>) -> Options {
        Options {
            token: TOKEN.into(),
            account: ACCOUNT.to_owned(),
            data,
            pending: Duration::from_secs(60),
            quota: 3,
            mirror: None,
            seed,
        }
    }

    fn seed(store: &str, names: &[&str]) -> Seed {
        Seed {
            store_id: store.to_owned(),
            store_name: format!("name of {store}"),
            secrets: names.iter().map(|it| ((*it).to_owned(), MARK.into())).collect(),
        }
    }

    fn start(options: Options) -> impl Fn(&str, &str) -> Answer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = local_api::start(listener, options).unwrap();
        // Only for its client.
        let api = Api::new();
        move |method, path| {
            let base = format!("http://{address}/client/v4/accounts/{ACCOUNT}/secrets_store");
            api.call(method, "").at(&base, path).send()
        }
    }

    #[test]
    fn a_seed_is_there_at_once_whatever_the_limits() {
        let call = start(options(None, vec![seed("s1", &["a", "b"]), seed("s2", &["a", "c"])]));
        assert_eq!(call("GET", "/stores").names(), ["name of s1", "name of s2"]);
        let secrets = call("GET", "/stores/s2/secrets");
        assert_eq!(secrets.names(), ["a", "c"]);
        let first = &secrets.result()[0];
        assert_eq!((&first["status"], &first["scopes"]), (&json!("active"), &json!(["workers"])));
        assert_eq!(call("GET", "/quota").result()["secrets"]["usage"], 4);
    }

    #[test]
    fn a_seed_leaves_alone_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secrets.json");
        let first = options(Some(file.clone()), vec![seed("s1", &["a"])]);
        drop(local_api::Server::open(first).unwrap());
        let text = || std::fs::read_to_string(&file).unwrap();
        let before = text();
        assert!(before.contains(MARK));

        let mut again = seed("s1", &["a", "b"]);
        again.store_name = "another".to_owned();
        again.secrets[0].1 = format!("another {MARK}").into();
        let call = start(options(Some(file.clone()), vec![again]));
        assert_eq!(call("GET", "/stores").names(), ["name of s1"]);
        assert_eq!(call("GET", "/stores/s1/secrets").names(), ["a", "b"]);
        assert!(!text().contains("another"), "{}", text());
    }
}
