//! The parts that a project may leave out.

use std::{fs, path::Path};

use crate::{
    cut::{cut, is_whole},
    files::{Result, delete, edit, with_ending},
};

/// A part: all that stands under a cargo feature, and what belongs to it outside of Rust code.
pub struct Part {
    /// Its cargo feature.
    pub feature: &'static str,
    /// What it is called in the README.
    pub title: &'static str,
    /// Its files and folders.
    files: &'static [&'static str],
    /// Its packages, which are members of the workspace and dependencies.
    packages: &'static [&'static str],
    /// Its paragraphs, told by a line of each and the file.
    paragraphs: &'static [(&'static str, &'static [&'static str])],
}

/// Those that are asked for, in this order.
pub const PARTS: &[Part] = &[
    Part {
        feature: "demo",
        title: "the demo upstream",
        files: &[],
        packages: &[],
        paragraphs: &[(
            "wrangler.toml",
            &[
                "[[secrets_store_secrets]]\nbinding = \"API_KEY\"",
                "[[secrets_store_secrets]]\nbinding = \"API_KEY_PREVIOUS\"",
                "[[secrets_store_secrets]]\nbinding = \"GATEWAY_TOKEN\"",
                "[vars.UPSTREAMS.demo]",
            ],
        )],
    },
    Part {
        feature: "rest-api",
        title: "the REST API",
        files: &[
            "docs/rest-api.md",
            "fuzz/corpus/administration",
            "fuzz/corpus/answers",
            "fuzz/fuzz_targets/administration.rs",
            "fuzz/fuzz_targets/answers.rs",
            "local-api",
        ],
        // The storm has its random numbers of fastrand. secrets-store-api stays: with it, `doctor` asks
        // the account.
        packages: &["fastrand", "local-api"],
        paragraphs: &[
            ("fuzz/Cargo.toml", &["name = \"administration\"", "name = \"answers\""]),
            (
                "wrangler.toml",
                &[
                    "binding = \"ADMIN_TOKEN\"",
                    "binding = \"CF_API_TOKEN\"",
                    "[vars.SECRETS_STORE_API]",
                    "[env.staging.vars.SECRETS_STORE_API]",
                    "[env.production.vars.SECRETS_STORE_API]",
                ],
            ),
        ],
    },
];

/// What is the template's own, and no project's.
pub const TEMPLATE: Part = Part {
    feature: "template",
    title: "",
    files: &[".ci", "CHANGELOG.md", "CONTRIBUTING.md", "template"],
    packages: &["template"],
    paragraphs: &[],
};

impl Part {
    /// Takes it out of the project.
    pub fn take_out(&self, root: &Path) -> Result<()> {
        for file in self.files {
            delete(&root.join(file))?;
        }
        for file in with_ending(root, "rs")? {
            self.take_out_of_code(&file)?;
        }
        for file in with_ending(root, "toml")? {
            if file.ends_with("Cargo.toml") {
                edit(&file, |text| self.out_of_manifest(text))?;
            }
        }
        for (file, marks) in self.paragraphs {
            let mut missing = Vec::new();
            edit(&root.join(file), |text| {
                let (left, never) = without_paragraphs(text, marks);
                missing = never;
                left
            })?;
            if let Some(mark) = missing.first() {
                return Err(format!("{file} has no paragraph with the line {mark}"));
            }
        }
        self.out_of_secrets(root)
    }

    fn take_out_of_code(&self, file: &Path) -> Result<()> {
        // A module's file may have gone with the one that declares it.
        let Ok(code) = fs::read_to_string(file) else { return Ok(()) };
        if is_whole(&code, self.feature) {
            return delete(file);
        }
        let (left, modules) = cut(&code, self.feature);
        let stem = file.file_stem().unwrap_or_default();
        let is_root = ["lib", "main", "mod"].iter().any(|it| stem == *it);
        let folder = if is_root { file.with_file_name("") } else { file.with_extension("") };
        for module in modules {
            let inline = folder.join(&module).with_extension("rs");
            if inline.is_file() {
                delete(&inline)?;
            }
            if folder.join(&module).is_dir() {
                delete(&folder.join(&module))?;
            }
        }
        if left.trim() == code.trim() { Ok(()) } else { edit(file, |_| left) }
    }

