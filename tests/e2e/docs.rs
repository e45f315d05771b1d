//! What README.md and docs/ say: their lines are run, their links lead somewhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use serde_json::Value;
use xtask::process;

use crate::Stage;

/// The shell lines of README.md and docs/, from a heading to the next.
const SCRIPTS: [(&str, &str, &str); 3] = [
    ("README.md", "## Try it", "## Add an upstream"),
    ("README.md", "### A batch", "## Use"),
    ("docs/rest-api.md", "## The operations", "## Official clients"),
];

/// What is looked at, beside docs/.
const PAGES: [&str; 3] = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"];

pub fn the_lines_of_the_docs_do_as_they_say(stage: &Stage) {
    let _turn = stage.dev.turn();
    for (file, from, to) in SCRIPTS {
        let text = fs::read_to_string(xtask::root().join(file)).unwrap();
        let (_, section) = text.split_once(&format!("\n{from}\n")).unwrap();
        let (section, _) = section.split_once(&format!("\n{to}")).unwrap();
        let blocks = section.split("```sh\n").skip(1).map(|it| it.split("```").next().unwrap());
        // The first commands of all: one is running, the other is this.
        let blocks = blocks.filter(|it| !it.starts_with("cargo xtask dev "));
        run(stage, file, &blocks.collect::<String>());
    }
    // The rotation's, of Try it.
    stage.dev.line_with(&["  200 ", "caller GATEWAY_TOKEN", "retries 1"]);
}

/// Runs lines, and compares what each `curl` answers with its comment: the status and the message, or
/// else 200.
fn run(stage: &Stage, file: &str, script: &str) {
    let address = stage.dev.address();
    let script = script.replace("http://127.0.0.1:8787", &address).replace(
        "cargo xtask rotate API_KEY",
        &format!("cargo xtask rotate API_KEY --url {address}"),
    );
    let calls = || script.lines().filter(|line| line.starts_with("curl "));
    let comments = || calls().map(|line| line.split_once(" # ").map(|(_, comment)| comment));
    let said: Vec<_> =
        comments().map(|it| it.map_or("200", |it| it.split(':').next().unwrap())).collect();
    assert!(!said.is_empty(), "no curl in {file}");
    let mut shell = Command::new("sh");
    shell.current_dir(xtask::root()).args([
        "-euc",
        &format!("curl() {{ command curl -sS -w '\n%{{http_code}}\n' \"$@\"; }}\n{script}"),
    ]);
    let printed = process::output(&format!("the lines of {file}"), &mut shell, "").unwrap();
    let is_status = |line: &&str| line.len() == 3 && line.parse::<u16>().is_ok();
    let answered: Vec<_> = printed.lines().filter(is_status).collect();
    assert_eq!(answered, said, "{file}: {printed}");
    for message in comments().flatten().filter_map(|it| Some(it.split_once(": ")?.1)) {
        assert!(printed.contains(message), "no {message} in {printed}");
    }
}

pub fn the_upstream_of_the_readme_is_one_that_doctor_finds_right(_: &Stage) {
    let readme = fs::read_to_string(xtask::root().join("README.md")).unwrap();
    let (_, section) = readme.split_once("\n## Add an upstream\n").unwrap();
    let (_, block) = section.split_once("```toml\n").unwrap();
    let shipped = fs::read_to_string(xtask::root().join("wrangler.toml")).unwrap();
    let mut config: toml::Table = shipped.parse().unwrap();
    let mut production = config["env"]["production"].clone();
    // Beside what is there, as the README says.
    let added: toml::Table = block.split("```").next().unwrap().parse().unwrap();
    let bindings = added["secrets_store_secrets"].as_array().unwrap().clone();
    production["secrets_store_secrets"].as_array_mut().unwrap().extend(bindings);
    let upstream = added["vars"]["UPSTREAMS"]["stripe"].clone();
    let upstreams = production["vars"]["UPSTREAMS"].as_table_mut().unwrap();
    upstreams.insert("stripe".to_owned(), upstream);
    config.insert("env".to_owned(), toml::Table::from_iter([("readme".into(), production)]).into());

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrangler.toml");
    fs::write(&file, config.to_string()).unwrap();
    let mut doctor = Command::new("cargo");
    doctor.args(["xtask", "doctor", "--json", "--env", "readme", "--config"]).arg(&file);
    let told = process::output("doctor", doctor.current_dir(xtask::root()), "").unwrap();
    let told: Value = serde_json::from_str(&told).unwrap();
    assert!(told["findings"].as_array().unwrap().is_empty(), "{told}");
}

