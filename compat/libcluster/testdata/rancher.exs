config :libcluster,
  topologies: [
    rancher_example: [
      strategy: Elixir.Cluster.Strategy.Rancher,
      config: [node_basename: "myapp", polling_interval: 10_000]
    ]
  ]
