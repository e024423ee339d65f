//! Work that nobody waits for: it takes what the threads that serve leave of the processors.

use std::thread;

use rustix::process::{getpriority_process, setpriority_process};
use tracing::debug;

/// By so much such threads are nicer than the others: a ninth of a processor is theirs even when all are busy, so that
/// the snapshot goes on; but they make way at once when a thread that serves wakes up.
const NICENESS: i32 = 10;
const NICENESS_MAX: i32 = 19;

/// Makes the calling thread, and all that it starts from now on, work in the background.
pub(super) fn step_back() {
    let nicer = getpriority_process(None).and_then(|now| {
        let niceness = (now + NICENESS).min(NICENESS_MAX);
        setpriority_process(None, niceness)
    });
    if let Err(error) = nicer {
        debug!(%error, "background work is as urgent as any other");
    }
}

/// Runs `open` on a thread of its own, so that the threads which it starts work in the background for good.
///
/// # Panics
/// When `open` does.
pub(super) fn with_background_threads<T: Send>(open: impl FnOnce() -> T + Send) -> T {
    let run = || {
        step_back();
        open()
    };
    thread::scope(|scope| scope.spawn(run).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_the_background_are_nicer_and_others_are_not() {
        let here = getpriority_process(None).unwrap();
        let niceness = || getpriority_process(None).unwrap();
        let (opener, started) = with_background_threads(|| {
            (niceness(), thread::scope(|scope| scope.spawn(niceness).join().unwrap()))
        });
        assert_eq!(opener, (here + NICENESS).min(NICENESS_MAX));
        assert_eq!(started, opener);
        assert_eq!(niceness(), here);
    }
}