pub fn every_message_that_settings_md_names_is_one_that_there_is(_: &Stage) {
    let page = fs::read_to_string(xtask::root().join("docs/settings.md")).unwrap();
    let (_, table) = page.split_once("\n## Messages\n").unwrap();
    let table = table.split("\n## ").next().unwrap();
    let sources: String = ["config.rs", "json.rs", "gateway/credential.rs", "gateway/path.rs"]
        .map(|it| fs::read_to_string(xtask::root().join("src").join(it)).unwrap())
        .concat();
    // As in Rust: quotes have backslashes.
    let messages: Vec<_> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .map(|(message, _)| message.trim_matches(['`', ' ']).replace('"', "\\\""))
        .collect();
    assert!(messages.len() > 20, "{messages:?}");
    for message in messages {
        // What differs from case to case stands for itself.
        let missing = message.split('…').find(|part| !sources.contains(part.trim()));
        assert_eq!(missing, None, "of {message}");
    }
}

pub fn every_link_of_the_docs_leads_somewhere(_: &Stage) {
    let root = xtask::root();
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|it| it.unwrap().path());
    let docs = docs.filter(|it| it.extension().is_some_and(|it| it == "md"));
    let own = PAGES.map(|it| root.join(it)).into_iter().filter(|it| it.is_file());
    let pages: BTreeMap<PathBuf, Page> =
        own.chain(docs).map(|it| (it.canonicalize().unwrap(), Page::read(&it))).collect();
    let mut dead = Vec::new();
    for (file, page) in &pages {
        for (target, label) in &page.links {
            if let Some(why) = is_dead(file, target, label, &pages) {
                dead.push(format!("{}: {target}: {why}", file.display()));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}

/// Why a link leads nowhere.
fn is_dead(
    file: &Path,
    target: &str,
    label: &[String],
    pages: &BTreeMap<PathBuf, Page>,
) -> Option<String> {
    if target.contains("://") {
        return None;
    }
    let (path, anchor) = target.split_once('#').map_or((target, None), |(it, a)| (it, Some(a)));
    let path = if path.is_empty() {
        Ok(file.to_owned())
    } else {
        file.parent().unwrap().join(path).canonicalize()
    };
    let Ok(path) = path else { return Some("there is no such file".to_owned()) };
    if let Some(anchor) = anchor {
        let has_it = pages.get(&path).is_some_and(|page| page.anchors.contains(anchor));
        return (!has_it).then(|| "there is no such heading".to_owned());
    }
    // A test is named by the link to its file.
    let tests: Vec<_> = label.iter().filter(|it| is_test(it)).collect();
    if tests.is_empty() || !path.is_file() {
        return None;
    }
    let source = fs::read_to_string(&path).unwrap();
    let missing = tests.into_iter().find(|it| !source.contains(&format!("fn {it}(")))?;
    Some(format!("there is no {missing}"))
}

/// Whether a word of code is a test's name: a claim, in many words.
fn is_test(code: &str) -> bool {
    let of_a_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    code.matches('_').count() > 3 && code.chars().all(of_a_name)
}

/// What matters of a page.
#[derive(Default)]
struct Page {
    /// Each with the code in its label.
    links: Vec<(String, Vec<String>)>,
    anchors: BTreeSet<String>,
}

impl Page {
    fn read(file: &Path) -> Self {
        let text = fs::read_to_string(file).unwrap();
        let mut page = Self::default();
        let (mut heading, mut is_in_link) = (None::<String>, false);
        for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => page.add_anchor(&heading.take().unwrap()),
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push((dest_url.into_string(), Vec::new()));
                    is_in_link = true;
                }
                Event::End(TagEnd::Link | TagEnd::Image) => is_in_link = false,
                Event::Html(html) | Event::InlineHtml(html) => {
                    // `src="…"`, and `srcset="…"` with one file.
                    for value in html.split(" src").skip(1).filter_map(|it| it.split('"').nth(1)) {
                        page.links.push((value.to_owned(), Vec::new()));
                    }
                }
                Event::Text(text) | Event::Code(text) if heading.is_some() => {
                    heading.as_mut().unwrap().push_str(&text);
                }
                Event::Code(code) if is_in_link => {
                    page.links.last_mut().unwrap().1.push(code.into_string());
                }
                _ => {}
            }
        }
        page
    }

    /// As GitHub makes them of headings; the second one of a name has a number.
    fn add_anchor(&mut self, heading: &str) {
        let kept = heading.to_lowercase().replace(' ', "-");
        let kept: String =
            kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect();
        let again = (1..).map(|number| format!("{kept}-{number}"));
        let free = [kept.clone()].into_iter().chain(again).find(|it| !self.anchors.contains(it));
        self.anchors.extend(free);
    }
}
