package libcluster

import (
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/maquis-go/maquis/compat/libcluster/elixir"
)

// Migrate writes libcluster's configuration, in whatever form Parse reads, as
// the part of maquis.yaml that means the same. What is computed when Elixir
// starts is left blank, and a note and a comment say what is to be written
// there. The error is that of Parse, but for those blanks.
func Migrate(config []byte) (maquis []byte, notes []Note, err error) {
	found, err := read(config)
	if err != nil {
		return nil, nil, err
	}
	var errs []error
	topologies := &yaml.Node{Kind: yaml.MappingNode}
	for _, e := range found {
		r := e.reader()
		r.lenient, r.blanks = true, make(map[string]string)
		// What is blank is read as if it were there.
		strategy := r.topologyWithBlanks()
		notes = append(notes, r.notes...)
		errs = append(errs, r.errs...)
		if strategy != nil {
			key := scalar(e.name)
			for _, n := range r.notes {
				text := n.Text
				if n.Key != "" {
					text = n.Key + ": " + text
				}
				key.HeadComment += "# " + oneLine(text) + "\n"
			}
			topologies.Content = append(topologies.Content, key, strategy)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, notes, err
	}
	doc := mapping("enable_libcluster_compat_layer", scalar("true"), "libcluster_topologies", topologies)
	doc.Content[1].Tag = "!!bool"
	if len(topologies.Content) == 0 {
		topologies.Style = yaml.FlowStyle
	}
	maquis, err = yaml.Marshal(doc)
	return maquis, notes, err
}

// topologyWithBlanks checks the entry and returns its YAML, or nil.
func (r *reader) topologyWithBlanks() *yaml.Node {
	r.topology()
	if r.strategy == nil {
		return nil
	}
	out := mapping("strategy", scalar(prefix+r.strategy.name))
	config := &yaml.Node{Kind: yaml.MappingNode}
	for _, o := range append(r.strategy.options, option{name: "maquis_port"}) {
		if why := r.blanks[o.name]; why != "" {
			blank := scalar("")
			blank.Style, blank.LineComment = yaml.DoubleQuotedStyle, "# was computed from "+oneLine(why)
			config.Content = append(config.Content, scalar(o.name), blank)
		} else if v, ok := r.config[o.name]; ok {
			config.Content = append(config.Content, scalar(o.name), toYAML(v))
		}
	}
	if len(config.Content) > 0 {
		out.Content = append(out.Content, scalar("config"), config)
	}
	return out
}

// toYAML writes a term so that fromYAML reads the same.
func toYAML(v elixir.Value) *yaml.Node {
	n := scalar(v.Text)
	switch v.Kind {
	case elixir.Integer:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: fmt.Sprint(v.Int)}
	case elixir.Bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: fmt.Sprint(v.Bool)}
	case elixir.Tuple: // an IP address
		n = scalar(dotted(v))
	case elixir.List:
		n = &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, it := range v.Items {
			n.Content = append(n.Content, toYAML(it))
		}
	}
	return n
}

func scalar(s string) *yaml.Node {
	n := new(yaml.Node)
	n.SetString(s)
	return n
}

func mapping(pairs ...any) *yaml.Node {
	m := &yaml.Node{Kind: yaml.MappingNode}
	for i := 0; i < len(pairs); i += 2 {
		m.Content = append(m.Content, scalar(pairs[i].(string)), pairs[i+1].(*yaml.Node))
	}
	return m
}
