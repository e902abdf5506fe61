config :libcluster,
  topologies: [k8s: [strategy: Cluster.Strategy.Kubernetes.DNS, config: [service: nil]]]
