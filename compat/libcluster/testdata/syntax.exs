config :libcluster,
  topologies: [
    a: [
      strategy: Cluster.Strategy.Epmd
      config: [hosts: []]
    ]
  ]
