//! The open loop: requests leave when they are due, whether or not earlier ones have been answered. A server that
//! stalls is charged for every request that was due meanwhile, so latency is free of coordinated omission.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::spawn_local;

use super::{Pipeline, Schedule, Tally};
use crate::workload::Script;

/// The pacer's period. Requests due within one are due at its start, so this is how bursty the load is.
const TICK: Duration = Duration::from_micros(250);
/// How long to wait for the last replies.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection, whose task sleeps until there is something to read, or something to write.
struct Lane {
    pipeline: Pipeline,
    script: Script,
    task: Option<Waker>,
    failed: Option<anyhow::Error>,
}

type SharedLane = Rc<RefCell<Lane>>;

/// Sends `rate` requests a second until the schedule ends, in turn over all connections.
pub(super) async fn run(
    pipelines: Vec<(Pipeline, Script)>,
    rate: f64,
    schedule: Schedule,
    tally: &Rc<RefCell<Tally>>,
) -> anyhow::Result<()> {
    let mut lanes: Vec<SharedLane> = Vec::new();
    for (pipeline, script) in pipelines {
        let lane = Rc::new(RefCell::new(Lane { pipeline, script, task: None, failed: None }));
        spawn_local(serve(lane.clone(), tally.clone()));
        lanes.push(lane);
    }
    pace(&lanes, rate, schedule, tally).await?;

    let deadline = Instant::now() + PATIENCE;
    let waiting = || lanes.iter().map(|lane| lane.borrow().pipeline.in_flight_count()).sum::<usize>();
    while waiting() > 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
        check(&lanes)?;
    }
    tally.borrow_mut().gave_up(waiting());
    Ok(())
}

/// Hands out the requests as they become due.
async fn pace(
    lanes: &[SharedLane],
    rate: f64,
    schedule: Schedule,
    tally: &RefCell<Tally>,
) -> anyhow::Result<()> {
    let ticks = ticker();
    let (mut sent, mut lane) = (0u64, 0);
    let mut tick_at = schedule.start;
    while tick_at < schedule.end {
        ticks.notified().await;
        // After a stall every tick that was missed is made up for, each with the time at which it was due.
        let now = Instant::now();
        while tick_at <= now && tick_at < schedule.end {
            let due = ((tick_at - schedule.start).as_secs_f64() * rate) as u64;
            while sent < due && tally.borrow_mut().may_send(tick_at) {
                lanes[lane].borrow_mut().send(tick_at);
                lane = (lane + 1) % lanes.len();
                sent += 1;
            }
            tick_at += TICK;
        }
        check(lanes)?;
    }
    Ok(())
}

impl Lane {
    fn send(&mut self, due: Instant) {
        self.pipeline.push(due, |out| self.script.append_next(out));
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }
}

/// One connection's task.
async fn serve(lane: SharedLane, tally: Rc<RefCell<Tally>>) {
    poll_fn(|cx| {
        let mut lane = lane.borrow_mut();
        lane.task = Some(cx.waker().clone());
        loop {
            match lane.pipeline.poll_exchange(cx, &tally) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    lane.failed = Some(error);
                    return Poll::Ready(());
                }
            }
        }
    })
    .await;
}

fn check(lanes: &[SharedLane]) -> anyhow::Result<()> {
    lanes.iter().find_map(|lane| lane.borrow_mut().failed.take()).map_or(Ok(()), Err)
}

/// Fires every [`TICK`], from a thread of its own: tokio's timers are good to a millisecond only.
fn ticker() -> Arc<Notify> {
    let ticks = Arc::new(Notify::new());
    let weak = Arc::downgrade(&ticks);
    std::thread::spawn(move || {
        while let Some(ticks) = weak.upgrade() {
            ticks.notify_one();
            drop(ticks);
            std::thread::sleep(TICK);
        }
    });
    ticks
}
