//! The script's steps, and the notes taken of them.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use jute::proto::{ConnectRequest, ConnectResponse, RequestHeader, xid};
use jute::{ErrorCode, Jute, Op};

use super::line::{Came, Line};
use super::mask::Mask;
use super::words;

/// The script's connections.
pub const A: usize = 0;
/// See [`A`].
pub const B: usize = 1;
/// See [`A`].
pub const C: usize = 2;

/// Long enough for no session to expire while the script runs.
const SESSION_TIMEOUT_MS: i32 = 60_000;

/// Errors behind which a server closes the connection: no such operation, or credentials that are not accepted.
const ENDS: [i32; 2] = [ErrorCode::Unimplemented.code(), ErrorCode::AuthFailed.code()];

/// One thing the script did, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was sent, and where.
    pub sent: String,
    /// What came back, line by line.
    pub came: Vec<String>,
}

#[derive(Debug)]
struct Client {
    line: Line,
    session: ConnectResponse,
    last_xid: i32,
    /// Requests without an answer: xid and op code.
    pending: VecDeque<(i32, i32)>,
    /// It was told something behind which the server closes.
    ends: bool,
}

/// Drives connections, and notes.
#[derive(Debug)]
pub struct Script {
    address: SocketAddr,
    clients: Vec<Option<Client>>,
    mask: Mask,
    steps: Vec<Step>,
}

impl Script {
    /// Finds out where zxids stand.
    pub(super) fn start(address: SocketAddr) -> Result<Self> {
        let mut script = Self { address, clients: Vec::new(), mask: Mask::new(0), steps: Vec::new() };
        script.connect(A)?;
        script.count_from_here(A)?;
        script.leave(A)?;
        script.steps.clear();
        script.clients.clear();
        Ok(script)
    }

    /// Zxids are counted from the newest there is. After what takes a zxid from one server and none from the other, their
    /// counts agree again.
    pub fn count_from_here(&mut self, who: usize) -> Result<()> {
        let newest = self.newest_zxid(who)?;
        self.mask.count_from(newest);
        Ok(())
    }

    /// The newest zxid there is. No events may be under way to `who`.
    pub fn newest_zxid(&mut self, who: usize) -> Result<i64> {
        let client = self.client(who);
        client.line.send_frame(&header(xid::PING, Op::Ping.code()));
        let Came::Frame(frame) = client.line.receive()? else {
            anyhow::bail!("no answer to a ping");
        };
        let (reply, _) = words::split(frame).map_err(|_| anyhow::anyhow!("a ping's reply has a header"))?;
        ensure!(reply.xid == xid::PING, "an event under way");
        Ok(reply.zxid)
    }

    /// What was sent last.
    pub(super) fn last_sent(&self) -> Option<&str> {
        self.steps.last().map(|step| step.sent.as_str())
    }

    /// Ends what is left.
    pub(super) fn finish(mut self) -> Result<Vec<Step>> {
        for who in 0..self.clients.len() {
            self.retire(who)?;
        }
        Ok(self.steps)
    }

    /// Closes the session that `who` still has, if any, and takes no note of it: one that expired later would take a zxid
    /// out of another scenario.
    fn retire(&mut self, who: usize) -> Result<()> {
        let noted = self.steps.len();
        if let Some(client) = self.clients.get_mut(who).and_then(Option::take)
            && client.session.timeout_ms > 0
        {
            let session = client.session.clone();
            if client.line.is_closed() {
                self.resume(who, &session)?;
            } else {
                self.clients[who] = Some(client);
            }
            if self.clients[who].is_some() {
                self.leave(who)?;
            }
        }
        self.clients.get_mut(who).map(Option::take);
        self.steps.truncate(noted);
        Ok(())
    }

