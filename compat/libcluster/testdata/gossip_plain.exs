config :libcluster, topologies: [test: [strategy: Cluster.Strategy.Gossip]]
