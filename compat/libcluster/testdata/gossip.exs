# Every option, the addresses as strings.
config :libcluster,
  topologies: [
    gossip_example: [
      strategy: Elixir.Cluster.Strategy.Gossip,
      config: [
        port: 45892,
        if_addr: "0.0.0.0",
        multicast_if: "192.0.2.1",
        multicast_addr: "233.252.1.32",
        multicast_ttl: 1,
        secret: "somepassword"]]]
