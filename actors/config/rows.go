package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Row is one value that is set. Secrets are shown as where they are, or masked.
type Row struct {
	Path   string // node.name, channels.bulk.lanes
	Value  any    // text, number, list or mapping of texts, as it is written
	Origin Origin
}

// Rows returns all values that are set, in the order of the schema.
func (c *Config) Rows() []Row {
	var rows []Row
	c.each(func(path string, k key) {
		if o, ok := c.origins[path]; ok || k.isSet() {
			rows = append(rows, Row{path, k.show(), o})
		}
	})
	return rows
}

// each calls do for all keys of values, those of entries too.
func (c *Config) each(do func(path string, k key)) {
	var walk func(keys []key, path string)
	walk = func(keys []key, path string) {
		for _, k := range keys {
			at := join(path, k.name)
			switch {
			case k.later:
			case k.sub != nil:
				walk(k.sub, at)
			case k.each != nil:
				k.each(func(id string, sub []key) { walk(sub, at+"."+id) })
			default:
				do(at, k)
			}
		}
	}
	walk(c.schema(), "")
}

// YAML writes the values that are set as a cluster file, with the origin of
// each in a comment if asked for.
func (c *Config) YAML(origins bool) string {
	w := &writer{c: c, origins: origins}
	w.section(c.schema(), "", "")
	width := 0
	for _, l := range w.lines {
		width = max(width, len(l.text))
	}
	var b strings.Builder
	for _, l := range w.lines {
		if l.origin == "" || !origins {
			fmt.Fprintln(&b, l.text)
		} else {
			fmt.Fprintf(&b, "%-*s  # %s\n", min(width, 72), l.text, l.origin)
		}
	}
	return b.String()
}

type writer struct {
	c       *Config
	origins bool
	lines   []struct{ text, origin string }
}

func (w *writer) line(text, origin string) {
	w.lines = append(w.lines, struct{ text, origin string }{text, origin})
}

// section writes keys behind an indent. It returns whether there were any.
func (w *writer) section(keys []key, path, indent string) {
	for _, k := range keys {
		at := join(path, k.name)
		o, set := w.c.origins[at]
		switch {
		case k.later:
		case k.sub != nil:
			w.line(indent+k.name+":", "")
			n := len(w.lines)
			if w.section(k.sub, at, indent+"  "); len(w.lines) == n {
				w.lines = w.lines[:n-1]
			}
		case k.each != nil:
			w.line(indent+k.name+":", "")
			n := len(w.lines)
			k.each(func(id string, sub []key) {
				m := len(w.lines)
				w.section(sub, at+"."+id, indent+"    ")
				w.lines[m].text = indent + "  - " + strings.TrimLeft(w.lines[m].text, " ")
			})
			if len(w.lines) == n {
				w.lines = w.lines[:n-1]
			}
		case set || k.isSet():
			w.line(indent+k.name+": "+inline(k.show()), o.String())
		}
	}
}

// inline writes a value in one line of YAML.
func inline(v any) string {
	switch v := v.(type) {
	case []string:
		parts := make([]string, len(v))
		for i, s := range v {
			parts[i] = inlineText(s)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case map[string]string:
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, inlineText(k)+": "+inlineText(v[k]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case nil:
		return "null"
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = inline(e)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case map[string]any:
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, inlineText(k)+": "+inline(v[k]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case string:
		return inlineText(v)
	}
	return fmt.Sprint(v)
}

// inlineText quotes a text where YAML needs it, inside lists and mappings too.
func inlineText(s string) string {
	plain, err := yaml.Marshal(s)
	if t := string(bytes.TrimSpace(plain)); err == nil && t == s && !strings.ContainsAny(s, "[]{},#&*!|>'\"%@`:\n") {
		return s
	}
	b, _ := json.Marshal(s) // a JSON text is a YAML text
	return string(b)
}

// Diff returns the paths of values that differ between two configurations, and
// whether Reload can change each in a running node. Lists of mappings differ as
// a whole.
func Diff(a, b *Config) (paths []string, live []bool) {
	var walk func(a, b []key, path string)
	walk = func(a, b []key, path string) {
		for i, k := range a {
			at := join(path, k.name)
			switch {
			case k.later:
			case k.sub != nil:
				walk(k.sub, b[i].sub, at)
			case !reflect.DeepEqual(reflect.ValueOf(k.ptr).Elem().Interface(), reflect.ValueOf(b[i].ptr).Elem().Interface()) && (k.isSet() || b[i].isSet()):
				paths, live = append(paths, at), append(live, k.live)
			}
		}
	}
	walk(a.schema(), b.schema(), "")
	return paths, live
}
