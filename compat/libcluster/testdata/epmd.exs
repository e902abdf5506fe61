# Nodes with names of their own, called again every 30 s.
config :libcluster,
  topologies: [
    epmd_example: [
      strategy: Elixir.Cluster.Strategy.Epmd,
      config: [
        timeout: 30_000,
        hosts: [:"app@10.0.0.1", :"app@10.0.0.2", :"app@10.0.0.3:7000"]
      ]
    ]
  ]
