config :libcluster,
  topologies: [
    erlang_nodes_in_k8s: [
      strategy: Cluster.Strategy.Kubernetes,
      config: [
        mode: :hostname,
        kubernetes_node_basename: "myapp",
        kubernetes_selector: "app=myapp",
        kubernetes_service_name: "myapp-headless",
        kubernetes_cluster_name: "prod",
        kubernetes_master: "kubernetes.default.svc.",
        kubernetes_service_account_path: "/run/creds",
        kubernetes_use_cached_resources: true
      ]
    ]
  ]
