//! The data file: what is answered is in it, whatever happens.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Api, MARK, output, program, secret, wait_until};

/// A folder of its own, and a data file in it.
fn folder() -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secrets.json");
    (folder, file)
}

fn parse(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

/// The names in the file.
fn names_in(file: &Path) -> Vec<String> {
    let file = parse(file);
    let secrets = file["account"]["stores"][0]["secrets"].as_array().unwrap().clone();
    secrets.iter().map(|it| it["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

fn files_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Runs the program where it must not start, and answers what it says.
#[track_caller]
fn refusal(command: &mut Command) -> String {
    let output = output(command);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains(MARK), "{said}");
    said
}

#[test]
fn what_is_written_is_there_after_a_restart() {
    let (_folder, file) = folder();
    let mut api = Api::start(program().args(["--pending", "0", "--data"]).arg(&file));
    let store = api.store();
    let one = api.secret(&store, "one");
    let two = api.secret(&store, "two");
    let three = api.secret(&store, "three");
    api.patch(&one, &json!({ "comment": "new", "scopes": ["dex", "ai_gateway"] })).result();
    api.delete(&two).result();
    let before = [api.get("/stores"), api.get(&format!("{store}/secrets")), api.get(&three)];
    api.end();

    let api = Api::with_data(&file);
    let after = [api.get("/stores"), api.get(&format!("{store}/secrets")), api.get(&three)];
    assert_eq!(after, before);
    // The value too.
    let values = parse(&file)["account"]["stores"][0]["secrets"].clone();
    assert_eq!(values[1]["value"], format!("{MARK}-three"));
}

#[test]
fn a_file_that_is_open_to_others_is_closed_at_the_start() {
    let (_folder, file) = folder();
    Api::with_data(&file).end();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let _api = Api::with_data(&file);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn only_its_owner_can_read_the_file_at_any_time() {
    let (folder, file) = folder();
    // With a umask that takes nothing away.
    let mut command = Command::new("sh");
    let program = program();
    command.args(["-c", "umask 0; exec \"$@\"", "sh"]).arg(program.get_program());
    let api = Api::start(command.args(program.get_args()).arg("--data").arg(&file));
    let is_over = Arc::new(AtomicBool::new(false));
    let watcher = thread::spawn({
        let (is_over, folder) = (is_over.clone(), folder.path().to_owned());
        move || {
            let mut seen = Vec::new();
            while !is_over.load(Ordering::SeqCst) {
                for entry in fs::read_dir(&folder).unwrap().flatten() {
                    // It may be gone already.
                    if let Ok(metadata) = entry.metadata() {
                        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{entry:?}");
                        seen.push(entry.file_name().into_string().unwrap());
                    }
                }
            }
            seen
        }
    });
    let store = api.store();
    for number in 0..60 {
        api.secret(&store, &format!("s{number}"));
    }
    is_over.store(true, Ordering::SeqCst);
    assert!(watcher.join().unwrap().contains(&"secrets.json".to_owned()));
}

#[test]
fn many_writers_at_once_lose_nothing() {
    let (_folder, file) = folder();
    let mut api = Api::start(program().args(["--quota", "1000", "--data"]).arg(&file));
    let store = api.store();
    let mut expected: Vec<String> =
        (0..16).flat_map(|it| (0..12).map(move |number| format!("s{it}-{number}"))).collect();
    thread::scope(|scope| {
        for writer in 0..16 {
            let (api, store) = (&api, &store);
            scope.spawn(move || {
                for number in 0..12 {
                    api.secret(store, &format!("s{writer}-{number}"));
                }
            });
        }
    });
    expected.sort();
    let all = |api: &Api| {
        let page = |page| api.get(&format!("{store}/secrets?per_page=100&page={page}")).names();
        let mut names = [page(1), page(2)].concat();
        names.sort();
        names
    };
    assert_eq!(all(&api), expected);
    api.end();
    let mut in_file = names_in(&file);
    in_file.sort();
    assert_eq!(in_file, expected);
    assert_eq!(all(&Api::with_data(&file)), expected);
}

#[test]
fn of_many_with_one_name_a_single_one_is_created() {
    let api = Api::new();
    let store = api.store();
    let statuses = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                let answer = api.post(&format!("{store}/secrets"), &secret("one"));
                statuses.lock().unwrap().push(answer.status);
            });
        }
    });
    let mut statuses = statuses.into_inner().unwrap();
    statuses.sort_unstable();
    assert_eq!(statuses, [vec![200], vec![409; 11]].concat());
    assert_eq!(api.names(&store), ["one"]);
}

