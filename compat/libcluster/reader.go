package libcluster

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/maquis-go/maquis/compat/libcluster/elixir"
	"github.com/maquis-go/maquis/peerservice/discovery"
)

// reader reads one topology and gathers what is wrong with it.
type reader struct {
	entry
	strategy *strategy
	config   map[string]elixir.Value
	seen     map[string]bool // keys that were there, whatever stood behind them
	errs     []error
	lenient  bool // of migrate: what is computed becomes a note, and a blank
	blanks   map[string]string
}

func (e entry) reader() *reader {
	return &reader{entry: e, config: make(map[string]elixir.Value), seen: make(map[string]bool)}
}

func (r *reader) bad(p elixir.Pos, format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf("libcluster: %s: topology %s: %s", p, r.name, fmt.Sprintf(format, args...)))
}

func (r *reader) note(p elixir.Pos, key, format string, args ...any) {
	r.notes = append(r.notes, Note{r.name, key, fmt.Sprintf(format, args...), p.Line, p.Col})
}

// entryKeys are those of a topology.
var entryKeys = []string{"strategy", "config", "connect", "disconnect", "list_nodes", "child_spec", "start"}

// topology reads the whole entry.
func (r *reader) topology() Topology {
	t := Topology{Name: r.name}
	if r.name == "" || oneLine(r.name) != r.name {
		r.bad(r.entry.Pos, "a topology needs a name that can be printed, not %q", r.name)
		return t
	}
	pairs, ok := r.Keyword()
	if !ok {
		r.bad(r.Value.Pos, "it is %s; it must be as [strategy: …, config: […]]", said(r.Value))
		return t
	}
	var module, config *elixir.Value
	for _, p := range pairs {
		switch p.Key {
		case "strategy":
			module = &p.Value
		case "config":
			config = &p.Value
		case "connect", "disconnect", "list_nodes":
			r.note(p.Pos, p.Key, "the function %s cannot be called from Go; set Topology.%s, or leave it to Maquis", said(p.Value),
				map[string]string{"connect": "Connect", "disconnect": "Disconnect", "list_nodes": "ListNodes"}[p.Key])
		case "child_spec", "start":
			r.note(p.Pos, p.Key, "a strategy is started by its supervisor here; it has no effect")
		default:
			r.unknown(p, "a topology", entryKeys)
		}
	}
	if module == nil {
		r.bad(r.entry.Pos, "strategy is missing; use one of %s", strings.Join(strategyNames(), ", "))
		return t
	}
	if r.strategy = r.find(*module); r.strategy == nil {
		return t
	}
	if config != nil && config.Kind != elixir.Nil {
		r.read(*config)
	}
	for _, o := range r.strategy.options {
		if o.required && !r.seen[o.name] {
			r.bad(r.entry.Pos, "%s is missing; %s needs %s", o.name, r.strategy.name, o.doc)
		}
	}
	t.kind = prefix + r.strategy.name
	t.Port = r.port("maquis_port")
	t.Strategy = r.strategy.build(r, &t)
	if len(r.blanks) > 0 {
		r.errs = nil // of what is blank
	} else if len(r.errs) == 0 {
		if err := discovery.Validate(t.Strategy); err != nil {
			r.bad(r.entry.Pos, "%v", err)
		}
	}
	return t
}

func (r *reader) unknown(p elixir.Pair, of string, names []string) {
	if word := near(p.Key, names); word != "" {
		r.bad(p.Pos, "%s is no key of %s; did you mean %s?", p.Key, of, word)
		return
	}
	r.bad(p.Pos, "%s is no key of %s; there are %s", p.Key, of, strings.Join(names, ", "))
}

// read takes the options of a strategy.
func (r *reader) read(config elixir.Value) {
	pairs, ok := config.Keyword()
	if !ok {
		r.bad(config.Pos, "config is %s; it must be a list of options, as in [polling_interval: 5000]", said(config))
		return
	}
	names := []string{"maquis_port"}
	for _, o := range r.strategy.options {
		names = append(names, o.name)
	}
	for _, p := range pairs {
		key := p.Key
		if to := r.strategy.aliases[key]; to != "" {
			r.note(p.Pos, key, "%s never read it: it is taken for %s", prefix+r.strategy.name, to)
			key = to
		}
		if !slices.Contains(names, key) {
			r.unknown(p, prefix+r.strategy.name, names)
			continue
		}
		r.seen[key] = r.seen[key] || p.Value.Kind != elixir.Nil
		if why := computed(p.Value); why != "" {
			r.computed(key, p, why)
			continue
		}
		if !printable(p.Value) {
			r.bad(p.Value.Pos, "%s has characters that cannot be printed: %q", key, oneLine(said(p.Value)))
			continue
		}
		if p.Value.Kind != elixir.Nil {
			r.config[key] = p.Value
		}
	}
}

