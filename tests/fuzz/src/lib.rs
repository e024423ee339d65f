//! What libFuzzer's targets share: they run functions of [`tests::fuzz`] with little memory.

use std::alloc::System;
use std::panic;
use std::sync::Once;

use cap::Cap;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// Runs the target `name`. An allocation beyond what `input` pays for fails, which ends the process: a finding.
pub fn run(name: &str, input: &[u8]) {
    static TELL: Once = Once::new();
    TELL.call_once(|| {
        let tell = panic::take_hook();
        // There is room to tell of a finding.
        panic::set_hook(Box::new(move |finding| {
            let _ = MEMORY.set_limit(usize::MAX);
            tell(finding);
        }));
    });
    let target = tests::fuzz::target(name);
    let room = target.bytes_besides + target.bytes_per_input_byte * input.len();
    MEMORY.set_limit(MEMORY.allocated() + room).expect("the limit is above what is allocated");
    (target.run)(input);
    MEMORY.set_limit(usize::MAX).expect("the limit is the largest");
}
