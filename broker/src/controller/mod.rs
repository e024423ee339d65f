//! One broker of the cluster, elected through the service, which chooses leaders and carries out what was asked of topics.
