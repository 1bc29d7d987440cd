//! `completions`: scripts that shells take, and that know every command.

use std::process::Command;

use crate::command_line::{TempFile, err, out, run, status};

const SHELLS: [&str; 5] = ["bash", "zsh", "fish", "powershell", "elvish"];

/// The commands, as the help lists them.
fn commands() -> Vec<String> {
    let help = out(&run(&["--help"]));
    let listed = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let of_line = |line: &str| {
        line.strip_prefix("  ")?.split(' ').next().filter(|word| !word.is_empty()).map(str::to_owned)
    };
    let found: Vec<String> = listed.lines().filter_map(of_line).collect();
    assert!(found.len() > 15, "{found:?}");
    found
}

fn script(shell: &str) -> String {
    let output = run(&["completions", shell]);
    assert_eq!(status(&output), 0, "{}", err(&output));
    out(&output)
}

#[test]
fn every_shells_script_names_every_command() {
    for shell in SHELLS {
        let script = script(shell);
        for command in commands() {
            assert!(script.contains(&command), "{shell} does not know {command}");
        }
        assert!(script.contains("rollout-hours"), "{shell} knows no options");
    }
    assert_eq!(status(&run(&["completions", "tcsh"])), 64);
}

/// What bash offers for a command line.
fn offered(words: &[&str]) -> Vec<String> {
    let file = TempFile::new("completions.bash", &script("bash"));
    // As bash itself calls it: whichever function is registered, with the word and the one before.
    let asked = format!(
        "source {}; f=$(complete -p canary-gate); f=${{f##*-F }}; f=${{f%% *}}; \
         COMP_WORDS=({}); COMP_CWORD={}; $f canary-gate {:?} {:?}; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        file.name(),
        words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" "),
        words.len() - 1,
        words[words.len() - 1],
        words[words.len() - 2],
    );
    let output = Command::new("bash").args(["--norc", "-c", &asked]).output().expect("bash runs");
    assert_eq!(status(&output), 0, "{}", err(&output));
    out(&output).lines().map(str::to_owned).collect()
}

#[test]
fn bash_takes_its_script_and_completes() {
    let file = TempFile::new("check.bash", &script("bash"));
    let checked = Command::new("bash").args(["-n", file.name()]).output().expect("bash runs");
    assert_eq!((status(&checked), err(&checked)), (0, String::new()));
    assert_eq!(offered(&["canary-gate", "prom"]), ["promote"]);
    let all = offered(&["canary-gate", ""]);
    for command in commands() {
        assert!(all.contains(&command), "{command} is not offered");
    }
    assert_eq!(offered(&["canary-gate", "cost", "--region", ""]), ["us-east-1", "eu-west-1"]);
    assert_eq!(offered(&["canary-gate", "resume", "--weights", "ad"]), ["adopt"]);
}
