//! What stands in the service: the znodes of the cluster, written and watched.
