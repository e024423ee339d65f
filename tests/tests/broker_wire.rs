//! What Kafka's clients rely on below their requests: which bytes `ApiVersions` may have, that a producer without
//! acknowledgements is never answered, that answers come in the order of requests, and what becomes of broken frames.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::process::wait_until;
use tests::zkbroker::Cluster;

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const METADATA: i16 = 3;
const API_VERSIONS: i16 = 18;

const UNSUPPORTED_VERSION: i16 = 35;
const UNSUPPORTED_COMPRESSION_TYPE: i16 = 76;

const LIMIT: Duration = Duration::from_secs(20);
/// How long a fetch is willing to wait: longer than the test waits for its answer.
const PARKED_MS: i32 = 60_000;

/// A batch of the one record `k` = `v`, as producers send it.
const BATCH: [u8; 70] = [
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 58, 0, 0, 0, 0, 2, 0xe9, 0x9b, 0x8d, 0xd8, 0, 0, 0, 0, 0, 0, 0, 0, 1,
    0x8b, 0xcf, 0xe5, 0x68, 0, 0, 0, 1, 0x8b, 0xcf, 0xe5, 0x68, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 16, 0, 0, 0, 2, b'k', 2, b'v', 0,
];

#[test]
fn an_unknown_version_of_api_versions_is_answered_in_the_first_and_the_connection_goes_on() -> Result<()> {
    let mut cluster = broker()?;
    let mut client = Wire::connect(cluster.brokers()[0].address())?;
    client.send(API_VERSIONS, 99, 1, &[])?;
    let mut answer = client.receive(1)?;
    ensure!(answer.int16()? == UNSUPPORTED_VERSION, "another error: {answer:?}");
    let apis = answer.int32()?;
    ensure!(apis >= 1, "no range is told: {answer:?}");
    let ranges = (0..apis).map(|_| Ok([answer.int16()?, answer.int16()?, answer.int16()?]));
    let ranges: Vec<_> = ranges.collect::<Result<_>>()?;
    ensure!(ranges.contains(&[API_VERSIONS, 0, 3]), "the range of ApiVersions is not among {ranges:?}");
    ensure!(answer.bytes.is_empty(), "more than version 0 has: {answer:?}");

    client.send(API_VERSIONS, 0, 2, &[])?;
    ensure!(client.receive(2)?.int16()? == 0);
    Ok(())
}

#[test]
fn api_versions_has_neither_tags_in_its_head_nor_tagged_fields() -> Result<()> {
    let mut cluster = broker()?;
    let mut client = Wire::connect(cluster.brokers()[0].address())?;
    // Compact strings: the client's name and version.
    client.send_flexible(API_VERSIONS, 3, 7, b"\x02a\x02b\0")?;
    let mut answer = client.receive(7)?;
    ensure!(answer.int16()? == 0, "the error does not come first: {answer:?}");
    let apis = answer.int8()? - 1;
    for _ in 0..apis {
        let [_key, min, max] = [answer.int16()?, answer.int16()?, answer.int16()?];
        ensure!(0 <= min && min <= max && answer.int8()? == 0, "not an API: {answer:?}");
    }
    ensure!(answer.int32()? == 0, "throttled: {answer:?}");
    ensure!(answer.bytes == [0], "tagged fields, which librdkafka before 2.2 does not get over: {answer:?}");
    Ok(())
}

#[test]
fn a_producer_that_wants_no_acknowledgement_is_sent_none() -> Result<()> {
    let mut cluster = broker()?;
    let mut client = Wire::connect(cluster.brokers()[0].address())?;
    client.create(b"t")?;
    client.send(PRODUCE, 3, 1, &produce(b"t", 0))?;
    client.send(PRODUCE, 3, 2, &produce(b"t", 0))?;
    client.send(PRODUCE, 3, 3, &produce(b"t", 1))?;
    let mut answer = client.receive(3)?;
    // One topic, `t`; one partition, 0; no error; and the offset behind the two that were not acknowledged.
    answer.skip(4 + 3 + 4 + 4)?;
    ensure!(answer.int16()? == 0, "an error: {answer:?}");
    ensure!(answer.int64()? == 2, "another offset: {answer:?}");
    Ok(())
}

