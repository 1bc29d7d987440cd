//! The house has floors: a module may import only from the floors below it. Every `use crate::...` and
//! every `crate::...` path in the library is checked against the table.

use std::fs;
use std::path::{Path, PathBuf};

/// Each module with the modules that it may name. The same table stands in CONTRIBUTING.md.
const MAY_IMPORT: [(&str, &[&str]); 16] = [
    ("units", &[]),
    ("stats", &[]),
    ("analysis", &["units", "stats"]),
    ("rollout", &["units", "analysis"]),
    ("recording", &["units", "analysis"]),
    ("config", &["units", "analysis", "rollout"]),
    ("event", &["units", "analysis", "rollout", "config"]),
    ("ports", &["units", "analysis", "rollout"]),
    ("doctor", &["units", "analysis", "rollout", "ports"]),
    ("handler", &["units", "analysis", "rollout", "config", "event", "ports"]),
    ("github", &["rollout", "config", "ports"]),
    ("aws", &["units", "analysis", "rollout", "ports", "doctor", "github"]),
    ("clock", &["ports"]),
    ("local", &["units", "analysis", "rollout", "ports"]),
    ("sim", &["units", "analysis", "rollout", "recording", "config", "event", "ports", "handler"]),
    (
        "cli",
        &[
            "units",
            "stats",
            "analysis",
            "rollout",
            "recording",
            "config",
            "event",
            "ports",
            "doctor",
            "handler",
            "clock",
            "local",
            "sim",
        ],
    ),
];

/// All Rust files below a directory.
pub(crate) fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("src can be listed") {
        let path = entry.expect("src can be listed").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// Names that follow `crate::` in a file, comments left out.
fn imports(text: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let mut names = Vec::new();
    for line in code {
        for (at, _) in line.match_indices("crate::") {
            if line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
                continue;
            }
            let rest = &line[at + "crate::".len()..];
            let name = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
            assert!(!name.is_empty(), "import one module a line, not a group of them: {line}");
            names.push(name);
        }
    }
    names
}

fn module_of(root: &Path, file: &Path) -> String {
    let inside = file.strip_prefix(root).expect("below src");
    let first = inside.components().next().expect("a file").as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

#[test]
fn every_module_imports_only_from_the_floors_below() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut broken = Vec::new();
    for file in &files {
        let module = module_of(&root, file);
        if matches!(module.as_str(), "lib" | "bin") {
            continue;
        }
        let text = fs::read_to_string(file).expect("source is text");
        let row = MAY_IMPORT.iter().find(|(name, _)| *name == module);
        let Some((_, allowed)) = row else {
            broken.push(format!("{}: module {module} is not in the table", file.display()));
            continue;
        };
        for name in imports(&text) {
            if name != module && !allowed.contains(&name.as_str()) {
                broken.push(format!("{}: {module} may not import {name}", file.display()));
            }
        }
        if module != "aws" && text.contains("aws_sdk_") {
            broken.push(format!("{}: only aws may name the SDK", file.display()));
        }
    }
    assert!(files.len() > 30, "only {} sources found", files.len());
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_core_reads_no_clock_environment_or_file_and_does_not_log() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut broken = Vec::new();
    for module in ["units.rs", "stats", "analysis", "rollout", "recording.rs", "config", "event"] {
        let path = root.join(module);
        let mut files = Vec::new();
        if path.is_dir() {
            sources(&path, &mut files)
        } else {
            files.push(path)
        }
        // Tests may read samples.
        files.retain(|file| !file.ends_with("tests.rs"));
        for file in files {
            let text = fs::read_to_string(&file).expect("source is text");
            let body = text.split("#[cfg(test)]").next().unwrap_or_default();
            for banned in [
                "Timestamp::now",
                "SystemTime",
                "Instant::now",
                "std::env",
                "std::fs",
                "tracing::",
                "println!",
            ] {
                if body.contains(banned) {
                    broken.push(format!("{}: {banned}", file.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
