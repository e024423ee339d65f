#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::run("kafka_partition_log", input));