#[test]
fn a_kill_in_the_middle_of_a_write_loses_no_answered_one() {
    let (folder, file) = folder();
    let mut api = Api::start(program().args(["--quota", "10000", "--data"]).arg(&file));
    let store = api.store();
    let answered = Mutex::new(Vec::new());
    for round in 0..10 {
        let enough = answered.lock().unwrap().len() + 3 + round % 4;
        thread::scope(|scope| {
            for writer in 0..4 {
                // Also after the kill: they go on until nobody answers.
                let call = |path: &str| api.call("POST", path);
                let calls: Vec<_> = (0..100)
                    .map(|number| {
                        let name = format!("s{round}-{writer}-{number}");
                        let value = format!("{MARK}{}", "x".repeat(30_000));
                        let input = json!({ "name": name, "value": value, "scopes": ["dex"] });
                        (name, call(&format!("{store}/secrets")).json(&input))
                    })
                    .collect();
                let answered = &answered;
                scope.spawn(move || {
                    for (name, call) in calls {
                        match call.try_send() {
                            Ok(answer) => {
                                answer.result();
                                answered.lock().unwrap().push(name);
                            }
                            Err(_) => return,
                        }
                    }
                });
            }
            wait_until("enough is written", || answered.lock().unwrap().len() >= enough);
            api.signal(rustix::process::Signal::KILL);
        });
        api.end();
        let in_file = names_in(&file);
        for name in answered.lock().unwrap().iter() {
            assert!(in_file.contains(name), "{name} was answered in or before round {round}");
        }
        api = Api::start(program().args(["--quota", "10000", "--data"]).arg(&file));
        assert_eq!(files_in(folder.path()), [".secrets.json.lock", "secrets.json"]);
        assert_eq!(api.get("/quota").result()["secrets"]["usage"], in_file.len());
    }
}

#[test]
fn what_a_killed_process_left_behind_is_removed() {
    let (folder, file) = folder();
    Api::with_data(&file).store();
    fs::write(folder.path().join(".secrets.json.tmp"), "half of a fi").unwrap();
    let api = Api::with_data(&file);
    assert_eq!(files_in(folder.path()), [".secrets.json.lock", "secrets.json"]);
    assert_eq!(api.get("/stores").names(), ["default"]);
}

/// Every change, on a store with one secret, refused because it cannot be saved.
#[track_caller]
fn changes_are_refused(api: &Api, store: &str, one: &str) {
    let id = one.rsplit('/').next().unwrap();
    let calls = [
        api.call("POST", &format!("{store}/secrets")).json(&secret("two")),
        api.call("PATCH", one).json(&json!({ "value": MARK, "comment": "x" })),
        api.call("POST", &format!("{one}/duplicate")).json(&secret("two")),
        api.call("DELETE", one),
        api.call("DELETE", &format!("{store}/secrets")).json(&json!({ "secret_ids": [id] })),
        api.call("DELETE", &format!("{store}?force=true")),
    ];
    let message = "not_saved: nothing was changed; the reason is in the server's output";
    for call in calls {
        call.send().is_refused(500, 10500, message);
    }
}

#[test]
fn a_write_that_fails_changes_nothing() {
    let (folder, file) = folder();
    let mut api = Api::start(program().args(["--pending", "0", "--data"]).arg(&file));
    let store = api.store();
    let one = api.secret(&store, "one");
    let (before, content) = (api.get(&one), fs::read(&file).unwrap());
    // In the way of the new content, and not empty.
    let obstacle = folder.path().join(".secrets.json.tmp");
    fs::create_dir_all(obstacle.join("x")).unwrap();
    changes_are_refused(&api, &store, &one);
    assert_eq!((api.get(&one), api.names(&store)), (before, vec!["one".to_owned()]));
    assert_eq!(fs::read(&file).unwrap(), content);
    // When that is mended, it goes on.
    fs::remove_dir_all(obstacle).unwrap();
    api.secret(&store, "two");
    assert_eq!(names_in(&file), ["one", "two"]);
    let said = api.end();
    assert!(said.contains(file.to_str().unwrap()), "{said}");
}

