//! All sockets to other servers, and the turns they get on the thread that owns them.

use std::fmt;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::task::yield_now;

use super::desk::{Desk, Order};
use super::hub::Hub;
use super::links::Links;
use super::mesh::Mesh;
use super::ports::Doors;
use super::relay::Relay;
use super::{Deliver, Part, QuorumPorts, QuorumSettings};
use crate::zab::LinkWork;

/// What opens a rim's sockets; it may go to the thread that is to own them.
pub struct QuorumStart {
    pub(super) settings: QuorumSettings,
    pub(super) ports: QuorumPorts,
    pub(super) deliver: Deliver,
    pub(super) desk: Arc<Desk>,
}

impl QuorumStart {
    /// Opens them here.
    ///
    /// # Errors
    /// When the kernel has no means to wait for them.
    pub fn open(self) -> io::Result<QuorumSockets> {
        let Self { settings, ports, deliver, desk } = self;
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
        let hub = Rc::new(Hub::new(settings, Arc::clone(&desk), deliver));
        let mesh = Rc::new(Mesh::new(Rc::clone(&hub)));
        let links = Rc::new(Links::new(Rc::clone(&hub)));
        let relay = Relay::new(Rc::clone(&hub));
        let doors = Rc::new(Doors::new(Rc::clone(&links), Rc::clone(&mesh)));
        runtime.block_on(async { doors.open(ports) });
        let carrier = Carrier { desk, hub, mesh, links, relay, doors, orders: Vec::new() };
        Ok(QuorumSockets { runtime: Some(runtime), carrier })
    }
}

impl fmt::Debug for QuorumStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

/// The sockets, on the thread that owns them. Nothing is read or written but in [`QuorumSockets::turn`] and
/// [`QuorumSockets::run_until`]. Dropping them closes all.
pub struct QuorumSockets {
    /// There is one until the end.
    runtime: Option<LocalRuntime>,
    carrier: Carrier,
}

/// Carries out orders.
struct Carrier {
    desk: Arc<Desk>,
    hub: Rc<Hub>,
    mesh: Rc<Mesh>,
    links: Rc<Links>,
    relay: Relay,
    doors: Rc<Doors>,
    /// In hand.
    orders: Vec<Order>,
}

impl QuorumSockets {
    /// Carries out what was ordered, and writes and reads what can be at once.
    pub fn turn(&mut self) {
        self.run_until(yield_now());
    }

    /// Carries out what is ordered, and writes and reads, until `done` completes.
    pub fn run_until<F: Future>(&mut self, done: F) -> F::Output {
        let Self { runtime: Some(runtime), carrier } = self else {
            unreachable!("it is there until the end");
        };
        runtime.block_on(async {
            let mut done = pin!(done);
            loop {
                carrier.carry_out_orders();
                tokio::select! {
                    biased; // Once more for orders that are carried out already, rather than for `done`.
                    () = carrier.desk.ordered() => {}
                    outcome = &mut done => return outcome,
                }
            }
        })
    }
}

impl Drop for QuorumSockets {
    fn drop(&mut self) {
        // Not waited for: a resolver, or a disk, may take its time.
        self.runtime.take().into_iter().for_each(LocalRuntime::shutdown_background);
    }
}

impl fmt::Debug for QuorumSockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.carrier.hub.settings.fmt(f)
    }
}

impl Carrier {
    fn carry_out_orders(&mut self) {
        self.desk.take_orders(&mut self.orders);
        for order in self.orders.drain(..) {
            match order {
                Order::Work(LinkWork::Notify { to, notification }) => self.mesh.notify(to, &notification),
                Order::Work(work) => self.links.carry_out(work),
                Order::Offer { link, snapshot } => self.links.offer(link, snapshot),
                Order::Members { members, masters, doors: moved } => {
                    self.hub.set_members(members);
                    self.hub.masters.borrow_mut().set(masters);
                    self.mesh.on_members();
                    if let Some(moved) = moved {
                        self.doors.move_to(moved);
                        self.relay.move_along();
                    }
                }
                Order::Play(part) => {
                    if part == Part::Observes {
                        self.hub.masters.borrow_mut().on_in_step();
                    }
                    self.relay.play(part);
                }
            }
        }
    }
}
