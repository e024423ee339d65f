//! Machine and process, under Java's names: tools look for `os.name`, `user.dir` and the like.

use std::env;
use std::fs;

use crate::runtime::FULL_VERSION;

/// What `envi` and the admin server's `environment` show, in Java's order. What only a Java process has is left
/// out, but for `java.version`, which says what this is instead.
pub(in crate::runtime) fn environment() -> Vec<(&'static str, String)> {
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let file = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    let memory = memory_mib();
    vec![
        ("zookeeper.version", FULL_VERSION.to_owned()),
        ("host.name", file("/proc/sys/kernel/hostname")),
        ("java.version", "none (native)".to_owned()),
        ("os.name", os_name().to_owned()),
        ("os.arch", env::consts::ARCH.replace("x86_64", "amd64")),
        ("os.version", file("/proc/sys/kernel/osrelease")),
        ("user.name", user_name()),
        ("user.home", variable("HOME")),
        ("user.dir", env::current_dir().map(|dir| dir.display().to_string()).unwrap_or_default()),
        ("os.memory.free", format!("{}MB", memory[0])),
        ("os.memory.max", format!("{}MB", memory[1])),
        ("os.memory.total", format!("{}MB", memory[1])),
    ]
}

/// Who runs this process: what the environment says, else the account's name, else its number.
pub(in crate::runtime) fn user_name() -> String {
    let uid = rustix::process::getuid().as_raw().to_string();
    let from_accounts = || {
        let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let account = accounts.lines().map(|line| line.split(':').collect::<Vec<_>>());
        account.into_iter().find(|fields| fields.get(2) == Some(&&*uid)).map(|fields| fields[0].to_owned())
    };
    env::var("USER").ok().filter(|name| !name.is_empty()).or_else(from_accounts).unwrap_or(uid)
}

fn os_name() -> &'static str {
    match env::consts::OS {
        "linux" => "Linux",
        "macos" => "Mac OS X",
        other => other,
    }
}

/// The machine's memory: available, and in all.
fn memory_mib() -> [u64; 2] {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    ["MemAvailable:", "MemTotal:"].map(|name| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kib: Option<u64> = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        kib.unwrap_or(0) / 1024
    })
}