/// Of its batch no more is read than its head.
#[test]
fn a_producer_too_old_for_zstd_is_told_so() -> Result<()> {
    const CODEC: usize = 22;
    let mut cluster = broker()?;
    let mut client = Wire::connect(cluster.brokers()[0].address())?;
    client.create(b"t")?;
    let mut request = produce(b"t", 1);
    let batch_at = request.len() - BATCH.len();
    request[batch_at + CODEC] = 4;
    client.send(PRODUCE, 3, 1, &request)?;
    let mut answer = client.receive(1)?;
    answer.skip(4 + 3 + 4 + 4)?;
    ensure!(answer.int16()? == UNSUPPORTED_COMPRESSION_TYPE, "another error: {answer:?}");
    Ok(())
}

#[test]
fn a_topic_that_is_shown_to_be_led_takes_records_at_once() -> Result<()> {
    let mut cluster = broker()?;
    let mut client = Wire::connect(cluster.brokers()[0].address())?;
    for number in b'a'..=b'p' {
        client.create(&[number])?;
        client.send(PRODUCE, 3, 1, &produce(&[number], 1))?;
        let mut answer = client.receive(1)?;
        answer.skip(4 + 3 + 4 + 4)?;
        ensure!(answer.int16()? == 0, "refused: {answer:?}");
    }
    Ok(())
}

#[test]
fn answers_come_in_the_order_of_requests_though_a_fetch_waits_and_other_connections_go_on() -> Result<()> {
    let mut cluster = broker()?;
    let address = cluster.brokers()[0].address();
    let (mut consumer, mut producer) = (Wire::connect(address)?, Wire::connect(address)?);
    consumer.create(b"t")?;
    consumer.send(FETCH, 4, 1, &fetch())?;
    consumer.send(API_VERSIONS, 0, 2, &[])?;

    producer.send(API_VERSIONS, 0, 3, &[])?;
    producer.receive(3)?;
    producer.send(PRODUCE, 3, 4, &produce(b"t", 1))?;
    producer.receive(4)?;
    let fetched = consumer.receive(1)?;
    ensure!(fetched.bytes.ends_with(&BATCH[16..]), "the record is not in {fetched:?}");
    consumer.receive(2)?;
    Ok(())
}

#[test]
fn whoever_sends_a_broken_frame_is_disconnected_and_nobody_else() -> Result<()> {
    let mut cluster = broker()?;
    let address = cluster.brokers()[0].address();
    let mut bystander = Wire::connect(address)?;
    let broken: [&[u8]; 6] = [
        &[0x7f, 0xff, 0xff, 0xff],                          // Longer than any request may be.
        &[0xff, 0xff, 0xff, 0xff],                          // A length below zero.
        &[0, 0, 0, 4, 0, 18, 0, 0],                         // A head that ends too soon.
        &[0, 0, 0, 10, 0x7f, 0xff, 0, 0, 0, 0, 0, 1, 0, 0], // An API that nobody has.
        &[0, 0, 0, 10, 0, 3, 0, 99, 0, 0, 0, 1, 0, 0],      // A version that is not offered.
        &[0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0, 0, 0x7f, 0xff, 0xff, 0xff], // More topics than bytes.
    ];
    for bytes in broken {
        let mut client = Wire::connect(address)?;
        client.stream.write_all(bytes)?;
        ensure!(client.is_disconnected()?, "an answer to {bytes:?}");
        bystander.send(API_VERSIONS, 0, 1, &[])?;
        bystander.receive(1)?;
    }
    Ok(())
}

fn broker() -> Result<Cluster> {
    Cluster::start(1, "auto.create.topics.enable=true\n")
}

/// The body of a produce request, version 3: [`BATCH`] to partition 0 of the topic, whose name has one letter.
fn produce(topic: &[u8], acks: i16) -> Vec<u8> {
    let transaction = (-1i16).to_be_bytes();
    let (timeout, batch) =
        (5000i32.to_be_bytes(), i32::try_from(BATCH.len()).unwrap_or(i32::MAX).to_be_bytes());
    let place = [&one()[..], &[0, 1], topic, &one(), &0i32.to_be_bytes()].concat();
    [&transaction[..], &acks.to_be_bytes(), &timeout, &place, &batch, &BATCH].concat()
}

