config :libcluster, topologies: [a: [strategy: Cluster.Strategy.LocalEpmd], b: [strategy: LocalEpmd]]

if config_env() == :prod do
  config :libcluster, topologies: [a: [strategy: Cluster.Strategy.Epmd, config: [hosts: [:"a@b"]]]]
end
