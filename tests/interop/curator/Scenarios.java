import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.api.transaction.CuratorTransactionResult;
import org.apache.curator.framework.recipes.atomic.AtomicValue;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.cache.NodeCache;
import org.apache.curator.framework.recipes.cache.PathChildrenCache;
import org.apache.curator.framework.recipes.cache.TreeCache;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.locks.InterProcessMultiLock;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreMutex;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.nodes.PersistentTtlNode;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.recipes.watch.PersistentWatcher;
import org.apache.curator.retry.RetryOneTime;
import org.apache.curator.x.discovery.ServiceDiscovery;
import org.apache.curator.x.discovery.ServiceDiscoveryBuilder;
import org.apache.curator.x.discovery.ServiceInstance;
import org.apache.curator.x.discovery.ServiceProvider;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.Id;
import org.apache.zookeeper.data.Stat;

/** What Curator's users do. {@code Scenarios HOST:PORT} ends with 0 if every scenario passes, and names those that do not. */
public class Scenarios {
    private static final long LIMIT_S = 20;
    private static String server;

    interface Scenario {
        void run(CuratorFramework one, CuratorFramework other) throws Exception;
    }

    public static void main(String[] args) throws Exception {
        server = args[0];
        List<String> failed = new ArrayList<>();
        failed.addAll(check("znodes", Scenarios::znodes));
        failed.addAll(check("transactions", Scenarios::transactions));
        failed.addAll(check("acls", Scenarios::acls));
        failed.addAll(check("containers", Scenarios::containers));
        failed.addAll(check("ttl nodes", Scenarios::ttlNodes));
        failed.addAll(check("persistent nodes", Scenarios::persistentNodes));
        failed.addAll(check("leader latch", Scenarios::leaderLatch));
        failed.addAll(check("leader selector", Scenarios::leaderSelector));
        failed.addAll(check("mutexes", Scenarios::mutexes));
        failed.addAll(check("read-write lock", Scenarios::readWriteLock));
        failed.addAll(check("semaphore", Scenarios::semaphore));
        failed.addAll(check("barriers", Scenarios::barriers));
        failed.addAll(check("counters", Scenarios::counters));
        failed.addAll(check("queue", Scenarios::queue));
        failed.addAll(check("group member", Scenarios::groupMember));
        failed.addAll(check("curator cache", Scenarios::curatorCache));
        failed.addAll(check("older caches", Scenarios::olderCaches));
        failed.addAll(check("persistent watcher", Scenarios::persistentWatcher));
        failed.addAll(check("service discovery", Scenarios::serviceDiscovery));
        failed.addAll(check("sessions that expire", Scenarios::sessions));
        if (!failed.isEmpty()) {
            System.out.println("failed: " + failed);
        }
        System.exit(failed.isEmpty() ? 0 : 1);
    }

    private static List<String> check(String name, Scenario scenario) {
        long started = System.nanoTime();
        try (CuratorFramework one = connect(); CuratorFramework other = connect()) {
            scenario.run(one, other);
            System.out.printf("ok      %s (%d ms)%n", name, (System.nanoTime() - started) / 1_000_000);
            return List.of();
        } catch (Throwable thrown) {
            System.out.println("FAILED  " + name);
            thrown.printStackTrace(System.out);
            return List.of(name);
        }
    }

    private static CuratorFramework connect() throws Exception {
        CuratorFramework client = CuratorFrameworkFactory.newClient(server, 5000, 10000, new RetryOneTime(200));
        client.start();
        require(client.blockUntilConnected((int) LIMIT_S, TimeUnit.SECONDS), "connected");
        return client;
    }

