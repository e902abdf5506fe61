config :libcluster,
  topologies: [dns: [strategy: Cluster.Strategy.DNSPoll, config: [node_basename: "my-app"]]]
