import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.retry.RetryForever;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

/**
 * One session that works through whatever happens to the ensemble: {@code Session plain|curator HOST:PORT,..}
 *
 * <p>Prints {@code ready}, then for each value that it reads {@code seen VALUE} once its watches on /news have shown it and
 * everything that it holds is still its own, and {@code done COUNT} after the last one. Ends with 0 if nothing was
 * lost or done twice.
 */
public class Session {
    private static final int TIMEOUT_MS = 20000;
    private static final long LIMIT_S = 30;

    /** What is different between the two libraries. */
    interface Holder extends AutoCloseable {
        ZooKeeper client() throws Exception;

        /** Whether all that it watches has shown {@code news}. */
        boolean hasSeen(String news);

        /** Whether what must be its own is its own. */
        boolean holdsAll() throws Exception;

        /** Lets go, and finds that others get what it had. */
        void release() throws Exception;
    }

    public static void main(String[] args) throws Exception {
        String root = "/" + args[0];
        try (Holder holder = args[0].equals("plain") ? new Plain(args[1], root) : new Recipes(args[1], root)) {
            long session = holder.client().getSessionId();
            Counter counter = new Counter(holder.client(), root + "/count");
            counter.start();
            System.out.println("ready");
            BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
            for (String news = input.readLine(); news != null; news = input.readLine()) {
                String value = news;
                await(() -> holder.hasSeen(value), value + " is shown");
                long before = counter.count;
                await(() -> counter.failure != null || counter.count > before, "the counting goes on");
                require(counter.failure == null, "counting: " + counter.failure);
                require(holder.client().getSessionId() == session, "the session is the same");
                require(holder.holdsAll(), "what it holds is its own");
                System.out.println("seen " + value);
            }
            counter.ends = true;
            counter.join(LIMIT_S * 1000);
            String count = new String(holder.client().getData(root + "/count", false, null));
            require(counter.failure == null && count.equals("" + counter.count), count + " is " + counter.count);
            holder.release();
            System.out.println("done " + count);
        } catch (Throwable thrown) {
            thrown.printStackTrace(System.out);
            System.exit(1);
        }
        System.exit(0);
    }

    /** Java's own client: an ephemeral, a watch that is set anew whenever it fires, one that stays. */
    static class Plain implements Holder {
        private final Set<String> shown = ConcurrentHashMap.newKeySet();
        private final CountDownLatch connected = new CountDownLatch(1);
        private final ZooKeeper client;
        private final String root;
        private volatile int changes;