    private static void require(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError("not so: " + what);
        }
    }

    private static void eventually(Callable<Boolean> condition, String what) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(LIMIT_S);
        while (!condition.call()) {
            require(System.nanoTime() < deadline, what);
            Thread.sleep(10);
        }
    }

    private static void znodes(CuratorFramework zk, CuratorFramework other) throws Exception {
        Stat stat = new Stat();
        String path = zk.create().storingStatIn(stat).creatingParentsIfNeeded().forPath("/znodes/a/b", "x".getBytes());
        require(path.equals("/znodes/a/b") && stat.getDataLength() == 1, "created with its stat");
        require(zk.setData().withVersion(0).forPath(path, "y".getBytes()).getVersion() == 1, "set");
        require(new String(other.getData().storingStatIn(stat).forPath(path)).equals("y"), "read by another");
        try {
            zk.delete().withVersion(7).forPath(path);
            throw new AssertionError("a wrong version was accepted");
        } catch (KeeperException.BadVersionException expected) {
            require(expected.getPath().equals(path), "the path is told");
        }
        zk.create().orSetData().forPath(path, "z".getBytes());
        String protectedPath = zk.create().withProtection().withMode(CreateMode.EPHEMERAL_SEQUENTIAL).forPath("/znodes/p-");
        require(protectedPath.startsWith("/znodes/_c_"), "protected: " + protectedPath);
        require(zk.checkExists().creatingParentsIfNeeded().forPath("/znodes/q/r") == null, "missing");
        CountDownLatch done = new CountDownLatch(1);
        zk.create().inBackground((client, event) -> done.countDown()).forPath("/znodes/background");
        require(done.await(LIMIT_S, TimeUnit.SECONDS), "created in the background");
        zk.delete().deletingChildrenIfNeeded().forPath("/znodes");
        require(zk.checkExists().forPath("/znodes") == null, "deleted");
    }

    private static void transactions(CuratorFramework zk, CuratorFramework other) throws Exception {
        List<CuratorTransactionResult> results = zk.transaction().forOperations(
            zk.transactionOp().create().forPath("/tx", "1".getBytes()),
            zk.transactionOp().create().withMode(CreateMode.PERSISTENT_SEQUENTIAL).forPath("/tx/s-"),
            zk.transactionOp().setData().withVersion(0).forPath("/tx", "2".getBytes()),
            zk.transactionOp().check().withVersion(1).forPath("/tx"));
        require(results.get(1).getResultPath().equals("/tx/s-0000000000"), "" + results.get(1).getResultPath());
        require(results.get(2).getResultStat().getVersion() == 1, "set");
        try {
            zk.transaction().forOperations(
                zk.transactionOp().create().forPath("/tx/never"), zk.transactionOp().delete().forPath("/tx/nope"));
            throw new AssertionError("committed");
        } catch (KeeperException.NoNodeException expected) {
            require(expected.getResults().size() == 2, "a result for each part");
        }
        require(zk.checkExists().forPath("/tx/never") == null, "rolled back");
    }

    private static void acls(CuratorFramework zk, CuratorFramework stranger) throws Exception {
        zk.getZookeeperClient().getZooKeeper().addAuthInfo("digest", "user:password".getBytes());
        zk.create().withACL(ZooDefs.Ids.CREATOR_ALL_ACL).forPath("/acl", "x".getBytes());
        try {
            stranger.getData().forPath("/acl");
            throw new AssertionError("a stranger read it");
        } catch (KeeperException.NoAuthException expected) {
            require(expected.getPath().equals("/acl"), "the path is told");
        }
        List<ACL> local = List.of(new ACL(ZooDefs.Perms.READ, new Id("ip", "127.0.0.1")));
        zk.setACL().withVersion(0).withACL(local).forPath("/acl");
        require(new String(stranger.getData().forPath("/acl")).equals("x"), "readable by address");
        require(zk.getACL().forPath("/acl").get(0).getId().getScheme().equals("ip"), "acl");
    }

    private static void containers(CuratorFramework zk, CuratorFramework other) throws Exception {
        zk.create().creatingParentContainersIfNeeded().forPath("/container/child");
        zk.delete().forPath("/container/child");
        eventually(() -> other.checkExists().forPath("/container") == null, "an empty container goes");
    }

    private static void ttlNodes(CuratorFramework zk, CuratorFramework other) throws Exception {
        zk.create().withTtl(500).withMode(CreateMode.PERSISTENT_WITH_TTL).forPath("/ttl", "x".getBytes());
        require(other.checkExists().forPath("/ttl") != null, "it is there");
        eventually(() -> other.checkExists().forPath("/ttl") == null, "its time is over");
        try (PersistentTtlNode node = new PersistentTtlNode(zk, "/ttl-kept", 1000, "x".getBytes())) {
            node.start();
            require(node.waitForInitialCreate(LIMIT_S, TimeUnit.SECONDS), "created");
            Stat first = other.checkExists().forPath("/ttl-kept");
            eventually(() -> other.checkExists().forPath("/ttl-kept").getPzxid() > first.getPzxid(), "touched");
        }
    }

    private static void persistentNodes(CuratorFramework zk, CuratorFramework other) throws Exception {
        try (PersistentNode node = new PersistentNode(zk, CreateMode.EPHEMERAL, false, "/persistent", "x".getBytes())) {
            node.start();
            require(node.waitForInitialCreate(LIMIT_S, TimeUnit.SECONDS), "created");
            long czxid = other.checkExists().forPath("/persistent").getCzxid();
            other.delete().forPath("/persistent");
            eventually(() -> {
                Stat stat = other.checkExists().forPath("/persistent");
                return stat != null && stat.getCzxid() > czxid;
            }, "it comes back");
        }
        eventually(() -> other.checkExists().forPath("/persistent") == null, "closed, it goes");
    }

    private static void leaderLatch(CuratorFramework one, CuratorFramework other) throws Exception {
        LeaderLatch first = new LeaderLatch(one, "/latch", "first");
        first.start();
        require(first.await(LIMIT_S, TimeUnit.SECONDS), "the first leads");
        try (LeaderLatch second = new LeaderLatch(other, "/latch", "second")) {
            second.start();
            eventually(() -> first.getParticipants().size() == 2, "two participants");
            require(!second.hasLeadership() && second.getLeader().getId().equals("first"), "one leader");
            first.close();
            require(second.await(LIMIT_S, TimeUnit.SECONDS), "the second follows");
        }
    }

    private static void leaderSelector(CuratorFramework one, CuratorFramework other) throws Exception {
        AtomicInteger leaders = new AtomicInteger();
        AtomicInteger terms = new AtomicInteger();
        List<LeaderSelector> selectors = new ArrayList<>();
        for (CuratorFramework client : List.of(one, other)) {
            LeaderSelector selector = new LeaderSelector(client, "/selector", new LeaderSelectorListenerAdapter() {
                @Override
                public void takeLeadership(CuratorFramework me) throws Exception {
                    require(leaders.incrementAndGet() == 1, "one at a time");
                    terms.incrementAndGet();
                    leaders.decrementAndGet();
                }
            });
            selector.autoRequeue();
            selector.start();
            selectors.add(selector);
        }
        eventually(() -> terms.get() >= 6, "leadership goes round");
        selectors.forEach(LeaderSelector::close);
    }

    private static void mutexes(CuratorFramework one, CuratorFramework other) throws Exception {
        AtomicInteger inside = new AtomicInteger();
        AtomicInteger turns = new AtomicInteger();
        ExecutorService threads = Executors.newFixedThreadPool(4);
        List<Future<Void>> works = new ArrayList<>();
        for (CuratorFramework client : List.of(one, other, one, other)) {
            InterProcessMutex mutex = new InterProcessMutex(client, "/mutex");
            works.add(threads.submit(() -> {
                for (int turn = 0; turn < 5; turn++) {
                    mutex.acquire();
                    mutex.acquire();
                    require(inside.incrementAndGet() == 1, "alone inside");
                    turns.incrementAndGet();
                    inside.decrementAndGet();
                    mutex.release();
                    mutex.release();
                }
                return null;
            }));
        }
        for (Future<Void> work : works) {
            work.get(LIMIT_S, TimeUnit.SECONDS);
        }
        threads.shutdown();
        require(turns.get() == 20, "all had their turns");
        InterProcessMultiLock both = new InterProcessMultiLock(one, Arrays.asList("/mutex-a", "/mutex-b"));
        both.acquire();
        InterProcessSemaphoreMutex rival = new InterProcessSemaphoreMutex(other, "/mutex-c");
        require(rival.acquire(LIMIT_S, TimeUnit.SECONDS), "another lock is free");
        require(!new InterProcessMutex(other, "/mutex-b").acquire(100, TimeUnit.MILLISECONDS), "taken");
        both.release();
        rival.release();
    }

    private static void readWriteLock(CuratorFramework one, CuratorFramework other) throws Exception {
        InterProcessReadWriteLock mine = new InterProcessReadWriteLock(one, "/rw");
        InterProcessReadWriteLock theirs = new InterProcessReadWriteLock(other, "/rw");
        mine.readLock().acquire();
        require(theirs.readLock().acquire(LIMIT_S, TimeUnit.SECONDS), "readers share");
        theirs.readLock().release();
        require(!theirs.writeLock().acquire(100, TimeUnit.MILLISECONDS), "a reader keeps writers out");
        mine.readLock().release();
        require(theirs.writeLock().acquire(LIMIT_S, TimeUnit.SECONDS), "a writer alone");
        require(!mine.readLock().acquire(100, TimeUnit.MILLISECONDS), "a writer keeps readers out");
        theirs.writeLock().release();
    }

    private static void semaphore(CuratorFramework one, CuratorFramework other) throws Exception {
        InterProcessSemaphoreV2 mine = new InterProcessSemaphoreV2(one, "/semaphore", 2);
        InterProcessSemaphoreV2 theirs = new InterProcessSemaphoreV2(other, "/semaphore", 2);
        Collection<Lease> leases = mine.acquire(2, LIMIT_S, TimeUnit.SECONDS);
        require(leases != null && leases.size() == 2, "two leases");
        require(theirs.acquire(100, TimeUnit.MILLISECONDS) == null, "no third");
        mine.returnAll(leases);
        require(theirs.acquire(LIMIT_S, TimeUnit.SECONDS) != null, "returned, they are free");
    }

    private static void barriers(CuratorFramework one, CuratorFramework other) throws Exception {
        DistributedBarrier barrier = new DistributedBarrier(one, "/barrier");
        barrier.setBarrier();
        ExecutorService threads = Executors.newFixedThreadPool(2);
        Future<Boolean> waiting =
            threads.submit(() -> new DistributedBarrier(other, "/barrier").waitOnBarrier(LIMIT_S, TimeUnit.SECONDS));
        barrier.removeBarrier();
        require(waiting.get(LIMIT_S, TimeUnit.SECONDS), "passed");
        List<Future<Boolean>> members = new ArrayList<>();
        for (CuratorFramework client : List.of(one, other)) {
            DistributedDoubleBarrier both = new DistributedDoubleBarrier(client, "/double", 2);
            members.add(threads.submit(
                () -> both.enter(LIMIT_S, TimeUnit.SECONDS) && both.leave(LIMIT_S, TimeUnit.SECONDS)));
        }
        for (Future<Boolean> member : members) {
            require(member.get(2 * LIMIT_S, TimeUnit.SECONDS), "entered and left");
        }
        threads.shutdown();
    }

    private static void counters(CuratorFramework one, CuratorFramework other) throws Exception {
        DistributedAtomicLong mine = new DistributedAtomicLong(one, "/long", new RetryOneTime(10));
        DistributedAtomicLong theirs = new DistributedAtomicLong(other, "/long", new RetryOneTime(10));
        require(mine.add(40L).succeeded(), "added");
        AtomicValue<Long> sum = theirs.add(2L);
        require(sum.succeeded() && sum.preValue() == 40 && sum.postValue() == 42, "the sum");
        try (SharedCount a = new SharedCount(one, "/shared", 1); SharedCount b = new SharedCount(other, "/shared", 1)) {
            a.start();
            b.start();
            require(a.trySetCount(a.getVersionedValue(), 5), "set");
            eventually(() -> b.getCount() == 5, "seen by the other");
        }
    }

    private static void queue(CuratorFramework one, CuratorFramework other) throws Exception {
        SimpleDistributedQueue mine = new SimpleDistributedQueue(one, "/queue");
        SimpleDistributedQueue theirs = new SimpleDistributedQueue(other, "/queue");
        for (String item : List.of("a", "b", "c")) {
            require(mine.offer(item.getBytes()), "offered");
        }
        require(new String(theirs.peek()).equals("a") && new String(theirs.take()).equals("a"), "in order");
        require(new String(theirs.poll(LIMIT_S, TimeUnit.SECONDS)).equals("b"), "in order");
        require(new String(theirs.remove()).equals("c") && theirs.poll() == null, "empty");
    }

    private static void groupMember(CuratorFramework one, CuratorFramework other) throws Exception {
        try (GroupMember a = new GroupMember(one, "/group", "a", "A".getBytes())) {
            a.start();
            GroupMember b = new GroupMember(other, "/group", "b", "B".getBytes());
            b.start();
            eventually(() -> a.getCurrentMembers().size() == 2, "two members");
            b.close();
            eventually(() -> a.getCurrentMembers().keySet().equals(java.util.Set.of("a")), "one left");
        }
    }

    private static void curatorCache(CuratorFramework zk, CuratorFramework other) throws Exception {
        other.create().creatingParentsIfNeeded().forPath("/cc/a", "1".getBytes());
        ConcurrentLinkedQueue<String> events = new ConcurrentLinkedQueue<>();
        try (CuratorCache cache = CuratorCache.build(zk, "/cc")) {
            CountDownLatch initialized = new CountDownLatch(1);
            cache.listenable().addListener(CuratorCacheListener.builder()
                .forCreates(node -> events.add("+" + node.getPath()))
                .forChanges((old, node) -> events.add("=" + node.getPath()))
                .forDeletes(node -> events.add("-" + node.getPath()))
                .forInitialized(initialized::countDown).build());
            cache.start();
            require(initialized.await(LIMIT_S, TimeUnit.SECONDS), "initialized");
            require(events.containsAll(List.of("+/cc", "+/cc/a")), "what was there: " + events);
            other.create().forPath("/cc/a/b");
            other.setData().forPath("/cc/a", "2".getBytes());
            other.delete().forPath("/cc/a/b");
            eventually(() -> events.containsAll(List.of("+/cc/a/b", "=/cc/a", "-/cc/a/b")), "what came: " + events);
            require(new String(cache.get("/cc/a").get().getData()).equals("2"), "cached");
        }
    }

    @SuppressWarnings("deprecation")
    private static void olderCaches(CuratorFramework zk, CuratorFramework other) throws Exception {
        other.create().creatingParentsIfNeeded().forPath("/old/a", "1".getBytes());
        try (NodeCache node = new NodeCache(zk, "/old/a");
                PathChildrenCache children = new PathChildrenCache(zk, "/old", true);
                TreeCache tree = new TreeCache(zk, "/old")) {
            node.start(true);
            children.start(PathChildrenCache.StartMode.BUILD_INITIAL_CACHE);
            tree.start();
            require(new String(node.getCurrentData().getData()).equals("1"), "node");
            require(children.getCurrentData().size() == 1, "children");
            other.setData().forPath("/old/a", "2".getBytes());
            other.create().creatingParentsIfNeeded().forPath("/old/b/c", "deep".getBytes());
            eventually(() -> new String(node.getCurrentData().getData()).equals("2"), "node changed");
            eventually(() -> children.getCurrentData().size() == 2, "a child more");
            eventually(() -> tree.getCurrentData("/old/b/c") != null, "deep in the tree");
            other.delete().deletingChildrenIfNeeded().forPath("/old/b");
            eventually(() -> tree.getCurrentData("/old/b") == null, "gone from the tree");
        }
    }

    private static void persistentWatcher(CuratorFramework zk, CuratorFramework other) throws Exception {
        ConcurrentLinkedQueue<String> events = new ConcurrentLinkedQueue<>();
        try (PersistentWatcher watcher = new PersistentWatcher(zk, "/pw", true)) {
            watcher.getListenable().addListener(event -> {
                if (event.getType() != EventType.None) {
                    events.add(event.getType() + event.getPath());
                }
            });
            CountDownLatch set = new CountDownLatch(1);
            watcher.getResetListenable().addListener(set::countDown);
            watcher.start();
            require(set.await(LIMIT_S, TimeUnit.SECONDS), "the watch is set");
            other.create().forPath("/pw");
            other.create().forPath("/pw/a");
            other.setData().forPath("/pw/a", "x".getBytes());
            other.delete().forPath("/pw/a");
            List<String> wanted =
                List.of("NodeCreated/pw", "NodeCreated/pw/a", "NodeDataChanged/pw/a", "NodeDeleted/pw/a");
            eventually(() -> new ArrayList<>(events).equals(wanted), "in order: " + events);
        }
    }

    private static void serviceDiscovery(CuratorFramework one, CuratorFramework other) throws Exception {
        ServiceInstance<Void> instance =
            ServiceInstance.<Void>builder().name("web").address("10.0.0.1").port(80).build();
        try (ServiceDiscovery<Void> here =
                    ServiceDiscoveryBuilder.builder(Void.class).client(one).basePath("/sd").thisInstance(instance).build();
                ServiceDiscovery<Void> there =
                    ServiceDiscoveryBuilder.builder(Void.class).client(other).basePath("/sd").build()) {
            here.start();
            there.start();
            require(there.queryForNames().contains("web"), "named");
            try (ServiceProvider<Void> provider = there.serviceProviderBuilder().serviceName("web").build()) {
                provider.start();
                eventually(() -> provider.getInstance() != null, "provided");
                require(provider.getInstance().getPort() == 80, "its port");
            }
            here.unregisterService(instance);
            eventually(() -> there.queryForInstances("web").isEmpty(), "unregistered");
        }
    }

    /** A client falls silent: its session must expire, its ephemeral go, and the client start another. */
    private static void sessions(CuratorFramework one, CuratorFramework other) throws Exception {
        one.create().withMode(CreateMode.EPHEMERAL).forPath("/mine");
        long id = one.getZookeeperClient().getZooKeeper().getSessionId();
        AtomicReference<String> states = new AtomicReference<>("");
        one.getConnectionStateListenable().addListener((client, state) -> states.updateAndGet(all -> all + state + " "));
        one.getZookeeperClient().getZooKeeper().getTestable().injectSessionExpiration();
        eventually(() -> other.checkExists().forPath("/mine") == null, "the ephemeral went with its session");
        eventually(() -> states.get().contains("LOST") && states.get().endsWith("RECONNECTED "), "lost: " + states);
        require(one.getZookeeperClient().getZooKeeper().getSessionId() != id, "another session");
    }
}