/// The body of a fetch request, version 4: partition 0 of topic `t` from its beginning.
fn fetch() -> Vec<u8> {
    let limit = (1i32 << 20).to_be_bytes();
    let head = [&(-1i32).to_be_bytes()[..], &PARKED_MS.to_be_bytes(), &one(), &limit, &[0]].concat();
    let place = [&one()[..], b"\0\x01t", &one(), &0i32.to_be_bytes()].concat();
    [&head[..], &place, &0i64.to_be_bytes(), &limit].concat()
}

/// The length of an array of one, and other ones.
fn one() -> [u8; 4] {
    1i32.to_be_bytes()
}

/// A connection on which requests are bytes.
struct Wire {
    stream: TcpStream,
}

impl Wire {
    fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(Self { stream })
    }

    /// Has a topic created, whose name has one letter, by asking for it until it is led.
    fn create(&mut self, topic: &[u8]) -> Result<()> {
        let request = [&b"\0\0\0\x01\0\x01"[..], topic, &[1]].concat();
        // Its name, that it is not internal, and its first and only partition without an error.
        let led = [&b"\0\x01"[..], topic, b"\0\0\0\0\x01\0\0"].concat();
        let is_led = wait_until(LIMIT, || {
            let asked = self.send(METADATA, 4, 0, &request);
            let answer = asked.and_then(|()| self.receive(0));
            answer.is_ok_and(|answer| answer.bytes.windows(led.len()).any(|bytes| bytes == led))
        });
        ensure!(is_led, "the topic is not led after {LIMIT:?}");
        Ok(())
    }

    /// A request whose head has no tags.
    fn send(&mut self, key: i16, version: i16, correlation: i32, body: &[u8]) -> Result<()> {
        self.send_frame(&[&head(key, version, correlation), body].concat())
    }

    /// A request whose head has none, but could.
    fn send_flexible(&mut self, key: i16, version: i16, correlation: i32, body: &[u8]) -> Result<()> {
        self.send_frame(&[&head(key, version, correlation), &[0][..], body].concat())
    }

    fn send_frame(&mut self, frame: &[u8]) -> Result<()> {
        let length = i32::try_from(frame.len())?.to_be_bytes();
        Ok(self.stream.write_all(&[&length, frame].concat())?)
    }

    /// The next answer, which must be that to the request `correlation`.
    fn receive(&mut self, correlation: i32) -> Result<Answer> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).context("no answer")?;
        let mut bytes = vec![0; usize::try_from(i32::from_be_bytes(length))?];
        self.stream.read_exact(&mut bytes)?;
        let mut answer = Answer { bytes };
        let answered = answer.int32()?;
        ensure!(answered == correlation, "answer {answered} where {correlation} was to come");
        Ok(answer)
    }

    fn is_disconnected(&mut self) -> Result<bool> {
        match self.stream.read(&mut [0]) {
            Ok(count) => Ok(count == 0),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

fn head(key: i16, version: i16, correlation: i32) -> Vec<u8> {
    let client = 0i16.to_be_bytes();
    [&key.to_be_bytes()[..], &version.to_be_bytes(), &correlation.to_be_bytes(), &client].concat()
}

/// What is left of an answer.
#[derive(Debug)]
struct Answer {
    bytes: Vec<u8>,
}

impl Answer {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        ensure!(self.bytes.len() >= N, "the answer ends too soon");
        let rest = self.bytes.split_off(N);
        let taken = std::mem::replace(&mut self.bytes, rest);
        Ok(taken.as_slice().try_into()?)
    }

    fn skip(&mut self, count: usize) -> Result<()> {
        (0..count).try_for_each(|_| self.int8().map(drop))
    }

    fn int8(&mut self) -> Result<i8> {
        self.take().map(i8::from_be_bytes)
    }

    fn int16(&mut self) -> Result<i16> {
        self.take().map(i16::from_be_bytes)
    }

    fn int32(&mut self) -> Result<i32> {
        self.take().map(i32::from_be_bytes)
    }

    fn int64(&mut self) -> Result<i64> {
        self.take().map(i64::from_be_bytes)
    }
}
