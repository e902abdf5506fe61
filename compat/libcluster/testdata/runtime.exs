import Config

if config_env() == :prod do
  app = System.get_env("FLY_APP_NAME") || raise "FLY_APP_NAME is missing"
  config :shop, ShopWeb.Endpoint, url: [host: "#{app}.fly.dev", port: 443], check: ~r/["\[]/

  config :libcluster,
    debug: true,
    topologies: [
      k8s: [
        strategy: Cluster.Strategy.Kubernetes,
        config: [
          kubernetes_selector: System.get_env("SELECTOR"),
          kubernetes_node_basename: {:system, "BASENAME"},
          kubernetes_namespace: System.fetch_env!("NAMESPACE"),
          polling_interval: String.to_integer(System.get_env("POLL") || "5000")
        ]
      ]
    ]
end
