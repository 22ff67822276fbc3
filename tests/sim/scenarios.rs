//! Runs the scenario files: stories written by hand, and seeds that once failed.

use std::path::Path;

use crate::{bench, step_text};

#[test]
fn every_scenario_comes_out_as_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder of scenarios")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "scenario"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no scenarios in {}", folder.display());
    let mut problems = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("readable");
        let name = file.file_name().expect("a file").to_string_lossy();
        let result = step_text::parse_steps(&text).and_then(|steps| {
            bench::run(&steps, 0)
                .map_err(|failure| format!("at `{}`: {}", steps[failure.step], failure.what))
        });
        if let Err(problem) = result {
            problems.push(format!("{name}: {problem}"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
}
