//! Files that a crash left between two states, settled before a log is opened: what was being removed is removed,
//! a compaction that had not finished writing is undone, one that had is completed. Kafka's `LogLoader`.

use std::fs;
use std::path::Path;

use super::error::Error;
use super::names::{FileKind, FileName, Stage};
use super::scan::Scan;

/// All files of the log in `dir`, by name.
pub(super) fn list(dir: &Path) -> Result<Vec<FileName>, Error> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io("list", dir))? {
        let entry = entry.map_err(Error::io("list", dir))?;
        names.extend(entry.file_name().to_str().and_then(FileName::parse));
    }
    names.sort_by_key(|name| (name.offset, name.kind));
    Ok(names)
}

/// Settles what is left, and says which files are live then.
pub(super) fn settle(dir: &Path) -> Result<Vec<FileName>, Error> {
    let names = list(dir)?;
    let of = |stage| names.iter().copied().filter(move |name| name.stage == stage);
    for name in of(Stage::Deleted) {
        remove(dir, name)?;
    }
    // Files are renamed from .cleaned to .swap one by one: as long as one is .cleaned, none counts.
    let cleaned_from = of(Stage::Cleaned).map(|name| name.offset).min().unwrap_or(i64::MAX);
    let (undone, done): (Vec<_>, Vec<_>) = of(Stage::Swap).partition(|name| name.offset >= cleaned_from);
    for name in undone.into_iter().chain(of(Stage::Cleaned)) {
        remove(dir, name)?;
    }
    for swap in done.iter().filter(|name| name.kind == FileKind::Log) {
        remove_replaced(dir, *swap, of(Stage::Live))?;
    }
    for name in done {
        let live = FileName { stage: Stage::Live, ..name }.in_dir(dir);
        fs::rename(name.in_dir(dir), &live).map_err(Error::io("rename", &live))?;
    }
    Ok(list(dir)?.into_iter().filter(|name| name.stage == Stage::Live).collect())
}

/// Removes the segments that `swap` stands for: all that begin where it has records.
fn remove_replaced(dir: &Path, swap: FileName, live: impl Iterator<Item = FileName>) -> Result<(), Error> {
    let path = swap.in_dir(dir);
    let file = fs::File::open(&path).map_err(Error::io("open", &path))?;
    let size = file.metadata().map_err(Error::io("look at", &path))?.len();
    let mut next_offset = swap.offset;
    let mut scan = Scan::heads(&file, 0, size);
    while let Some((_, head)) = scan.next_head().map_err(|it| it.into_error(&path))? {
        next_offset = head.next_offset();
    }
    for name in live {
        let replaced = name.offset == swap.offset || (swap.offset..next_offset).contains(&name.offset);
        if replaced && name.kind != FileKind::Snapshot {
            remove(dir, name)?;
        }
    }
    Ok(())
}

fn remove(dir: &Path, name: FileName) -> Result<(), Error> {
    let path = name.in_dir(dir);
    fs::remove_file(&path).map_err(Error::io("remove", &path))
}
