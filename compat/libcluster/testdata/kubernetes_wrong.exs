config :libcluster,
  topologies: [
    k8s: [
      strategy: Cluster.Strategy.Kubernetes,
      config: [
        mode: :hostnames,
        kubernetes_node_basename: "a",
        kubernetes_selector: 5,
        kubernetes_ip_lookup_mode: "podz",
        kubernetes_use_cached_resources: "yes",
        kubernetes_service_account_path: "creds",
        polling_interval: "5s",
        maquis_port: 0
      ]
    ],
    hostname: [
      strategy: Cluster.Strategy.Kubernetes,
      config: [mode: :hostname, kubernetes_node_basename: "a", kubernetes_selector: "b"]
    ]
  ]