        Plain(String servers, String root) throws Exception {
            this.root = root;
            client = new ZooKeeper(servers, TIMEOUT_MS, event -> {
                if (event.getState() == Watcher.Event.KeeperState.SyncConnected) {
                    connected.countDown();
                }
            });
            require(connected.await(LIMIT_S, TimeUnit.SECONDS), "connected");
            client.create(root, null, ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
            client.create(root + "/count", "0".getBytes(), ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
            client.create(root + "/here", null, ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL);
            client.addWatch("/news", this::onChange, AddWatchMode.PERSISTENT);
            look(null);
        }

        private void onChange(WatchedEvent event) {
            if (event.getType() == Watcher.Event.EventType.NodeDataChanged) {
                changes++;
            }
        }

        /** Reads, and watches for the next change. */
        private void look(WatchedEvent event) {
            client.getData("/news", this::look, (code, path, context, data, stat) -> {
                if (code == KeeperException.Code.CONNECTIONLOSS.intValue()) {
                    look(null);
                } else if (code == KeeperException.Code.OK.intValue()) {
                    shown.add(new String(data));
                }
            }, null);
        }

        @Override
        public ZooKeeper client() {
            return client;
        }

        @Override
        public boolean hasSeen(String news) {
            return shown.contains(news) && changes > 0;
        }

        @Override
        public boolean holdsAll() throws Exception {
            Stat stat = persistently(() -> client.exists(root + "/here", false));
            return stat != null && stat.getEphemeralOwner() == client.getSessionId();
        }

        @Override
        public void release() {}

        @Override
        public void close() throws Exception {
            client.close();
        }
    }

    /** Curator: a mutex and a latch, each with a rival, and a cache. */
    static class Recipes implements Holder {
        private final Set<String> shown = ConcurrentHashMap.newKeySet();
        private final CountDownLatch overtaken = new CountDownLatch(1);
        private final CuratorFramework client;
        private final CuratorFramework rival;
        private final CuratorCache cache;
        private final InterProcessMutex mutex;
        private final LeaderLatch latch;
        private final LeaderLatch rivalsLatch;

        Recipes(String servers, String root) throws Exception {
            client = connect(servers);
            rival = connect(servers);
            client.create().forPath(root);
            client.create().forPath(root + "/count", "0".getBytes());
            cache = CuratorCache.build(client, "/news", CuratorCache.Options.SINGLE_NODE_CACHE);
            cache.listenable().addListener(CuratorCacheListener.builder()
                    .forCreatesAndChanges((old, node) -> shown.add(new String(node.getData())))
                    .build());
            cache.start();
            latch = new LeaderLatch(client, root + "/latch", "one");
            latch.start();
            require(latch.await(LIMIT_S, TimeUnit.SECONDS), "a latch that nobody has");
            rivalsLatch = new LeaderLatch(rival, root + "/latch", "rival");
            rivalsLatch.start();
            mutex = new InterProcessMutex(client, root + "/mutex");
            require(mutex.acquire(LIMIT_S, TimeUnit.SECONDS), "a mutex that nobody has");
            Thread waiting = new Thread(() -> {
                try {
                    new InterProcessMutex(rival, root + "/mutex").acquire();
                    overtaken.countDown();
                } catch (Exception failure) {
                    failure.printStackTrace(System.out);
                }
            });
            waiting.setDaemon(true);
            waiting.start();
            await(() -> quietly(() -> mutex.getParticipantNodes().size() == 2), "the rival waits");
        }

        private static CuratorFramework connect(String servers) throws Exception {
            CuratorFramework client = CuratorFrameworkFactory.newClient(servers, TIMEOUT_MS, 10000, new RetryForever(20));
            client.start();
            require(client.blockUntilConnected((int) LIMIT_S, TimeUnit.SECONDS), "connected");
            return client;
        }

        @Override
        public ZooKeeper client() throws Exception {
            return client.getZookeeperClient().getZooKeeper();
        }

        @Override
        public boolean hasSeen(String news) {
            return shown.contains(news);
        }

        @Override
        public boolean holdsAll() throws Exception {
            // A latch lets go while its session is without a server, and must get it back before the rival does.
            await(latch::hasLeadership, "the latch is its own again");
            return overtaken.getCount() == 1 && mutex.isOwnedByCurrentThread() && !rivalsLatch.hasLeadership();
        }

        @Override
        public void release() throws Exception {
            mutex.release();
            require(overtaken.await(LIMIT_S, TimeUnit.SECONDS), "the rival gets the mutex at last");
            latch.close();
            require(rivalsLatch.await(LIMIT_S, TimeUnit.SECONDS), "the rival gets the latch at last");
        }

        @Override
        public void close() {
            cache.close();
            rival.close();
            client.close();
        }
    }

    /** Counts up for as long as it may; what it was not told it looks up, so nothing counts twice. */
    static class Counter extends Thread {
        private final ZooKeeper client;
        private final String path;
        volatile long count;
        volatile boolean ends;
        volatile Throwable failure;

        Counter(ZooKeeper client, String path) {
            this.client = client;
            this.path = path;
            setDaemon(true);
        }

        @Override
        public void run() {
            try {
                int version = 0;
                while (!ends) {
                    version = set("" + (count + 1), version);
                    count++;
                }
            } catch (Throwable thrown) {
                failure = thrown;
            }
        }

        private int set(String data, int version) throws Exception {
            boolean isLost = false;
            while (true) {
                try {
                    return client.setData(path, data.getBytes(), version).getVersion();
                } catch (KeeperException.ConnectionLossException lost) {
                    isLost = true;
                    Thread.sleep(10);
                } catch (KeeperException.BadVersionException done) {
                    require(isLost, "nobody else counts");
                    Stat stat = new Stat();
                    String found = new String(persistently(() -> client.getData(path, false, stat)));
                    require(found.equals(data) && stat.getVersion() == version + 1, found + " is where " + data + " was written");
                    return stat.getVersion();
                }
            }
        }
    }

    interface Call<T> {
        T now() throws Exception;
    }

    /** A call that may be repeated. */
    static <T> T persistently(Call<T> call) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(LIMIT_S);
        while (true) {
            try {
                return call.now();
            } catch (KeeperException.ConnectionLossException lost) {
                require(System.nanoTime() < deadline, "connected again");
                Thread.sleep(10);
            }
        }
    }

    static boolean quietly(Call<Boolean> call) {
        try {
            return call.now();
        } catch (Exception failure) {
            return false;
        }
    }

    static void await(BooleanSupplier condition, String what) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(LIMIT_S);
        while (!condition.getAsBoolean()) {
            require(System.nanoTime() < deadline, what);
            Thread.sleep(5);
        }
    }

    static void require(boolean condition, String what) {
        if (!condition) {
            throw new AssertionError(what);
        }
    }
}
