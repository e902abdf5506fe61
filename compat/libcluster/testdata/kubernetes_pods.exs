config :libcluster,
  topologies: [
    k8s: [
      strategy: Cluster.Strategy.Kubernetes,
      config: [
        mode: :dns,
        kubernetes_ip_lookup_mode: :pods,
        kubernetes_node_basename: "myapp",
        kubernetes_selector: "app=myapp,tier!=test",
        kubernetes_master: "api.other.svc",
        maquis_port: 7000
      ]
    ]
  ]
