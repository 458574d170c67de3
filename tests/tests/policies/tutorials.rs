//! The tutorials work as they stand: their commands are run line by line, their files are written, and what they say that is
//! seen is seen.

use berth_tests::{Berth, Options, repository};

/// A fenced block: what stands after the fence, and the lines in it.
struct Block {
    info: String,
    text: String,
}

fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in document.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(info), None) => open = Some(Block { info: info.to_owned(), text: String::new() }),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => block.text.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    blocks
}

/// Whether the parts of an expected line, which `…` divides, stand in a line of the output in their order.
fn is_seen(expected: &str, output: &str) -> bool {
    output.lines().any(|line| {
        let mut rest = line;
        expected.split('…').map(str::trim).all(|part| match rest.find(part) {
            Some(at) => {
                rest = &rest[at + part.len()..];
                true
            }
            None => false,
        })
    })
}

fn follow(name: &str) {
    let berth = Berth::start(Options::simulated(3));
    let document = repository().join("sdk/tutorials").join(name);
    let document = std::fs::read_to_string(document).unwrap();
    let directory = tempfile::Builder::new().prefix("berth-tutorial-").tempdir().unwrap();
    let variables = [("BERTH_SOURCE", repository())];
    let mut output = String::new();
    let mut commands = 0;
    for Block { info, text } in blocks(&document) {
        match info.split_once(' ').unwrap_or((&info, "")) {
            ("sh", "") => {
                output = berth.shell(directory.path(), &text, &variables).ok();
                commands += 1;
            }
            ("text", "") => {
                for line in text.lines() {
                    assert!(is_seen(line, &output), "no {line:?} in\n{output}");
                }
            }
            ("rust" | "toml", file) if !file.is_empty() => {
                std::fs::write(directory.path().join(file), text).unwrap();
            }
            other => panic!("nobody knows what to do with a block {other:?}"),
        }
    }
    assert!(commands > 3, "a tutorial has commands");
}

#[test]
fn an_admission_policy() {
    follow("admission.md");
}
