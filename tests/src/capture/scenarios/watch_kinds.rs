//! Kinds of watches: which there are after which were set and removed, and what a client that comes back has missed.

use anyhow::Result;
use jute::proto::{SetWatches, SetWatches2, xid};
use jute::{AddWatchMode, Jute as _, Op, Ustring, WatcherType};

use crate::capture::requests::{
    add_watch, check_watches, children_watching, create, delete, exists_watching, get_watching,
    remove_watches, set,
};
use crate::capture::{A, B, Script};

pub(super) const KINDS: [WatcherType; 5] = [
    WatcherType::Children,
    WatcherType::Data,
    WatcherType::Any,
    WatcherType::Persistent,
    WatcherType::PersistentRecursive,
];

/// A way to watch, and its name.
type Setting = (&'static str, fn(&mut Script, &str) -> Result<()>);

const SETTINGS: [Setting; 5] = [
    ("data", |s, path| s.ask(A, Op::GetData, &get_watching(path))),
    ("exists", |s, path| s.ask(A, Op::Exists, &exists_watching(path))),
    ("children", |s, path| s.ask(A, Op::GetChildren, &children_watching(path))),
    ("persistent", |s, path| s.ask(A, Op::AddWatch, &add_watch(path, AddWatchMode::Persistent))),
    ("recursive", |s, path| s.ask(A, Op::AddWatch, &add_watch(path, AddWatchMode::PersistentRecursive))),
];

/// Each way to watch, and each way to ask for it and to be rid of it.
pub(super) fn each_by_each(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    s.connect(B)?;
    for (name, set) in SETTINGS {
        for kind in KINDS {
            let path = format!("/{name}-{}", kind.code());
            s.ask(A, Op::Create, &create(&path, ""))?;
            set(s, &path)?;
            s.ask(B, Op::CheckWatches, &check_watches(&path, kind))?;
            s.ask(A, Op::CheckWatches, &check_watches(&path, kind))?;
            s.ask(A, Op::CheckWatches, &check_watches(&format!("{path}/none"), kind))?;
            s.ask(A, Op::RemoveWatches, &remove_watches(&path, kind))?;
            s.ask_described(
                A,
                Op::CheckWatches,
                &check_watches(&path, WatcherType::Any).to_bytes(),
                &format!("for what is left of {path}"),
            )?;
            s.ask_described(
                A,
                Op::RemoveWatches,
                &remove_watches(&path, WatcherType::Any).to_bytes(),
                &format!("of what is left of {path}"),
            )?;
        }
    }
    Ok(())
}

/// What is left of two ways to watch when one is removed, as events tell.
pub(super) fn pairs(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    for (one, (name, first)) in SETTINGS.iter().enumerate() {
        for (other_name, second) in &SETTINGS[one + 1..] {
            for kind in KINDS {
                let path = format!("/{name}-{other_name}-{}", kind.code());
                s.ask(A, Op::Create, &create(&path, ""))?;
                first(s, &path)?;
                second(s, &path)?;
                s.ask(A, Op::RemoveWatches, &remove_watches(&path, kind))?;
                s.ask(A, Op::SetData, &set(&path, "x", -1))?;
                s.ask(A, Op::Create, &create(&format!("{path}/x"), ""))?;
                s.ask(A, Op::Delete, &delete(&format!("{path}/x"), -1))?;
                s.ask_described(
                    A,
                    Op::RemoveWatches,
                    &remove_watches(&path, WatcherType::Any).to_bytes(),
                    &format!("of what is left of {path}"),
                )?;
            }
        }
    }
    Ok(())
}

/// Recursive watches: on the root, on what is not there, one beneath the other.
pub(super) fn recursive(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    s.connect(B)?;
    s.ask(A, Op::AddWatch, &add_watch("/wr/x", AddWatchMode::PersistentRecursive))?;
    s.ask(A, Op::AddWatch, &add_watch("/wr", AddWatchMode::PersistentRecursive))?;
    s.ask(B, Op::AddWatch, &add_watch("/", AddWatchMode::PersistentRecursive))?;
    for path in ["/wr", "/wr/x", "/wr/xx", "/wr/x/y"] {
        s.ask(A, Op::Create, &create(path, ""))?;
    }
    s.ask(A, Op::SetData, &set("/wr/x/y", "", -1))?;
    s.ask(A, Op::SetData, &set("/wr/xx", "", -1))?;
    s.events(B)?;
    s.ask(A, Op::RemoveWatches, &remove_watches("/wr", WatcherType::Any))?;
    s.ask(A, Op::SetData, &set("/wr/xx", "", -1))?;
    s.ask(A, Op::Delete, &delete("/wr/x/y", -1))?;
    // A one-shot watch beside a recursive one above it.
    s.ask(B, Op::GetData, &get_watching("/wr/xx"))?;
    s.ask(B, Op::GetChildren, &children_watching("/wr"))?;
    s.ask(A, Op::Delete, &delete("/wr/xx", -1))?;
    s.events(B)?;
    s.ask(B, Op::RemoveWatches, &remove_watches("/", WatcherType::Any))?;
    s.ask(A, Op::Delete, &delete("/wr/x", -1))?;
    s.events(B)
}

/// One-shot watches on the root.
pub(super) fn root(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    s.ask(A, Op::GetChildren, &children_watching("/wroot"))?;
    for (_, set) in SETTINGS {
        set(s, "/")?;
        s.ask(A, Op::Create, &create("/wroot", ""))?;
        s.ask(A, Op::SetData, &self::set("/", "", -1))?;
        s.ask(A, Op::Delete, &delete("/wroot", -1))?;
        s.ask(A, Op::RemoveWatches, &remove_watches("/", WatcherType::Any))?;
    }
    Ok(())
}

/// For each list that a client brings along: nothing happened since, something did, the znode is gone, it is there.
pub(super) fn missed(s: &mut Script) -> Result<()> {
    let list = |path: &str| vec![Ustring::from(path)];
    s.connect(A)?;
    s.connect(B)?;
    for path in ["/ms", "/ms/calm", "/ms/changed", "/ms/parent", "/ms/gone"] {
        s.ask(A, Op::Create, &create(path, ""))?;
    }
    let relative_zxid = s.newest_zxid(A)?;
    s.ask(A, Op::SetData, &set("/ms/changed", "x", -1))?;
    s.ask(A, Op::Create, &create("/ms/parent/x", ""))?;
    s.ask(A, Op::Delete, &delete("/ms/gone", -1))?;
    s.ask(A, Op::Create, &create("/ms/new", ""))?;
    let none = SetWatches2 { relative_zxid, ..SetWatches2::default() };
    for path in ["/ms/calm", "/ms/changed", "/ms/parent", "/ms/gone", "/ms/new", "/ms/none", "bad"] {
        let lists = [
            ("data", SetWatches2 { data_watches: list(path), ..none.clone() }),
            ("exist", SetWatches2 { exist_watches: list(path), ..none.clone() }),
            ("child", SetWatches2 { child_watches: list(path), ..none.clone() }),
            ("persistent", SetWatches2 { persistent_watches: list(path), ..none.clone() }),
            ("recursive", SetWatches2 { persistent_recursive_watches: list(path), ..none.clone() }),
        ];
        for (name, lists) in &lists {
            let what = format!("{name} of {path}");
            s.ask_described(B, Op::SetWatches2, &lists.to_bytes(), &what)?;
            s.ask(B, Op::RemoveWatches, &remove_watches(path, WatcherType::Any))?;
        }
        let [(_, data), (_, exist), (_, child), ..] = lists;
        let old = SetWatches {
            relative_zxid,
            data_watches: data.data_watches,
            exist_watches: exist.exist_watches,
            child_watches: child.child_watches,
        };
        s.ask_described(B, Op::SetWatches, &old.to_bytes(), &format!("all of {path}"))?;
        s.ask(B, Op::RemoveWatches, &remove_watches(path, WatcherType::Any))?;
    }
    s.ask_as(B, xid::SET_WATCHES, Op::SetWatches, &SetWatches::default())
}
