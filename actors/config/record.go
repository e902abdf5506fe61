package config

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// records is a key of a list of mappings that have no names: a layer replaces
// the list. item reads one; keys are its keys, for output.
func records[T any](name string, p *[]T, doc string, entry []key, item func(d *decoder, n *yaml.Node, path string, v *T) bool, fields func(*T) map[string]any) key {
	return key{
		name: name, kind: "list", doc: doc, ptr: p, entry: entry,
		read: func(d *decoder, n *yaml.Node, path string) bool {
			var list []T
			good := true
			for i, e := range d.items(n, path, "a list") {
				var v T
				ok := item(d, e, index(path, i), &v)
				d.mark(e, index(path, i))
				good = good && ok
				list = append(list, v)
			}
			*p = list
			return good
		},
		take: func(from any, _ string, _, _ origins) { *p = append([]T(nil), *from.(*[]T)...) },
		show: func() any {
			out := make([]any, 0)
			for i := range *p {
				out = append(out, fields(&(*p)[i]))
			}
			return out
		},
	}
}

// shown returns what is set of some keys, as it is written.
func shown(keys []key) map[string]any {
	m := make(map[string]any)
	for _, k := range keys {
		if k.sub == nil && k.isSet() {
			m[k.name] = k.show()
		}
	}
	return m
}

// Rule puts messages on a channel; see channelmgr.RoutingRule.
type Rule struct {
	Types            []string
	MinSize, MaxSize int
	Urgency          []string // of Priorities
	Channel          string
}

func (r *Rule) keys() []key {
	return []key{
		texts("types", &r.Types, "names of message types; unset: all", nil),
		size("min_size", &r.MinSize, "smaller messages are not meant"),
		size("max_size", &r.MaxSize, "larger messages are not meant"),
		texts("urgency", &r.Urgency, "of the send, "+strings.Join(Priorities, ", ")+"; unset: any", urgency),
		label("channel", &r.Channel, "where the message goes", short),
	}
}

func urgency(s string) string {
	for _, p := range Priorities {
		if p == s {
			return ""
		}
	}
	return "there is no " + strconv.Quote(s) + " (" + strings.Join(Priorities, ", ") + ")"
}

func rules(p *[]Rule) key {
	var none Rule
	return records("channel_rules", p, "which channel messages travel on that name none, first match first", none.keys(),
		func(d *decoder, n *yaml.Node, path string, r *Rule) bool {
			ok := d.mapping(n, r.keys(), nil, path)
			if ok && r.Channel == "" {
				d.bad(n, path, "channel is missing")
				return false
			}
			return ok
		},
		func(r *Rule) map[string]any { return shown(r.keys()) })
}
