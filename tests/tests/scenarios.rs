//! The scenarios in `tests/scenarios`, as they are written.

use std::fs;
use std::path::Path;

#[test]
fn every_scenario_goes_as_it_is_written() {
    let rewrite = std::env::var("SCENARIOS").is_ok_and(|wish| wish == "rewrite");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    // What servers say to each other is told in a folder of its own.
    let mut files: Vec<_> = entries.filter(|path| path.is_file()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        tests::scenario::run(&file, rewrite).unwrap_or_else(|error| panic!("{error:#}"));
    }
}
