# The keys as other strategies name them.
config :libcluster,
  topologies: [
    k8s: [
      strategy: Cluster.Strategy.Kubernetes,
      config: [mode: :dns, node_basename: "myapp", polling_interval: 10_000]
    ]
  ]
