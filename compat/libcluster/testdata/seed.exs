# As the seed design has it: under the framework's own application.
config :foundation,
  enable_libcluster_compat_layer: true,
  libcluster_topologies: [
    k8s: [
      strategy: Cluster.Strategy.Kubernetes,
      config: [kubernetes_selector: "app=myapp", kubernetes_node_basename: "myapp"]
    ]
  ]
