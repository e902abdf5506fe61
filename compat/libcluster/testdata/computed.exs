config :libcluster, topologies: MyApp.topologies()