// computed says by what a value is computed, if it is.
func computed(v elixir.Value) string {
	switch {
	case v.Kind == elixir.Code && v.Env != "":
		return "the environment variable " + v.Env
	case v.Kind == elixir.Code:
		return v.Text
	case v.Kind == elixir.Tuple && len(v.Items) == 2 && v.Items[0].Kind == elixir.Atom && v.Items[0].Text == "system" && v.Items[1].Kind == elixir.String:
		return "the environment variable " + v.Items[1].Text
	}
	return ""
}

// computed settles an option whose value is known at run time only.
func (r *reader) computed(key string, p elixir.Pair, why string) {
	o := r.strategy.option(key)
	switch {
	case o.function:
		r.note(p.Pos, key, "%s cannot be called from Go; %s", why, o.instead)
	case r.lenient && (o.required || o.matters):
		r.note(p.Pos, key, "it is computed from %s: write the value", why)
		r.blanks[key] = why
	case o.required || o.matters:
		r.bad(p.Pos, "%s is computed from %s, which cannot be done here; write the value", key, why)
	default:
		r.note(p.Pos, key, "it is computed from %s, which cannot be done here; the default counts", why)
	}
}

// text reads a string or an atom.
func (r *reader) text(key string) string {
	v, ok := r.config[key]
	if !ok {
		return ""
	}
	if v.Kind != elixir.String && v.Kind != elixir.Atom || v.Text == "" {
		r.bad(v.Pos, "%s is %s; it must be a text", key, said(v))
		return ""
	}
	return v.Text
}

// texts reads a list of strings or atoms, or one of them.
func (r *reader) texts(key string) []string {
	v, ok := r.config[key]
	if !ok {
		return nil
	}
	if v.Kind != elixir.List {
		v = elixir.Value{Kind: elixir.List, Items: []elixir.Value{v}}
	}
	var list []string
	for _, it := range v.Items {
		if it.Kind != elixir.String && it.Kind != elixir.Atom {
			r.bad(it.Pos, "%s has %s; it must be a list of texts or atoms", key, said(it))
			continue
		}
		list = append(list, it.Text)
	}
	return list
}

// word reads one of some atoms.
func (r *reader) word(key string, words ...string) string {
	s := r.text(key)
	if s == "" || slices.Contains(words, s) {
		return s
	}
	hint := "use :" + strings.Join(words, ", :")
	if word := near(s, words); word != "" {
		hint = "did you mean :" + word + "?"
	}
	r.bad(r.config[key].Pos, "%s is :%s; %s", key, s, hint)
	return ""
}

// number reads an integer within bounds.
func (r *reader) number(key string, least, most int64) int {
	v, ok := r.config[key]
	if !ok {
		return 0
	}
	if v.Kind == elixir.String { // from a shell, or YAML in quotes
		if n, err := strconv.ParseInt(v.Text, 10, 64); err == nil {
			v.Kind, v.Int = elixir.Integer, n
		}
	}
	if v.Kind != elixir.Integer || v.Int < least || v.Int > most {
		r.bad(v.Pos, "%s is %s; it must be an integer from %d to %d", key, said(v), least, most)
		return 0
	}
	return int(v.Int)
}

func (r *reader) port(key string) int { return r.number(key, 1, 65535) }

// millis reads a number of milliseconds, of at most a day.
func (r *reader) millis(key string) time.Duration {
	return time.Duration(r.number(key, 1, (24*time.Hour).Milliseconds())) * time.Millisecond
}

func (r *reader) boolean(key string) bool {
	v, ok := r.config[key]
	if ok && v.Kind != elixir.Bool {
		r.bad(v.Pos, "%s is %s; it must be true or false", key, said(v))
	}
	return v.Bool
}

// address reads an IP address: a string or a tuple of four or eight integers.
func (r *reader) address(key string) string {
	v, ok := r.config[key]
	if !ok {
		return ""
	}
	a, err := netip.ParseAddr(dotted(v))
	if err != nil {
		r.bad(v.Pos, "%s is %s; it must be an IP address, as \"10.0.0.7\" or {10, 0, 0, 7}", key, said(v))
		return ""
	}
	return a.String()
}

// dotted is the text of a tuple of four or eight integers, or of another value.
func dotted(v elixir.Value) string {
	if v.Kind != elixir.Tuple {
		return v.Text
	}
	base, sep := 10, "."
	if len(v.Items) == 8 {
		base, sep = 16, ":"
	}
	var parts []string
	for _, it := range v.Items {
		parts = append(parts, strconv.FormatInt(it.Int, base))
	}
	return strings.Join(parts, sep)
}

func strategyNames() []string { return slices.Sorted(maps.Keys(strategies)) }