    /// A manifest without the feature, what is optional for it, and the packages.
    fn out_of_manifest(&self, text: &str) -> String {
        let start = format!("{} = [", self.feature);
        let enabled = text.lines().find(|line| line.starts_with(&start)).unwrap_or_default();
        let optional: Vec<&str> =
            enabled.split("dep:").skip(1).filter_map(|it| it.split('"').next()).collect();
        let goes = |line: &str| {
            let name = line.split(" = ").next().unwrap_or_default();
            line.starts_with(&start)
                || optional.contains(&name) && line.contains("optional = true")
                || self.packages.contains(&name)
        };
        let mut left: Vec<String> = Vec::new();
        for line in text.lines() {
            if goes(line) {
                // Its reason stands above it.
                while left.last().is_some_and(|it| it.starts_with('#')) {
                    left.pop();
                }
                continue;
            }
            let mut line = line.to_owned();
            if ["default = [", "members = [", "exclude = ["].iter().any(|it| line.starts_with(it)) {
                for name in self.packages.iter().chain([&self.feature]) {
                    for listed in
                        [format!("\"{name}\", "), format!(", \"{name}\""), format!("\"{name}\"")]
                    {
                        line = line.replace(&listed, "");
                    }
                }
            }
            left.push(line);
        }
        left.join("\n") + "\n"
    }

    /// The development values of secrets that nothing is bound to any more.
    fn out_of_secrets(&self, root: &Path) -> Result<()> {
        let bound = root.join("wrangler.toml");
        let bound = fs::read_to_string(&bound).map_err(|error| error.to_string())?;
        // Those of an [env.*] are for the account.
        let of_dev = |it: &&str| it.lines().any(|line| line == "[[secrets_store_secrets]]");
        let local = bound.split("\n\n").filter(of_dev);
        let local: String = local.collect();
        edit(&root.join("secrets.dev.toml"), |text| {
            let is_kept = |line: &&str| match line.split_once(" = ") {
                Some((name, _)) if !line.starts_with('#') => {
                    local.contains(&format!("secret_name = \"{name}\""))
                }
                _ => true,
            };
            text.lines().filter(is_kept).map(|line| format!("{line}\n")).collect()
        })
    }
}

/// Text without the paragraphs that have one of these lines, and the lines that none has.
fn without_paragraphs<'a>(text: &str, marks: &[&'a str]) -> (String, Vec<&'a str>) {
    let has =
        |paragraph: &str, mark: &str| format!("\n{paragraph}\n").contains(&format!("\n{mark}\n"));
    let left = text
        .trim_end()
        .split("\n\n")
        .filter(|paragraph| !marks.iter().any(|mark| has(paragraph, mark)))
        .collect::<Vec<_>>()
        .join("\n\n");
    let missing =
        marks.iter().filter(|mark| !text.split("\n\n").any(|it| has(it.trim_end(), mark)));
    (left + "\n", missing.copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_told_by_a_line() {
        let text = "# a\n\n[b]\nc = 1\n\n# d\n[e]\nc = 1\n";
        let (left, missing) = without_paragraphs(text, &["[b]", "[e", "[g]"]);
        assert_eq!(left, "# a\n\n# d\n[e]\nc = 1\n");
        assert_eq!(missing, ["[e", "[g]"]);
    }

    #[test]
    fn a_manifest_loses_the_feature_and_what_only_it_needs() {
        let part = Part { feature: "x", title: "", files: &[], packages: &["p"], paragraphs: &[] };
        let text = "members = [\".\", \"p\", \"q\"]\n[features]\ndefault = [\"a\", \"x\"]\n# Why.\n\
                    x = [\"dep:d\"]\n[dependencies]\n# Why d.\nd = { optional = true }\n# Why e.\ne = 1\n\
                    [dev-dependencies]\n# Why p.\np = 1\nd = 2\n";
        assert_eq!(
            part.out_of_manifest(text),
            "members = [\".\", \"q\"]\n[features]\ndefault = [\"a\"]\n[dependencies]\n# Why e.\ne = 1\n\
             [dev-dependencies]\nd = 2\n"
        );
    }
}
