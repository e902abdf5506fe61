# The option as libcluster's documentation once had it, and a resolver.
config :libcluster,
  topologies: [
    fly6pn: [
      strategy: Cluster.Strategy.DNSPoll,
      config: [
        poll_interval: :timer.seconds(5),
        query: "my-app.internal",
        node_basename: "my-app",
        resolver: &MyApp.Resolver.lookup/1
      ]
    ]
  ]
