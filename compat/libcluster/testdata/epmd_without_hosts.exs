config :libcluster, topologies: [lonely: [strategy: Cluster.Strategy.Epmd]]