#[test]
fn a_disk_that_is_full_changes_nothing() {
    let (folder, file) = folder();
    // It ends in the middle of a file as a full disk does: the limit is 16 blocks of 512 bytes.
    let mut command = Command::new("sh");
    let program = program();
    command.args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$@\"", "sh"]);
    command.arg(program.get_program()).args(program.get_args());
    let mut api = Api::start(command.args(["--pending", "0", "--data"]).arg(&file));
    let store = api.store();
    let one = api.secret(&store, "one");
    let (before, content) = (api.get(&one), fs::read(&file).unwrap());
    let mut large = secret("large");
    large["value"] = json!(format!("{MARK}{}", "x".repeat(60_000)));
    let message = "not_saved: nothing was changed; the reason is in the server's output";
    api.post(&format!("{store}/secrets"), &large).is_refused(500, 10500, message);
    assert_eq!((api.get(&one), api.names(&store)), (before, vec!["one".to_owned()]));
    assert_eq!(fs::read(&file).unwrap(), content);
    assert_eq!(files_in(folder.path()), [".secrets.json.lock", "secrets.json"]);
    // What fits is written still.
    api.secret(&store, "two");
    assert_eq!(names_in(&file), ["one", "two"]);
    assert!(api.end().contains("File too large"));
}

#[test]
fn a_folder_that_is_gone_changes_nothing() {
    let (folder, file) = folder();
    let api = Api::start(program().args(["--pending", "0", "--data"]).arg(&file));
    let store = api.store();
    let one = api.secret(&store, "one");
    let before = api.get(&one);
    folder.close().unwrap();
    changes_are_refused(&api, &store, &one);
    assert_eq!((api.get(&one), api.names(&store)), (before, vec!["one".to_owned()]));
}

#[test]
fn a_second_process_on_the_same_file_is_refused() {
    let (folder, file) = folder();
    let first = Api::with_data(&file);
    let store = first.store();
    let link = folder.path().join("link.json");
    symlink(&file, &link).unwrap();
    for path in [&file, &link, &folder.path().join(".").join("secrets.json")] {
        let said = refusal(program().arg("--data").arg(path));
        assert!(said.contains("another process uses"), "{said}");
        assert!(said.contains("secrets.json"), "{said}");
    }
    first.secret(&store, "one");
    drop(first);
    assert_eq!(Api::with_data(&file).names(&store), ["one"]);
}

#[test]
fn a_file_behind_a_link_stays_behind_it() {
    let (folder, file) = folder();
    Api::with_data(&file).store();
    let link = folder.path().join("link.json");
    symlink(&file, &link).unwrap();
    let api = Api::with_data(&link);
    let store = api.get("/stores").result()[0]["id"].as_str().unwrap().to_owned();
    api.secret(&format!("/stores/{store}"), "one");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(names_in(&file), ["one"]);
}

#[test]
fn a_damaged_or_foreign_file_is_refused_and_left_as_it_is() {
    let (_folder, file) = folder();
    let api = Api::with_data(&file);
    let store = api.store();
    api.secret(&store, "one");
    drop(api);
    let whole = fs::read_to_string(&file).unwrap();
    for content in [
        whole[..whole.len() - 5].to_owned(),
        whole.replace("\"workers\"", "\"worker\""),
        // A value where there should be none, which the message must not quote.
        whole.replace("\"active_from\":", "\"unknown\":"),
        whole.replace("\"comment\": null", &format!("\"comment\": [\"{MARK}\"]")),
        whole.replace("\"stores\": [", &format!("\"stores\": [\"{MARK}\", ")),
        whole.replace("local-api secrets 1", "local-api secrets 2"),
        whole.replace("\"account\"", "\"accounts\""),
        String::new(),
        "{}".to_owned(),
        "[]".to_owned(),
        "KEY=value".to_owned(),
        "\u{0}".repeat(300),
    ] {
        assert_ne!(content, whole);
        fs::write(&file, &content).unwrap();
        let said = refusal(program().arg("--data").arg(&file));
        assert!(said.contains(file.to_str().unwrap()) && said.contains("damaged"), "{said}");
        assert_eq!(fs::read_to_string(&file).unwrap(), content);
    }
    fs::write(&file, b"\xff\xfe").unwrap();
    assert!(refusal(program().arg("--data").arg(&file)).contains("damaged"));
    fs::write(&file, &whole).unwrap();
    assert_eq!(Api::with_data(&file).names(&store), ["one"]);
}

#[test]
fn a_data_file_that_cannot_be_is_refused() {
    let (folder, file) = folder();
    let said = refusal(program().arg("--data").arg(folder.path().join("no/secrets.json")));
    assert!(said.contains("needs a folder that is there"), "{said}");
    fs::create_dir(&file).unwrap();
    let said = refusal(program().arg("--data").arg(&file));
    assert!(said.contains("give --data another file"), "{said}");
    refusal(program().args(["--data", "/"]));
}

#[test]
fn a_file_without_a_folder_is_in_the_current_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program();
    let api = Api::start(command.args(["--data", "here.json"]).current_dir(&folder));
    api.store();
    assert_eq!(parse(&folder.path().join("here.json"))["account"]["stores"][0]["name"], "default");
}
