//! The load: connections by the hundred on few threads, each its own runtime, sharing nothing while the clock runs.

mod closed;
mod open;
mod tally;

use std::cell::RefCell;
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jute::CreateMode;
use tokio::task::{LocalSet, spawn_local};

pub(crate) use self::closed::Pipeline;
use self::tally::Summary;
pub(crate) use self::tally::Tally;
use crate::Target;
use crate::connection::Connection;
use crate::report::Report;
use crate::workload::{Kind, Mix, Numbered, Requests, Script, key_path};

/// How the load looks.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// get, set, exists, children, sync, create, delete, or shares of them such as get=90,set=10
    #[arg(long, default_value = "get")]
    ops: Mix,
    /// Connections, a session each
    #[arg(long, short, default_value = "1")]
    clients: NonZeroUsize,
    /// Requests each connection keeps on their way (closed loop)
    #[arg(long, short, default_value = "1")]
    outstanding: NonZeroUsize,
    /// Requests a second over all connections, sent on time whether or not replies come (open loop): latency then
    /// counts from when a request was due
    #[arg(long)]
    rate: Option<NonZeroUsize>,
    /// Bytes of data a znode holds
    #[arg(long, default_value_t = 100)]
    value_size: usize,
    /// Znodes that get, set and exists choose from; for delete alone, how many each connection deletes at most
    #[arg(long, default_value = "1000")]
    keys: NonZeroUsize,
    /// How long to measure
    #[arg(long, short = 't', default_value_t = 5.0)]
    seconds: f64,
    /// How long to run before that
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
    /// Stop after so many requests, without warming up
    #[arg(long)]
    count: Option<u64>,
    /// Threads of the generator
    #[arg(long, default_value = "1")]
    threads: NonZeroUsize,
    /// Take the keys as they are, rather than creating them first
    #[arg(long)]
    no_setup: bool,
}

/// When what happens.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    start: Instant,
    measure_from: Instant,
    end: Instant,
}

