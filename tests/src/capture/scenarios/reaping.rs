//! What the service deletes by itself.

use anyhow::Result;
use jute::{AddWatchMode, CreateMode, Op};

use crate::capture::requests::{add_watch, create, create_as, create_ttl, delete, exists};
use crate::capture::{A, Script};

pub(super) fn containers_and_ttl(s: &mut Script) -> Result<()> {
    s.connect(A)?;
    s.ask(A, Op::Create, &create("/gone", ""))?;
    s.ask(A, Op::CreateContainer, &create_as("/gone/c", "", CreateMode::Container.code()))?;
    s.ask(A, Op::Create, &create("/gone/c/x", ""))?;
    s.ask(A, Op::AddWatch, &add_watch("/gone", AddWatchMode::PersistentRecursive))?;
    s.ask(A, Op::Delete, &delete("/gone/c/x", -1))?;
    s.next_event(A)?;
    s.ask(A, Op::Exists, &exists("/gone"))?;
    s.ask(A, Op::CreateTtl, &create_ttl("/gone/t", CreateMode::PersistentWithTtl.code(), 100))?;
    s.next_event(A)?;
    s.ask(A, Op::Exists, &exists("/gone"))
}
