# The addresses as tuples, and broadcast.
config :libcluster,
  topologies: [
    gossip_example: [
      strategy: Cluster.Strategy.Gossip,
      config: [
        port: 45_892,
        if_addr: {0, 0, 0, 0},
        multicast_addr: {255, 255, 255, 255},
        broadcast_only: true,
        secret: "somepassword"
      ]
    ]
  ]