/// A connection and what it will ask.
struct Client {
    stream: TcpStream,
    script: Script,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Report> {
    let own = prepare(args)?;
    let clients = args.clients.get();
    let connections = Connection::open_many(&args.target, clients)?;
    let mut streams: Vec<TcpStream> = connections.into_iter().map(Connection::into_stream).collect();
    let threads = args.threads.get().min(clients);

    let warmup = if args.count.is_some() { 0.0 } else { args.warmup };
    let seconds = if args.count.is_some() { f64::from(u32::MAX) } else { args.seconds };
    // Threads need a moment to encode their requests.
    let start = Instant::now() + Duration::from_millis(50);
    let measure_from = start + Duration::from_secs_f64(warmup);
    let schedule = Schedule { start, measure_from, end: measure_from + Duration::from_secs_f64(seconds) };

    let summaries = std::thread::scope(|scope| {
        let mut workers = Vec::new();
        for thread in 0..threads {
            let share = streams.len() / (threads - thread);
            let first = clients - streams.len();
            let mine: Vec<TcpStream> = streams.drain(..share).collect();
            let own = &own;
            workers.push(scope.spawn(move || worker(args, schedule, mine, first, own)));
        }
        let joined = workers.into_iter().map(|worker| worker.join().expect("a worker does not panic"));
        joined.collect::<anyhow::Result<Vec<Summary>>>()
    })?;
    Ok(report(args, &Summary::merge(summaries)))
}

/// Creates what the requests will ask for; returns where the connections create their own znodes.
fn prepare(args: &Args) -> anyhow::Result<String> {
    let mut connection = open_root(&args.target)?;
    let root = &args.target.root;
    connection.create(&format!("{root}/keys"), b"", CreateMode::Persistent)?;
    let own = connection.create(&format!("{root}/run-"), b"", CreateMode::PersistentSequential)?;
    for client in 0..args.clients.get() {
        connection.create(&own_path(&own, client), b"", CreateMode::Persistent)?;
    }
    if args.ops.uses_keys() && !args.no_setup {
        let value = vec![b'x'; args.value_size];
        for key in 0..args.keys.get() {
            connection.create(&key_path(root, key), &value, CreateMode::Persistent)?;
        }
    }
    Ok(own)
}

/// A connection that has made sure that the target's root is there.
pub(crate) fn open_root(target: &Target) -> anyhow::Result<Connection> {
    let server = *target.addresses()?.first().context("no server was named")?;
    let mut connection = Connection::open(server, target.timeout_ms)?;
    connection.create(&target.root, b"", CreateMode::Persistent)?;
    Ok(connection)
}

fn own_path(own: &str, client: usize) -> String {
    format!("{own}/c{client:04}")
}

/// One thread: its connections, from first to last request.
fn worker(
    args: &Args,
    schedule: Schedule,
    streams: Vec<TcpStream>,
    first: usize,
    own: &str,
) -> anyhow::Result<Summary> {
    let requests = Requests::encode(&args.target.root, &args.ops, args.keys.get(), args.value_size);
    let requests = Rc::new(requests);
    let prefilled =
        if args.ops.has(Kind::Delete) && !args.ops.has(Kind::Create) { args.keys.get() } else { 0 };
    let mut clients = Vec::new();
    for (nth, stream) in streams.into_iter().enumerate() {
        let own = own_path(own, first + nth);
        let seed = (first + nth + 1) as u64;
        clients.push((
            Client { stream, script: Script::new(requests.clone(), &own, prefilled as u64, seed) },
            own,
        ));
    }
    let count = args.count.map(|count| count / args.clients.get() as u64 * clients.len() as u64);
    let tally = Rc::new(RefCell::new(Tally::new(schedule, count)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async move {
        let mut pipelines = Vec::new();
        for (Client { stream, script }, own) in clients {
            let mut pipeline = Pipeline::new(stream)?;
            prefill(&mut pipeline, &own, prefilled as u64, args.value_size).await?;
            pipelines.push((pipeline, script));
        }
        tokio::time::sleep_until(schedule.start.into()).await;
        match args.rate {
            None => closed_loop(pipelines, args.outstanding.get(), &tally).await?,
            Some(rate) => {
                let share = rate.get() as f64 * pipelines.len() as f64 / args.clients.get() as f64;
                open::run(pipelines, share, schedule, &tally).await?;
            }
        }
        Ok(tally.borrow_mut().summary())
    })
}

/// Creates what a connection is going to delete.
async fn prefill(pipeline: &mut Pipeline, own: &str, count: u64, value_size: usize) -> anyhow::Result<()> {
    let mut creates = Numbered::creates(own, &vec![b'x'; value_size].into());
    let mut left = count;
    let unmeasured = RefCell::new(Tally::unlimited());
    let next = |out: &mut Vec<u8>| {
        let more = left > 0;
        if more {
            left -= 1;
            creates.append_next(out);
        }
        more
    };
    pipeline.keep_outstanding(100, next, &unmeasured).await
}

async fn closed_loop(
    pipelines: Vec<(Pipeline, Script)>,
    outstanding: usize,
    tally: &Rc<RefCell<Tally>>,
) -> anyhow::Result<()> {
    let mut tasks = Vec::new();
    for (mut pipeline, mut script) in pipelines {
        let tally = tally.clone();
        tasks.push(spawn_local(async move {
            pipeline.keep_outstanding(outstanding, |out| script.append_next(out), &tally).await
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}

fn report(args: &Args, summary: &Summary) -> Report {
    let errors: serde_json::Map<String, serde_json::Value> =
        summary.errors.iter().map(|(code, count)| (error_name(*code), (*count).into())).collect();
    let mut report = Report::default().with("ops", args.ops.text()).with("clients", args.clients.get());
    report = match args.rate {
        None => report.with("outstanding", args.outstanding.get()),
        Some(rate) => report.with("rate_wanted", rate.get()).with("unanswered", summary.unanswered),
    };
    report
        .with("value_bytes", args.value_size)
        .with_number("seconds", summary.seconds)
        .with("requests", summary.answered)
        .with_number("per_second", summary.answered as f64 / summary.seconds)
        .with("errors", errors)
        .with_latency("latency_us", &summary.nanos)
}

fn error_name(code: i32) -> String {
    jute::ErrorCode::from_code(code).map_or_else(|| code.to_string(), |error| error.to_string())
}
