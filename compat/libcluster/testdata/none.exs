import Config
config :shop, topologies: [:a, :b]
