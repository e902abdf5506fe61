package libcluster

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/maquis-go/maquis/compat/libcluster/elixir"
)

// maxYAML bounds a YAML configuration, in bytes, and maxDepth its nesting.
const (
	maxYAML  = 1 << 20
	maxDepth = 64
)

// yamlKeys are where topologies stand in a YAML file.
var yamlKeys = []string{"libcluster_topologies", "topologies"}

// readYAML finds the topologies of a YAML mapping. It reports false for what
// is none, which may be Elixir.
func readYAML(config []byte) (topologies elixir.Value, is bool, err error) {
	var doc yaml.Node
	if len(config) > maxYAML || yaml.Unmarshal(config, &doc) != nil || len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return elixir.Value{}, false, nil
	}
	top := doc.Content[0]
	for i := 0; i+1 < len(top.Content); i += 2 {
		for _, k := range yamlKeys {
			if top.Content[i].Value == k && top.Content[i+1].Kind == yaml.MappingNode {
				v, err := fromYAML(top.Content[i+1], 0)
				return v, true, err
			}
		}
	}
	return elixir.Value{}, false, nil
}

// fromYAML makes a term of a node: mappings become maps, texts that begin with
// a colon atoms.
func fromYAML(n *yaml.Node, depth int) (elixir.Value, error) {
	v := elixir.Value{Pos: elixir.Pos{Line: n.Line, Col: n.Column}}
	if depth > maxDepth {
		return v, fmt.Errorf("libcluster: %s: more than %d levels in one another", v.Pos, maxDepth)
	}
	switch n.Kind {
	case yaml.MappingNode:
		v.Kind = elixir.Map
		for i := 0; i+1 < len(n.Content); i += 2 {
			k, err := fromYAML(n.Content[i], depth+1)
			if err != nil {
				return v, err
			}
			k.Kind, k.Text = elixir.String, strings.TrimPrefix(n.Content[i].Value, ":")
			w, err := fromYAML(n.Content[i+1], depth+1)
			if err != nil {
				return v, err
			}
			v.Items = append(v.Items, elixir.Value{Kind: elixir.Tuple, Items: []elixir.Value{k, w}, Pos: k.Pos})
		}
	case yaml.SequenceNode:
		v.Kind = elixir.List
		for _, c := range n.Content {
			w, err := fromYAML(c, depth+1)
			if err != nil {
				return v, err
			}
			v.Items = append(v.Items, w)
		}
	case yaml.ScalarNode:
		return fromScalar(n, v), nil
	default:
		return v, fmt.Errorf("libcluster: %s: YAML aliases are not read; write the value out", v.Pos)
	}
	return v, nil
}

func fromScalar(n *yaml.Node, v elixir.Value) elixir.Value {
	v.Text = n.Value
	switch n.ShortTag() {
	case "!!null":
		v.Kind, v.Text = elixir.Nil, ""
	case "!!bool":
		if b, err := strconv.ParseBool(strings.ToLower(n.Value)); err == nil {
			v.Kind, v.Bool, v.Text = elixir.Bool, b, ""
			return v
		}
		v.Kind = elixir.String
	case "!!int":
		if i, err := strconv.ParseInt(strings.ReplaceAll(n.Value, "_", ""), 0, 64); err == nil {
			v.Kind, v.Int, v.Text = elixir.Integer, i, ""
			return v
		}
		v.Kind = elixir.String
	case "!!float":
		v.Kind = elixir.Float
	default:
		v.Kind = elixir.String
		if a, ok := strings.CutPrefix(n.Value, ":"); ok && a != "" && n.Style == 0 {
			v.Kind, v.Text = elixir.Atom, a
		}
	}
	return v
}
