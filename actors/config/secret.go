package config

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// minSecret is the least number of bytes of a secret, as in package handshake.
const minSecret = 16

// Secret is a shared secret, or where it is.
type Secret struct {
	Ref   string // "file:PATH" or "env:NAME"; empty: Value was given as it is
	Value string // empty until it was looked up

	path string // of the file, with the directory of the cluster file
}

// String returns the reference, or "***".
func (s Secret) String() string {
	if s.Ref != "" {
		return s.Ref
	}
	return "***"
}

// GoString is String: no verb of fmt shows a secret.
func (s Secret) GoString() string { return s.String() }

func secrets(name string, p *[]Secret, doc string) key {
	return key{
		name: name, kind: "list of references", doc: doc, ptr: p,
		read: func(d *decoder, n *yaml.Node, path string) bool {
			var list []Secret
			good := true
			for i, e := range d.items(n, path, "a list of references") {
				s, ok := d.scalar(e, index(path, i), "a reference")
				if !ok {
					good = false
					continue
				}
				secret := Secret{Ref: s}
				kind, rest, _ := strings.Cut(s, ":")
				switch {
				case kind == "file" && rest != "":
					secret.path = d.beside(rest)
				case kind == "env" && rest != "":
				case kind == "file" || kind == "env":
					d.bad(e, index(path, i), "%q names nothing; write file:PATH or env:NAME", s)
					good = false
				case d.trusted:
					secret = Secret{Value: s}
				default:
					d.bad(e, index(path, i), "a secret must not stand in the file; put it into a file of its own and write file:PATH, or into a variable and write env:NAME")
					good = false
				}
				d.mark(e, index(path, i))
				list = append(list, secret)
			}
			*p = list
			return good
		},
		take: func(from any, _ string, _, _ origins) { *p = slices.Clone(*from.(*[]Secret)) },
		show: func() any {
			var refs []string
			for _, s := range *p {
				refs = append(refs, s.String())
			}
			return refs
		},
	}
}

// beside makes a path that a cluster file names relative to its directory.
func (d *decoder) beside(path string) string {
	if filepath.IsAbs(path) || d.from.Source != File {
		return path
	}
	return filepath.Join(filepath.Dir(d.from.Name), path)
}

// resolve looks the secrets up that are references.
func (c *Config) resolve(getenv func(string) (string, bool)) []Problem {
	var list []Problem
	for i := range c.Security.Secrets {
		s := &c.Security.Secrets[i]
		at := index("security.secrets", i)
		bad := func(text string) { list = append(list, Problem{c.origins[at], at, text}) }
		kind, rest, _ := strings.Cut(s.Ref, ":")
		switch kind {
		case "file":
			b, err := os.ReadFile(s.path)
			if err != nil {
				bad("the file of the secret cannot be read: " + err.Error())
				continue
			}
			s.Value = strings.TrimSpace(string(b))
		case "env":
			v, ok := getenv(rest)
			if !ok {
				bad("the variable " + rest + " of the secret is not set")
				continue
			}
			s.Value = strings.TrimSpace(v)
		}
		if n := len(s.Value); n < minSecret {
			bad("the secret has " + strconv.Itoa(n) + " bytes; at least " + strconv.Itoa(minSecret) + " are needed; make one with `openssl rand -hex 32`")
		}
	}
	return list
}
