defmodule Shop.Application do
  @moduledoc """
  Topologies as an application's start function has them.
  """
  use Application

  @impl true
  def start(_type, _args) do
    # topologies = Application.get_env(:libcluster, :topologies, [])
    topologies = [
      static: [
        strategy: Cluster.Strategy.Epmd,
        config: [hosts: ~w(app@one app@two)a],
        connect: {:net_kernel, :connect_node, []},
        disconnect: {:erlang, :disconnect_node, []},
        list_nodes: {:erlang, :nodes, [:connected]}
      ],
      local: [strategy: Cluster.Strategy.LocalEpmd]
    ]

    children = [
      {Cluster.Supervisor, [topologies, [name: Shop.ClusterSupervisor]]},
      {Phoenix.PubSub, name: Shop.PubSub},
      ShopWeb.Endpoint
    ]

    Supervisor.start_link(children, strategy: :one_for_one, name: Shop.Supervisor)
  end
end
