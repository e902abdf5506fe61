package libcluster

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/maquis-go/maquis/compat/libcluster/elixir"
)

// Note is something of a configuration that could not be kept, or means
// something else here.
type Note struct {
	Topology, Key string // Key may be empty
	Text          string
	Line, Column  int
}

func (n Note) String() string {
	where := "topology " + n.Topology
	if n.Key != "" {
		where += ", " + n.Key
	}
	return fmt.Sprintf("line %d: %s: %s", n.Line, where, n.Text)
}

// Parse reads topologies from libcluster's own configuration, as it stands in
// config.exs, runtime.exs or an application's start function, or from the same
// in YAML:
//
//	libcluster_topologies:
//	  k8s:
//	    strategy: Cluster.Strategy.Kubernetes
//	    config: {kubernetes_selector: "app=shop", kubernetes_node_basename: shop}
//
// Strategies may be named with or without "Cluster.Strategy.". The key
// maquis_port, of every strategy, is the port that nodes listen on. The error
// names everything that is wrong, each with its line; then nothing is returned
// but the notes. Where a topology occurs twice, the last one counts.
func Parse(config []byte) ([]Topology, []Note, error) {
	found, err := read(config)
	if err != nil {
		return nil, nil, err
	}
	var list []Topology
	var notes []Note
	var errs []error
	for _, e := range found {
		r := e.reader()
		t := r.topology()
		notes = append(notes, r.notes...)
		errs = append(errs, r.errs...)
		list = append(list, t)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, notes, err
	}
	return list, notes, nil
}

// entry is a topology as it was written.
type entry struct {
	name string
	elixir.Value
	elixir.Pos
	notes []Note
}

// errNone is the error of a configuration without topologies.
var errNone = errors.New("libcluster: no topologies were found: neither `config :libcluster, topologies: [...]` nor the YAML key libcluster_topologies")

// read finds the topologies of a configuration in either form.
func read(config []byte) ([]entry, error) {
	if !utf8.Valid(config) {
		return nil, errors.New("libcluster: the configuration is no UTF-8 text")
	}
	v, is, yamlErr := readYAML(config)
	if is {
		if yamlErr != nil {
			return nil, yamlErr
		}
		return entries([]elixir.Binding{{App: "libcluster", Name: "libcluster_topologies", Value: v, Pos: v.Pos}})
	}
	src := strings.TrimPrefix(string(config), "\xef\xbb\xbf")
	if whole, err := elixir.Parse(src); err == nil && whole.Kind == elixir.List {
		if pairs, ok := whole.Keyword(); ok && len(pairs) == 1 && strings.HasSuffix(pairs[0].Key, "topologies") {
			whole = pairs[0].Value // [topologies: [...]]
		}
		return entries([]elixir.Binding{{App: "libcluster", Name: "topologies", Value: whole, Pos: whole.Pos}})
	}
	s, err := elixir.Read(src)
	if err != nil {
		return nil, fmt.Errorf("libcluster: %w", err)
	}
	found, err := s.Find("topologies", "libcluster_topologies")
	if err != nil {
		return nil, fmt.Errorf("libcluster: %w", err)
	}
	return entries(found)
}

// entries takes bindings apart. Those that other libraries may use under the
// same name are skipped where they look like none of ours.
func entries(found []elixir.Binding) ([]entry, error) {
	var list []entry
	var errs []error
	any := false
	for _, b := range found {
		pairs, ok := b.Value.Keyword()
		ours := b.App == "libcluster" || b.Name == "libcluster_topologies"
		if !ok {
			if ours {
				errs = append(errs, fmt.Errorf("libcluster: %s: %s is %s; it must be a list of topologies, as in [k8s: [strategy: …, config: […]]]", b.Value.Pos, b.Name, said(b.Value)))
			}
			continue
		}
		if !ours && !slices.ContainsFunc(pairs, func(p elixir.Pair) bool { return hasStrategy(p.Value) }) {
			continue
		}
		any = true
		for _, p := range pairs {
			e := entry{name: p.Key, Value: p.Value, Pos: p.Pos}
			if i := slices.IndexFunc(list, func(o entry) bool { return o.name == p.Key }); i >= 0 {
				e.notes = append(e.notes, Note{p.Key, "", fmt.Sprintf("it stands in line %d too; this one counts", list[i].Pos.Line), p.Line, p.Col})
				list = slices.Delete(list, i, i+1)
			}
			list = append(list, e)
		}
	}
	// A variable that was found under its own name is no error.
	if any {
		errs = slices.DeleteFunc(errs, func(error) bool { return len(list) > 0 })
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if !any {
		return nil, errNone
	}
	return list, nil
}

func hasStrategy(v elixir.Value) bool {
	pairs, _ := v.Keyword()
	return slices.ContainsFunc(pairs, func(p elixir.Pair) bool { return p.Key == "strategy" })
}

// printable reports whether all texts of a value can be written and shown.
func printable(v elixir.Value) bool {
	return !strings.ContainsFunc(v.Text, func(r rune) bool { return r == utf8.RuneError || unicode.IsControl(r) }) &&
		!slices.ContainsFunc(v.Items, func(it elixir.Value) bool { return !printable(it) })
}

// oneLine is a text for a comment.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// said is a value for an error, not too long of it.
func said(v elixir.Value) string {
	s := v.String()
	if len(s) > 60 {
		s = strings.ToValidUTF8(s[:60], "") + "…"
	}
	if v.Kind == elixir.Code {
		return "computed by " + s
	}
	return s
}
