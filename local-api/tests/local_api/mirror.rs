//! wrangler's local store follows. Here wrangler is a script that notes what it gets; the real one
//! is called by the project's end-to-end tests.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use local_store::LocalStore;
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::client::{Api, MARK, output, program, secret, wait_until};

/// Keeps each secret in a file of its name below the folder that it gets, and notes its calls.
/// While `hold` is there, it waits; when the name is in `broken`, it fails.
const WRANGLER: &str = r#"#!/bin/sh
project=$(dirname "$0")/../..
mkdir "$project/turn" 2>/dev/null || echo overlap >> "$project/overlaps"
printf '%s' "$*" | tr '\n' ' ' >> "$project/calls"; echo >> "$project/calls"
input=$(cat; echo x); input=${input%x}
[ "$1 $2" = "secrets-store secret" ] || exit 9
operation=$3 store=$4 state= name= value=$input id=
for argument; do
  case $argument in
    --name=*) name=${argument#--name=} ;;
    --value=*) value=${argument#--value=} ;;
    --secret-id=*) id=${argument#--secret-id=} ;;
  esac
  [ "$previous" = --persist-to ] && state=$argument
  previous=$argument
done
mkdir -p "$state/$store"
while [ -e "$project/hold" ]; do sleep 0.01; done
rmdir "$project/turn"
if grep -qx "$name" "$project/broken" 2>/dev/null; then
  echo "no luck with $value" >&2; exit 1
fi
case $operation in
  create) printf %s "$value" > "$state/$store/$name" ;;
  list)
    [ -n "$(ls "$state/$store")" ] || { echo "[ERROR] List request returned no secrets." >&2; exit 1; }
    echo "┌──────┬────┐"; echo "│ Name │ ID │ Comment │"; echo "├──────┼────┤"
    for file in "$state/$store"/*; do
      echo "│ $(basename "$file") │ $(basename "$file" | od -An -tx1 | tr -d ' \n') │  │"
    done ;;
  delete)
    for file in "$state/$store"/*; do
      [ "$(basename "$file" | od -An -tx1 | tr -d ' \n')" = "$id" ] && rm "$file" && exit 0
    done
    echo "Secret not found" >&2; exit 1 ;;
esac
"#;

/// A project with that wrangler.
struct Project(TempDir);

impl Project {
    fn new() -> Self {
        let project = Self(tempfile::tempdir().unwrap());
        let bin = project.path().join("node_modules/.bin");
        fs::create_dir_all(&bin).unwrap();
        fs::write(bin.join("wrangler"), WRANGLER).unwrap();
        fs::set_permissions(bin.join("wrangler"), fs::Permissions::from_mode(0o755)).unwrap();
        // Started below the project, not in it.
        fs::create_dir(project.path().join("below")).unwrap();
        project
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self) -> Command {
        let mut command = program();
        command.args(["--mirror", "../state", "--data", "secrets.json", "--pending", "0"]);
        command.current_dir(self.path().join("below"));
        command
    }

    fn start(&self) -> Api {
        Api::start(&mut self.command())
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.path().join(file), text).unwrap();
    }

    fn remove(&self, file: &str) {
        fs::remove_file(self.path().join(file)).unwrap();
    }

    /// The calls so far, each a line of operation and arguments, and forgets them.
    fn calls(&self) -> Vec<String> {
        let file = self.path().join("calls");
        let text = fs::read_to_string(&file).unwrap_or_default();
        let _ = fs::remove_file(file);
        assert!(!self.path().join("overlaps").exists(), "two at once: {text}");
        let line = |line: &str| line.strip_prefix("secrets-store secret ").unwrap().to_owned();
        text.lines().map(line).collect()
    }

    /// The local store: names with their values, in the order of the names.
    fn stored(&self, store: &str) -> Vec<(String, String)> {
        let store = store.strip_prefix("/stores/").unwrap();
        let files = fs::read_dir(self.path().join("state").join(store));
        let mut stored: Vec<_> = files
            .into_iter()
            .flatten()
            .map(|file| file.unwrap().path())
            .map(|path: PathBuf| {
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, fs::read_to_string(path).unwrap())
            })
            .collect();
        stored.sort();
        stored
    }
}

fn pair(name: &str) -> (String, String) {
    (name.to_owned(), format!("{MARK}-{name}"))
}

#[test]
fn every_change_reaches_the_local_store() {
    let project = Project::new();
    let api = project.start();
    let store = api.store();
    assert_eq!(project.calls(), Vec::<String>::new());

    let one = api.secret(&store, "one");
    assert_eq!(project.stored(&store), [pair("one")]);
    api.post(&format!("{store}/secrets"), &json!([secret("two"), secret("-three")])).result();
    assert_eq!(project.stored(&store), [pair("-three"), pair("one"), pair("two")]);
    api.patch(&one, &json!({ "value": format!("{MARK} new") })).result();
    let new = ("one".to_owned(), format!("{MARK} new"));
    assert_eq!(project.stored(&store), [pair("-three"), new.clone(), pair("two")]);
    api.post(&format!("{one}/duplicate"), &json!({ "name": "copy", "scopes": ["workers"] }))
        .result();
    let copy = ("copy".to_owned(), new.1.clone());
    assert_eq!(project.stored(&store), [pair("-three"), copy.clone(), new, pair("two")]);
    api.delete(&one).result();
    assert_eq!(project.stored(&store), [pair("-three"), copy.clone(), pair("two")]);
    let two = api.get(&format!("{store}/secrets?search=two")).result()[0]["id"].clone();
    let batch = json!({ "secret_ids": [two] });
    api.call("DELETE", &format!("{store}/secrets")).json(&batch).send().result();
    assert_eq!(project.stored(&store), [pair("-three"), copy]);
    api.delete(&format!("{store}?force=true")).result();
    assert_eq!(project.stored(&store), []);
}

#[test]
fn a_value_is_not_an_argument() {
    let project = Project::new();
    let api = project.start();
    let store = api.store();
    for value in ["x", "a\nb", " a", "é\u{1f600}\"'\\$HOME`", &"é".repeat(32_768)] {
        let value = format!("{value}{MARK}");
        let value = &value[value.len().saturating_sub(65_536)..];
        let path = api.post(
            &format!("{store}/secrets"),
            &json!({ "name": "one", "value": value, "scopes": ["workers"] }),
        );
        let id = path.result()["id"].as_str().unwrap().to_owned();
        assert_eq!(project.stored(&store), [("one".to_owned(), value.to_owned())]);
        let state = fs::canonicalize(project.path()).unwrap().join("below/../state");
        let id_of_store = store.strip_prefix("/stores/").unwrap();
        let call = format!(
            "create {id_of_store} --name=one --scopes workers --persist-to {} --config /dev/null",
            state.display()
        );
        assert_eq!(project.calls(), [call]);
        api.delete(&format!("{store}/secrets/{id}")).result();
        project.calls();
    }
}

#[test]
fn a_value_with_white_space_at_its_end_stays_as_it_is() {
    let project = Project::new();
    let api = project.start();
    let store = api.store();
    for end in ["\n", "\r\n", " ", "\t", "\u{a0}", "\u{2028}", "\u{feff}"] {
        let value = format!("-----BEGIN\n{MARK}\n-----END{end}");
        let input = json!({ "name": "pem", "value": value, "scopes": ["workers"] });
        let id = api.post(&format!("{store}/secrets"), &input).result()["id"].clone();
        assert_eq!(project.stored(&store), [("pem".to_owned(), value)]);
        // wrangler would cut it off from what it reads.
        assert!(project.calls().concat().contains("--value="));
        api.delete(&format!("{store}/secrets/{}", id.as_str().unwrap())).result();
        project.calls();
    }
}

#[test]
fn a_secret_that_no_worker_can_have_is_not_in_the_local_store() {
    let project = Project::new();
    let api = project.start();
    let store = api.store();
    let mut other = secret("other");
    other["scopes"] = json!(["dex", "ai_gateway"]);
    let id = api.post(&format!("{store}/secrets"), &other).result()["id"].clone();
    assert_eq!(project.calls(), Vec::<String>::new());
    let path = format!("{store}/secrets/{}", id.as_str().unwrap());
    api.patch(&path, &json!({ "scopes": ["dex", "workers"] })).result();
    assert_eq!(project.stored(&store), [pair("other")]);
    api.patch(&path, &json!({ "scopes": ["dex"] })).result();
    assert_eq!(project.stored(&store), []);
    project.calls();
    // Nothing to be removed there.
    api.patch(&path, &json!({ "value": MARK })).result();
    api.delete(&path).result();
    assert_eq!(project.calls(), Vec::<String>::new());
}

#[test]
fn what_changes_no_value_calls_no_wrangler() {
    let project = Project::new();
    let api = project.start();
    let store = api.store();
    let path = api.secret(&store, "one");
    project.calls();
    api.patch(&path, &json!({ "comment": "new" })).result();
    api.patch(&path, &json!({ "scopes": ["workers", "dex"] })).result();
    api.get(&path).result();
    api.patch(&path, &json!({})).is_refused(400, 1001, "nothing_to_update");
    let answer = api.post(&format!("{store}/secrets"), &secret("one"));
    answer.is_refused(409, 1003, "secret_name_already_exists");
    assert_eq!(project.calls(), Vec::<String>::new());
    // The same value again repairs what may be wrong there.
    api.patch(&path, &json!({ "value": format!("{MARK}-one") })).result();
    assert_eq!(project.calls().len(), 1);
}

#[test]
fn when_wrangler_fails_nothing_is_changed_and_trying_again_repairs() {
    let project = Project::new();
    let mut api = project.start();
    let store = api.store();
    let one = api.secret(&store, "one");
    let before = (api.get(&one), fs::read(project.path().join("below/secrets.json")).unwrap());

    project.write("broken", "bad\none\n");
    let message = |name: &str| {
        format!(
            "mirror_failed: wrangler's local store could not follow with {name}; nothing was \
             changed here, so try again; the reason is in the server's output"
        )
    };
    let batch = json!([secret("a"), secret("bad"), secret("c")]);
    let answer = api.post(&format!("{store}/secrets"), &batch);
    answer.is_refused(500, 10500, &message("bad"));
    let change = json!({ "value": format!("{MARK} new\n") });
    api.patch(&one, &change).is_refused(500, 10500, &message("one"));
    assert_eq!(api.names(&store), ["one"]);
    let after = (api.get(&one), fs::read(project.path().join("below/secrets.json")).unwrap());
    assert_eq!(after, before);

    project.remove("broken");
    api.post(&format!("{store}/secrets"), &batch).result();
    api.patch(&one, &change).result();
    let new = ("one".to_owned(), format!("{MARK} new\n"));
    assert_eq!(project.stored(&store), [pair("a"), pair("bad"), pair("c"), new]);
    // What wrangler said is told, but for the value.
    let said = api.end();
    assert!(said.contains("no luck with [the value]"), "{said}");
    assert!(!said.contains(MARK), "{said}");
}

#[test]
fn a_delete_can_be_tried_again_when_the_local_store_is_ahead() {
    let project = Project::new();
    let api = project.start();
    let store = api.store();
    let one = api.secret(&store, "one");
    let obstacle = project.path().join("below/.secrets.json.tmp");
    fs::create_dir_all(obstacle.join("x")).unwrap();
    assert_eq!(api.delete(&one).status, 500);
    assert_eq!((api.names(&store).len(), project.stored(&store).len()), (1, 0));
    fs::remove_dir_all(obstacle).unwrap();
    api.delete(&one).result();
    assert_eq!(api.names(&store), Vec::<String>::new());
}

#[test]
fn reading_goes_on_while_wrangler_is_slow_and_writers_take_turns() {
    let project = Project::new();
    let api = project.start();
    let store = api.store();
    project.write("hold", "");
    thread::scope(|scope| {
        for name in ["one", "two", "three"] {
            let (api, store) = (&api, &store);
            scope.spawn(move || api.secret(store, name));
        }
        wait_until("wrangler is called", || project.path().join("calls").exists());
        assert_eq!(api.names(&store), Vec::<String>::new());
        api.get("/quota").result();
        project.remove("hold");
    });
    assert_eq!(project.calls().len(), 3);
    assert_eq!(project.stored(&store), [pair("one"), pair("three"), pair("two")]);
}

#[test]
fn a_write_in_progress_is_finished_and_answered_before_the_end() {
    let project = Project::new();
    let mut api = project.start();
    let store = api.store();
    project.write("hold", "");
    let call = api.call("POST", &format!("{store}/secrets")).json(&secret("one"));
    let writer = thread::spawn(move || call.send());
    wait_until("wrangler is called", || project.path().join("calls").exists());
    api.signal(Signal::INT);
    wait_until("nobody is let in any more", || {
        std::net::TcpStream::connect(api.address()).is_err()
    });
    project.remove("hold");
    writer.join().unwrap().result();
    assert_eq!(api.wait().0.code(), Some(0));
    let file = fs::read_to_string(project.path().join("below/secrets.json")).unwrap();
    assert!(file.contains("\"one\""), "{file}");
}

#[test]
fn a_write_whose_client_has_gone_is_finished_before_the_end() {
    let project = Project::new();
    let mut api = project.start();
    let store = api.store();
    project.write("hold", "");
    let call = api.call("POST", &format!("{store}/secrets")).json(&secret("one"));
    // Longer than the time that clients have to take their answers.
    let writer = thread::spawn(move || call.try_send());
    wait_until("wrangler is called", || project.path().join("calls").exists());
    api.signal(Signal::TERM);
    assert!(writer.join().unwrap().is_err());
    project.remove("hold");
    assert_eq!(api.wait().0.code(), Some(0));
    let file = fs::read_to_string(project.path().join("below/secrets.json")).unwrap();
    assert!(file.contains("\"one\""), "{file}");
}

#[test]
fn without_wrangler_it_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let output = output(program().args(["--mirror", "state"]).current_dir(&folder));
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("run cargo xtask dev or npm ci first"), "{said}");
}

#[test]
fn a_local_store_alone_puts_names_and_removes() {
    let project = Project::new();
    let wrangler = project.path().join("node_modules/.bin/wrangler");
    let state = project.path().join("state");
    let store = LocalStore::new(move || Command::new(&wrangler), &state).unwrap();
    assert_eq!(store.names("s").unwrap(), []);
    store.remove("s", "one").unwrap();
    store.put("s", "one", &MARK.into()).unwrap();
    store.put("s", "Name", &MARK.into()).unwrap();
    let names: Vec<String> = store.names("s").unwrap().into_iter().map(|it| it.0).collect();
    assert_eq!(names, ["Name", "one"]);
    store.remove("s", "one").unwrap();
    store.remove("s", "no-such-name").unwrap();
    assert_eq!(project.stored("/stores/s"), [("Name".to_owned(), MARK.to_owned())]);

    // Who calls it at once takes turns.
    thread::scope(|scope| {
        for name in ["one", "two", "three"] {
            let store = &store;
            scope.spawn(move || store.put("s", name, &MARK.into()).unwrap());
        }
    });
    assert_eq!(project.calls().iter().filter(|it| it.starts_with("create")).count(), 5);

    project.write("broken", "one\n");
    let told = format!("{:#}", store.put("s", "one", &format!("{MARK}\n").into()).unwrap_err());
    assert!(told.contains("[the value]") && !told.contains(MARK), "{told}");
    let missing = LocalStore::new(|| Command::new("no-such-program"), &state).unwrap();
    let told = format!("{:#}", missing.names("s").unwrap_err());
    assert!(told.contains("run cargo xtask dev or npm ci first"), "{told}");
}
