package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The names by which the seed design, Partisan and Foundation know what is
// ours by another name. They are accepted everywhere and printed as ours.

// fileNames are keys of the seed's configuration at the top. There is one peer
// service manager and one channel manager here: naming them has no effect, but
// for Partisan's managers that stand for an overlay.
var fileNames = map[string]rename{
	"partisan_peer_service_manager":                {to: "overlays", convert: overlaysOfManager},
	"partisan_pluggable_peer_service_manager_name": {to: "overlays", convert: anyName},
	"partisan_channel_manager":                     {to: "channels", convert: channelManager},
}

// managers of Partisan that stand for no overlay.
var managers = []string{"Partisan.PeerService.Manager", "partisan_pluggable_peer_service_manager"}

// managerKinds are Partisan's managers that stand for an overlay.
var managerKinds = map[string]string{
	"partisan_hyparview_peer_service_manager": "hyparview", "partisan_hyparview_xbot_peer_service_manager": "xbot",
	"partisan_client_server_peer_service_manager": "clientserver", "partisan_static_peer_service_manager": "static",
}

func overlaysOfManager(d *decoder, n *yaml.Node, path string) *yaml.Node {
	s, ok := d.scalar(n, path, "the name of a manager")
	name := strings.TrimPrefix(strings.TrimPrefix(s, ":"), "Elixir.")
	kind := managerKinds[name]
	switch {
	case !ok || slices.Contains(managers, name):
	case kind == "":
		all := slices.Sorted(maps.Keys(managerKinds))
		all = append(slices.Clone(managers), all...)
		d.bad(n, path, "there is no %q here; use one of %s", s, strings.Join(all, ", "))
	default:
		return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: n.Line, Content: []*yaml.Node{instead(n, "kind"), instead(n, kind)}}
	}
	return nil
}

func channelManager(d *decoder, n *yaml.Node, path string) *yaml.Node {
	if s, ok := d.scalar(n, path, "the name of a manager"); ok && strings.TrimPrefix(s, "Elixir.") != "Partisan.Channel.Manager" {
		d.bad(n, path, "there is no %q here; use Partisan.Channel.Manager, or leave it out", s)
	}
	return nil
}

func anyName(d *decoder, n *yaml.Node, path string) *yaml.Node {
	_, _ = d.scalar(n, path, "a name")
	return nil
}

// overlaySettings are Partisan's and the seed's names of HyParView's settings.
var overlaySettings = map[string]rename{
	"active_random_walk_len":  {to: "arwl"},
	"passive_random_walk_len": {to: "prwl"},
	"active_view_size":        {to: "active_size"},
	"passive_view_size":       {to: "passive_size"},
	"active_max_size":         {to: "active_size"},
	"passive_max_size":        {to: "passive_size"},
	"shuffle_interval":        {to: "shuffle"},
}

// overlayNames: the seed names an overlay's module.
var overlayNames = map[string]rename{"module": {to: "kind", convert: kindOfModule}, "kind": {to: "kind", convert: kindOfModule}}

// channelNames are Partisan's, the seed's and Foundation's names.
var channelNames = map[string]rename{
	"parallelism":       {to: "lanes"},
	"max_connections":   {to: "lanes"},
	"parallel_dispatch": {to: "lanes", convert: lanesOfParallel},
	"buffer_size":       {to: "max_queue_len"},
	"reliability":       {to: "delivery"},
	"monotonic":         {to: "ordering", convert: orderingOfMonotonic},
}

var deliveryWords = map[string]string{"best_effort": "at_most_once", "guaranteed": "at_least_once"}

// parallelLanes is what parallel_dispatch: true means. Our choice.
const parallelLanes = 4

// instead returns a node of another value in the same place.
func instead(n *yaml.Node, value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value, Line: n.Line, Column: n.Column}
}

// boolean reads true or false.
func boolean(d *decoder, n *yaml.Node, path string) (value, ok bool) {
	s, ok := d.scalar(n, path, "true or false")
	if !ok {
		return false, false
	}
	if s != "true" && s != "false" {
		d.bad(n, path, "%q is neither true nor false", s)
		return false, false
	}
	return s == "true", true
}

func lanesOfParallel(d *decoder, n *yaml.Node, path string) *yaml.Node {
	many, ok := boolean(d, n, path)
	switch {
	case !ok:
		return nil
	case many:
		return instead(n, strconv.Itoa(parallelLanes))
	}
	return instead(n, "1")
}

func orderingOfMonotonic(d *decoder, n *yaml.Node, path string) *yaml.Node {
	is, ok := boolean(d, n, path)
	switch {
	case !ok:
		return nil
	case is:
		return instead(n, "monotonic")
	}
	return instead(n, "fifo")
}

// modules are the names of overlays without case, underscores and prefixes.
var modules = map[string]string{
	"fullmesh": "fullmesh", "fullmembershipstrategy": "fullmesh", "hyparview": "hyparview", "hyparviewpeerservicemanager": "hyparview",
	"xbot": "xbot", "hyparviewxbotpeerservicemanager": "xbot", "scamp": "scamp", "scampv1membershipstrategy": "scamp", "scampv2membershipstrategy": "scamp",
	"clientserver": "clientserver", "clientserverpeerservicemanager": "clientserver", "static": "static", "staticpeerservicemanager": "static",
}

// moduleName drops what differs between spellings: Elixir.Partisan.Overlay.HyParView,
// partisan_hyparview_peer_service_manager, full_mesh.
func moduleName(s string) string {
	s = strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(strings.TrimPrefix(s, ":")))
	for _, prefix := range []string{"elixir.", "partisan.", "partisan", "overlay."} {
		s = strings.TrimPrefix(s, prefix)
	}
	return s
}

func kindOfModule(d *decoder, n *yaml.Node, path string) *yaml.Node {
	s, ok := d.scalar(n, path, "the name of an overlay")
	if !ok {
		return nil
	}
	if kind, ok := modules[moduleName(s)]; ok {
		return instead(n, kind)
	}
	return instead(n, s) // the key itself says what it thinks of it
}
