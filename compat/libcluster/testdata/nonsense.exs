config :libcluster,
  topologies: [
    a: [strategy: Cluster.Strategy.Gosip],
    b: [strategy: Cluster.Strategy.Consul, config: []],
    c: [stratgy: Cluster.Strategy.Epmd],
    d: [strategy: My.Own],
    e: :nothing,
    f: [strategy: "Epmd", config: :nothing],
    g: [strategy: 7],
    h: [strategy: Cluster.Strategy.Epmd, config: [hosts: [:"@x", 5], hots: 1, timeout: -1]],
    i: [strategy: Cluster.Strategy.Epmd, config: [hosts: []]]
  ]
