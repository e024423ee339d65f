//! One byte of the disk is not what it was, wherever: the server starts with the very tree it had, or not at all.

use std::env;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tests::damage;

/// Bytes tried in a plain run; `MENAGERIE_DAMAGED_BYTES` asks for more, up to all there are.
const BYTES: usize = 600;

#[derive(Debug, Default)]
struct Seen {
    refused: usize,
    harmless: usize,
}

#[test]
fn a_damaged_byte_is_refused_or_changes_nothing() -> Result<()> {
    let wanted = match env::var("MENAGERIE_DAMAGED_BYTES") {
        Ok(bytes) => bytes.parse().context("MENAGERIE_DAMAGED_BYTES")?,
        Err(_) => BYTES,
    };
    let dir = tempfile::tempdir()?;
    let (whole, scratch) = (dir.path().join("whole"), dir.path().join("scratch"));
    let expected = damage::make(&whole)?;
    let files = damage::files(&whole)?;
    damage::copy_damaged(&whole, &scratch, Path::new(""), 0, |byte| byte)?;
    ensure!(damage::start(&scratch)? == expected, "the undamaged copy differs");

    let mut dice = StdRng::seed_from_u64(7);
    let total: usize = files.iter().map(|(_, len)| len).sum();
    let step = (total / wanted).max(1);
    let mut seen = Seen::default();
    let mut skip = dice.random_range(0..step);
    for (path, len) in &files {
        while skip < *len {
            // Mostly a bit; sometimes a byte that reads as zero, like one that was never written.
            let mask = 1_u8 << dice.random_range(0..8);
            let zeroed = dice.random_bool(0.2);
            let damage = |byte: u8| if zeroed && byte != 0 { 0 } else { byte ^ mask };
            damage::copy_damaged(&whole, &scratch, path, skip, damage)?;
            match damage::start(&scratch) {
                Ok(content) => {
                    ensure!(
                        content == expected,
                        "{}, byte {skip} (zeroed: {zeroed}, mask {mask:#x}): another tree came back:\n{content:?}\n{expected:?}",
                        path.display()
                    );
                    seen.harmless += 1;
                }
                Err(error) => {
                    let says = error.to_string();
                    ensure!(says.contains(&scratch.display().to_string()), "it names no file: {says}");
                    seen.refused += 1;
                }
            }
            skip += step;
        }
        skip -= len;
    }
    println!("{} files, {total} bytes: {seen:?}", files.len());
    ensure!(seen.refused > 0 && seen.harmless > 0, "too little was tried: {seen:?}");
    Ok(())
}
