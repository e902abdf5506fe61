package config

import (
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/maquis-go/maquis/internal/nearest"
)

// prefix begins the variables that are heeded.
const prefix = "MAQUIS_"

// secretVariable holds one secret, as it is: the short form of
// MAQUIS_SECURITY__SECRETS.
const secretVariable = "MAQUIS_SECRET"

// VariableOf returns the variable of a key: MAQUIS_NODE__NAME of node.name.
func VariableOf(path string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(path, ".", "__"))
}

// Environment reads the variables of keys out of "NAME=value" pairs. Lists and
// mappings are written as YAML flow or JSON, [a, b] and {a: b}; lists of texts
// also with commas between them. An empty variable is as none. A variable that
// is no key, but near to one, is a problem: others may have names that begin
// with MAQUIS_. An error is an *Error.
func Environment(environ []string) (*Config, error) {
	layer := newConfig()
	var list []Problem
	var vars [][2]string
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, prefix) && value != "" {
			vars = append(vars, [2]string{name, value})
		}
	}
	// MAQUIS_NODE comes before MAQUIS_NODE__NAME.
	slices.SortFunc(vars, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	known := variables(layer.schema(), "")
	for _, v := range vars {
		d := &decoder{layer: layer, from: Origin{Source: Env, Name: v[0]}, trusted: true}
		d.variable(v[0], v[1], known)
		list = append(list, d.problems...)
	}
	d := &decoder{layer: layer, from: Origin{Source: Env}}
	d.secured()
	return layer, problems(append(list, d.problems...))
}

// variables maps the variables of keys to their paths.
func variables(keys []key, path string) map[string]string {
	m := make(map[string]string)
	for _, k := range keys {
		at := join(path, k.name)
		m[VariableOf(at)] = at
		for name, p := range variables(k.sub, at) {
			m[name] = p
		}
	}
	return m
}

// foreign are variables that Kubernetes sets for services called maquis or
// maquis-something.
var foreign = regexp.MustCompile(`^MAQUIS_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_\d+_[A-Z]+(_.*)?)?)$`)

func (d *decoder) variable(name, value string, known map[string]string) {
	path, ok := known[name]
	switch {
	case ok:
	case name == secretVariable:
		d.layer.Security.Secrets = []Secret{{Ref: "env:" + secretVariable}}
		d.mark(nil, "security.secrets")
		d.mark(nil, "security.secrets[0]")
		return
	case foreign.MatchString(name):
		return
	default:
		var names []string
		for n := range known {
			names = append(names, n)
		}
		slices.Sort(names)
		rest := strings.TrimPrefix(name, prefix)
		for i, n := range names {
			names[i] = strings.TrimPrefix(n, prefix)
		}
		section, _, inSection := strings.Cut(rest, "__")
		_, isSection := known[prefix+section]
		if near := nearest.Word(rest, names); near != "" {
			d.bad(nil, "", "no key has this variable; did you mean %s%s?", prefix, near)
		} else if inSection && isSection {
			d.bad(nil, "", "no key has this variable; `demo config docs` lists all keys")
		}
		return
	}
	keys := d.layer.schema()
	steps := strings.Split(path, ".")
	for i, s := range steps {
		k := keys[slices.IndexFunc(keys, func(k key) bool { return k.name == s })]
		if i < len(steps)-1 {
			keys = k.sub
			continue
		}
		if n := d.flow(k, value); n != nil {
			d.value(k, n, n, path)
		}
	}
}

// flow makes a node of a variable's value.
func (d *decoder) flow(k key, value string) *yaml.Node {
	lone := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
	switch {
	case k.sub != nil || k.entry != nil || strings.HasPrefix(k.kind, "mapping") || strings.HasPrefix(value, "[") && strings.HasPrefix(k.kind, "list"):
		return d.document([]byte(value))
	case k.kind == "list of texts":
		list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, s := range strings.Split(value, ",") {
			list.Content = append(list.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: strings.TrimSpace(s)})
		}
		return list
	}
	return lone
}
