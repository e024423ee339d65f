//! What fuzzing has found worth keeping runs through its targets in every test run: findings that were repaired stay so.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tests::fuzz::TARGETS;

/// More would not be looked through by anyone, nor be quick.
const BYTES_MAX: u64 = 320 << 10;

#[test]
fn all_targets_bear_the_inputs_that_were_kept() -> Result<()> {
    for target in TARGETS {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target.name);
        let inputs = inputs(&dir).with_context(|| format!("{} has no corpus", target.name))?;
        ensure!(!inputs.is_empty(), "{} has no corpus", target.name);
        let bytes = inputs.iter().map(|path| Ok(fs::metadata(path)?.len())).sum::<Result<u64>>()?;
        ensure!(
            bytes <= BYTES_MAX,
            "{}: a corpus of {bytes} bytes; `scripts/fuzz.sh` can minimise it",
            target.name
        );
        for path in inputs {
            let input = fs::read(&path)?;
            let outcome = std::panic::catch_unwind(|| (target.run)(&input));
            ensure!(outcome.is_ok(), "{} on {}", target.name, path.display());
        }
    }
    Ok(())
}

fn inputs(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