    /// Opens a session. The one that `who` had before ends.
    pub fn connect(&mut self, who: usize) -> Result<()> {
        self.retire(who)?;
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout_ms: SESSION_TIMEOUT_MS,
            session_id: 0,
            password: Some(Bytes::from_static(&[0; 16])),
        };
        self.shake_hands(who, &request, Some(false))?;
        ensure!(self.clients[who].is_some(), "no session was granted");
        Ok(())
    }

    /// Sends any first frame; `read_only` is `None` for a client of before 3.4.
    pub fn shake_hands(
        &mut self,
        who: usize,
        request: &ConnectRequest,
        read_only: Option<bool>,
    ) -> Result<()> {
        let mut payload = request.to_bytes().to_vec();
        payload.extend(read_only.map(u8::from));
        let mut line = Line::connect(self.address)?;
        line.send_frame(&payload);
        let masked = ConnectRequest { session_id: i64::from(request.session_id != 0), ..request.clone() };
        let sent = format!("{} connect {masked:?} read_only={read_only:?}", name(who));
        let came = match line.receive()? {
            Came::Frame(frame) => self.welcome(who, line, frame)?,
            other => vec![outcome(&other)],
        };
        self.steps.push(Step { sent, came });
        Ok(())
    }

    fn welcome(&mut self, who: usize, mut line: Line, frame: Bytes) -> Result<Vec<String>> {
        let response = ConnectResponse::from_bytes(&frame).context("the answer to a handshake")?;
        let tail = frame.slice(response.encoded_len()..);
        let password = response.password.as_ref().map(Bytes::len);
        let zeros = response.password.as_ref().is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0));
        let mut came = vec![format!(
            "welcome version={} timeout_ms={} session={} password={password:?} zeros={zeros} tail={}",
            response.protocol_version,
            response.timeout_ms,
            if response.session_id == 0 { "none" } else { "some" },
            words::raw(&tail),
        )];
        if response.timeout_ms == 0 {
            came.push(outcome(&line.receive()?));
            return Ok(came);
        }
        self.mask.add_session(response.session_id);
        if self.clients.len() <= who {
            self.clients.resize_with(who + 1, || None);
        }
        self.clients[who] =
            Some(Client { line, session: response, last_xid: 0, pending: VecDeque::new(), ends: false });
        Ok(came)
    }

    /// Continues `session` on a new connection.
    pub fn resume(&mut self, who: usize, session: &ConnectResponse) -> Result<()> {
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout_ms: SESSION_TIMEOUT_MS,
            session_id: session.session_id,
            password: session.password.clone(),
        };
        // Its password is not the same twice.
        let from = self.steps.len();
        self.shake_hands(who, &request, Some(false))?;
        self.steps[from].sent = format!("{} resumes its session", name(who));
        Ok(())
    }

    /// The session of a connection.
    pub fn session(&self, who: usize) -> ConnectResponse {
        self.clients[who].as_ref().expect("the script connected it").session.clone()
    }

    /// Closes the session, and waits until the server has closed the connection.
    pub fn leave(&mut self, who: usize) -> Result<()> {
        let session = self.session(who);
        self.ask_raw(who, Op::CloseSession.code(), &[])?;
        self.is_open(who)?;
        let client = self.client(who);
        client.session = ConnectResponse { timeout_ms: 0, ..session };
        Ok(())
    }

    /// Sends a request, and notes all that comes up to its reply.
    pub fn ask(&mut self, who: usize, op: Op, body: &(impl Jute + Debug)) -> Result<()> {
        let xid = self.post(who, op.code(), &body.to_bytes());
        self.collect(who, xid, format!("{} {op:?} {body:?}", name(who)))
    }

    /// The same with a body that may be no record.
    pub fn ask_raw(&mut self, who: usize, op: i32, body: &[u8]) -> Result<()> {
        let xid = self.post(who, op, body);
        let op = Op::from_code(op).map_or_else(|| format!("op {op}"), |op| format!("{op:?}"));
        self.collect(who, xid, format!("{} {op} {}", name(who), words::raw(&Bytes::copy_from_slice(body))))
    }

    /// The same with an xid that numbers no request.
    pub fn ask_as(&mut self, who: usize, xid: i32, op: Op, body: &(impl Jute + Debug)) -> Result<()> {
        let client = self.client(who);
        client.pending.push_back((xid, op.code()));
        client.line.send_frame(&[header(xid, op.code()), body.to_bytes().to_vec()].concat());
        self.collect(who, xid, format!("{} {op:?} {body:?} as {xid}", name(who)))
    }

    /// The same with a body for which there is a shorter description.
    pub fn ask_described(&mut self, who: usize, op: Op, body: &[u8], what: &str) -> Result<()> {
        let xid = self.post(who, op.code(), body);
        self.collect(who, xid, format!("{} {op:?} {what}", name(who)))
    }

    /// Sends a request cut into single bytes, each in a packet of its own if the network has it so.
    pub fn ask_in_pieces(&mut self, who: usize, op: Op, body: &(impl Jute + Debug)) -> Result<()> {
        let client = self.client(who);
        client.last_xid += 1;
        let xid = client.last_xid;
        client.pending.push_back((xid, op.code()));
        let payload = [header(xid, op.code()), body.to_bytes().to_vec()].concat();
        let len = i32::try_from(payload.len()).expect("scripts send short frames");
        for byte in [&len.to_be_bytes()[..], &payload].concat() {
            client.line.send(&[byte]);
        }
        self.collect(who, xid, format!("{} {op:?} {body:?} in pieces", name(who)))
    }

    /// Sends requests at once, the last of which ends the session, and others behind it. What comes behind the end is not
    /// noted: whether a reply to those leaves before the connection closes is a matter of luck.
    pub fn leave_amid(&mut self, who: usize, before: &[(Op, Bytes)], behind: &[(Op, Bytes)]) -> Result<()> {
        for (op, body) in before {
            self.post(who, op.code(), body);
        }
        let farewell = self.post(who, Op::CloseSession.code(), &[]);
        for (op, body) in behind {
            self.post(who, op.code(), body);
        }
        let ops = |requests: &[(Op, Bytes)]| requests.iter().map(|(op, _)| *op).collect::<Vec<_>>();
        let sent = format!("{} at once: {:?}, CloseSession, {:?}", name(who), ops(before), ops(behind));
        self.collect(who, farewell, sent)?;
        let client = self.client(who);
        client.session.timeout_ms = 0;
        client.line.receive_all()?;
        ensure!(client.line.is_closed(), "the connection stays");
        Ok(())
    }

    /// Cuts the connection. The session stays, until it expires.
    pub fn cut(&mut self, who: usize) -> ConnectResponse {
        self.clients[who].take().expect("the script connected it").session
    }

    /// Sends bytes on a connection of their own, and notes what comes, up to the server's closing.
    pub fn send_bytes_first(&mut self, bytes: &[u8]) -> Result<()> {
        let mut line = Line::connect(self.address)?;
        line.send(bytes);
        let answer = line.receive_all()?;
        let end = if line.is_closed() { "closed" } else { "silence" };
        let sent = format!("a new connection sends {}", words::raw(&Bytes::copy_from_slice(bytes)));
        self.steps.push(Step { sent, came: vec![words::raw(&answer), end.to_owned()] });
        Ok(())
    }

    /// Sends several requests at once, and notes all that comes up to the last reply.
    pub fn ask_all(&mut self, who: usize, requests: &[(Op, Bytes)]) -> Result<()> {
        let last = requests.iter().map(|(op, body)| self.post(who, op.code(), body)).last();
        let ops: Vec<Op> = requests.iter().map(|(op, _)| *op).collect();
        self.collect(who, last.context("there is a request")?, format!("{} at once: {ops:?}", name(who)))
    }

    /// Sends bytes as they are, and notes what comes, up to the server's closing.
    pub fn send_bytes(&mut self, who: usize, bytes: &[u8]) -> Result<()> {
        self.client(who).line.send(bytes);
        let sent = format!("{} sends {}", name(who), words::raw(&Bytes::copy_from_slice(bytes)));
        let came = self.receive_until(who, |_| false)?;
        self.steps.push(Step { sent, came });
        Ok(())
    }

    /// Notes the events that have come, which a ping brings in; or that the connection is closed.
    pub fn events(&mut self, who: usize) -> Result<()> {
        self.client(who).line.send_frame(&header(xid::PING, Op::Ping.code()));
        let came = self.receive_until(who, |xid| xid == xid::PING)?;
        self.steps.push(Step { sent: format!("{} pings", name(who)), came });
        Ok(())
    }

    /// Notes whether the server has closed the connection, or closes it now. Where it has said what it closes behind, a ping
    /// could still be answered before it does.
    pub fn is_open(&mut self, who: usize) -> Result<()> {
        let client = self.client(who);
        if !client.ends {
            client.line.send_frame(&header(xid::PING, Op::Ping.code()));
        }
        let came = self.receive_until(who, |xid| xid == xid::PING)?;
        self.steps.push(Step { sent: format!("is {} open?", name(who)), came });
        Ok(())
    }

    /// Notes the next event, which only time brings about.
    pub fn next_event(&mut self, who: usize) -> Result<()> {
        let came = self.receive_until(who, |xid| xid == xid::NOTIFICATION)?;
        self.steps.push(Step { sent: format!("{} waits for an event", name(who)), came });
        Ok(())
    }

    /// Asks a four-letter word and notes the answer, its digits masked.
    pub fn word(&mut self, word: &str) -> Result<()> {
        let mut line = Line::connect(self.address)?;
        line.send(word.as_bytes());
        let answer = line.receive_all()?;
        let came = String::from_utf8_lossy(&answer).lines().map(without_numbers).collect();
        self.steps.push(Step { sent: format!("the word {word}"), came });
        Ok(())
    }

    fn client(&mut self, who: usize) -> &mut Client {
        self.clients[who].as_mut().expect("the script connected it")
    }

    fn post(&mut self, who: usize, op: i32, body: &[u8]) -> i32 {
        let client = self.client(who);
        client.last_xid += 1;
        let xid = client.last_xid;
        client.pending.push_back((xid, op));
        client.line.send_frame(&[&header(xid, op)[..], body].concat());
        xid
    }

    fn collect(&mut self, who: usize, xid: i32, sent: String) -> Result<()> {
        let came = self.receive_until(who, |found| found == xid)?;
        self.steps.push(Step { sent, came });
        Ok(())
    }

    /// Notes frames up to one whose xid is `last`, or the connection's end.
    fn receive_until(&mut self, who: usize, last: impl Fn(i32) -> bool) -> Result<Vec<String>> {
        let mut came = Vec::new();
        loop {
            let client = self.clients[who].as_mut().expect("the script connected it");
            let frame = match client.line.receive()? {
                Came::Frame(frame) => frame,
                other => {
                    came.push(outcome(&other));
                    return Ok(came);
                }
            };
            let (header, body) = match words::split(frame) {
                Ok(split) => split,
                Err(frame) => {
                    came.push(words::raw(&frame));
                    continue;
                }
            };
            if header.xid == xid::NOTIFICATION {
                came.extend(words::event(header, &body, &self.mask));
            } else {
                let asked = client.pending.iter().position(|(xid, _)| *xid == header.xid);
                let op = asked.and_then(|at| client.pending.remove(at)).map_or(0, |(_, op)| op);
                client.ends |= op == Op::CloseSession.code() || ENDS.contains(&header.err);
                came.extend(words::reply(header, body, op, &self.mask));
            }
            if last(header.xid) {
                return Ok(came);
            }
        }
    }
}

fn header(xid: i32, op: i32) -> Vec<u8> {
    RequestHeader { xid, op }.to_bytes().to_vec()
}

fn name(who: usize) -> char {
    ['A', 'B', 'C'][who]
}

fn outcome(came: &Came) -> String {
    match came {
        Came::Frame(frame) => words::raw(frame),
        Came::Closed => "closed".to_owned(),
        Came::Silence => "silence".to_owned(),
    }
}

/// Runs of digits become one `#`, and so do hexadecimal numbers.
fn without_numbers(line: &str) -> String {
    let mut out = String::new();
    for char in line.chars() {
        match char {
            _ if char.is_ascii_hexdigit() && out.ends_with("0x#") => {}
            _ if char.is_ascii_hexdigit() && out.ends_with("#x") => out.replace_range(out.len() - 2.., "0x#"),
            '0'..='9' if out.ends_with('#') => {}
            '0'..='9' => out.push('#'),
            _ => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::without_numbers;

    #[test]
    fn numbers_are_masked_to_their_last_digit() {
        assert_eq!(without_numbers("Zxid: 0x1fa, 12.5/3 of 0xb"), "Zxid: 0x#, #.#/# of 0x#");
    }
}
