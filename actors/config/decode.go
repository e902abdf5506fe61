package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/maquis-go/maquis/internal/nearest"
)

// decoder fills one layer from the nodes of one source, and collects what is
// wrong with them.
type decoder struct {
	layer    *Config
	from     Origin // of the source
	trusted  bool   // secrets may stand here in clear
	problems []Problem
	text     []byte // of the source
	visits   int
	depth    int // of strategies in strategies
}

// maxVisits bounds what aliases can make of a small file.
const maxVisits = 1 << 18

func (d *decoder) at(n *yaml.Node) Origin {
	o := d.from
	if o.Source == File && n != nil {
		o.Line = n.Line
	}
	return o
}

// bad reports a problem.
func (d *decoder) bad(n *yaml.Node, path, format string, args ...any) {
	switch {
	case len(d.problems) < maxProblems:
		d.problems = append(d.problems, Problem{d.at(n), path, fmt.Sprintf(format, args...)})
	case len(d.problems) == maxProblems:
		d.problems = append(d.problems, Problem{d.at(n), "", fmt.Sprintf("there are more than %d problems; the rest is not shown", maxProblems)})
	}
}

// mark remembers where a path was set.
func (d *decoder) mark(n *yaml.Node, path string) { d.layer.origins[path] = d.at(n) }

// resolve follows aliases. It is false when there are too many.
func (d *decoder) resolve(n *yaml.Node, path string) (*yaml.Node, bool) {
	if d.visits++; d.visits > maxVisits {
		if d.visits == maxVisits+1 {
			d.bad(n, path, "the aliases of this file make too much of it")
		}
		return n, false
	}
	for range 8 {
		if n.Kind != yaml.AliasNode {
			return n, true
		}
		n = n.Alias
	}
	d.bad(n, path, "an alias of aliases leads nowhere")
	return n, false
}

// what names what stands in a node.
func what(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	if n.ShortTag() == "!!null" {
		return "nothing"
	}
	return "the text " + strconv.Quote(n.Value)
}

// scalar reads a single value as it is written.
func (d *decoder) scalar(n *yaml.Node, path, want string) (string, bool) {
	n, ok := d.resolve(n, path)
	if !ok {
		return "", false
	}
	tag := n.ShortTag()
	if n.Kind != yaml.ScalarNode || tag == "!!null" {
		d.bad(n, path, "here is %s; expected %s", what(n), want)
		return "", false
	}
	if !slices.Contains([]string{"!!str", "!!int", "!!float", "!!bool", "!!timestamp"}, tag) {
		d.bad(n, path, "the tag %s is not supported; leave it out", n.Tag)
		return "", false
	}
	return n.Value, true
}

// items returns the nodes of a list. A single value or mapping stands for a list
// of one.
func (d *decoder) items(n *yaml.Node, path, want string) []*yaml.Node {
	n, ok := d.resolve(n, path)
	switch {
	case !ok:
		return nil
	case n.Kind == yaml.SequenceNode:
		return n.Content
	case n.ShortTag() == "!!null":
		d.bad(n, path, "here is nothing; expected %s", want)
		return nil
	}
	return []*yaml.Node{n}
}

// pair is a key of a mapping with its value.
type pair struct {
	name        string
	node, value *yaml.Node
}

// pairs returns the keys and values of a mapping, or of a list of mappings of
// one key each: that is what Elixir's keyword lists look like in YAML.
func (d *decoder) pairs(n *yaml.Node, path string) []pair {
	n, ok := d.resolve(n, path)
	if !ok {
		return nil
	}
	content := n.Content
	if n.Kind == yaml.SequenceNode {
		content = nil
		for _, e := range n.Content {
			if e.Kind != yaml.MappingNode || len(e.Content) != 2 {
				d.bad(e, path, "here is a list; expected a mapping")
				return nil
			}
			content = append(content, e.Content...)
		}
	} else if n.Kind != yaml.MappingNode {
		d.bad(n, path, "here is %s; expected a mapping", what(n))
		return nil
	}
	var list []pair
	first := make(map[string]int)
	for i := 0; i+1 < len(content); i += 2 {
		k, ok := d.resolve(content[i], path)
		if !ok {
			return list
		}
		name := strings.TrimPrefix(k.Value, ":") // an atom
		switch {
		case k.Kind != yaml.ScalarNode || name == "" || k.ShortTag() == "!!null":
			d.bad(k, path, "here is %s; expected a key", what(k))
		case k.ShortTag() == "!!merge":
			d.bad(k, path, "merge keys are not supported; write the keys out")
		case first[name] > 0:
			d.bad(k, join(path, name), "the key stands here twice, first on line %d", first[name])
		default:
			first[name] = k.Line
			list = append(list, pair{name, k, content[i+1]})
		}
	}
	return list
}

// mapping reads a section into its keys.
func (d *decoder) mapping(n *yaml.Node, keys []key, same map[string]rename, path string) bool {
	before := len(d.problems)
	by := make(map[string]string) // which name set a key
	for _, e := range d.pairs(n, path) {
		name, value := e.name, e.value
		if r, ok := same[name]; ok {
			name = r.to
			if r.convert != nil {
				if value = r.convert(d, value, join(path, e.name)); value == nil {
					continue
				}
			}
		}
		i := slices.IndexFunc(keys, func(k key) bool { return k.name == name })
		switch {
		case i < 0:
			d.unknown(e, keys, same, path)
		case by[name] != "":
			d.bad(e.node, join(path, e.name), "%s and %s say the same; keep %s", by[name], e.name, name)
		default:
			by[name] = e.name
			d.value(keys[i], e.node, value, join(path, name))
		}
	}
	return len(d.problems) == before
}

// value reads what stands behind a key.
func (d *decoder) value(k key, at, n *yaml.Node, path string) {
	switch {
	case k.later:
		d.bad(at, path, "this is not available in this version; leave it out")
	case k.sub != nil:
		if n.ShortTag() != "!!null" { // a section of which nothing is set
			d.mapping(n, k.sub, k.same, path)
		}
	case k.read(d, n, path):
		d.mark(at, path)
	}
}

func (d *decoder) unknown(e pair, keys []key, same map[string]rename, path string) {
	var names []string
	for _, k := range keys {
		if !k.later {
			names = append(names, k.name)
		}
	}
	shown := slices.Clone(names)
	for s := range same {
		names = append(names, s)
	}
	slices.Sort(names)
	if near := nearest.Word(e.name, names); near != "" {
		d.bad(e.node, join(path, e.name), "unknown key; did you mean %s?", near)
		return
	}
	d.bad(e.node, join(path, e.name), "unknown key; here may stand %s", listed(shown))
}

// entryPath is the path of an entry of a list, found before the entry is read.
func (d *decoder) entryPath(n *yaml.Node, path, name, fallback string, i int) string {
	id := fallback
	if n.Kind == yaml.MappingNode {
		for j := 0; j+1 < len(n.Content); j += 2 {
			if v := n.Content[j+1]; n.Content[j].Value == name && v.Kind == yaml.ScalarNode && v.Value != "" {
				id = strings.TrimPrefix(v.Value, ":")
			}
		}
	}
	if id == "" {
		return index(path, i)
	}
	return path + "." + id
}

// join makes the path of a key in a section.
func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
