package config

import (
	"embed"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
)

//go:embed profiles/*.yaml
var profileFiles embed.FS

// wanPreset is the layer of times that the failure preset wan brings besides
// those of the roster.
const wanPreset = "preset-wan"

// profiles are the layers at the bottom; they are never changed.
var profiles = sync.OnceValue(func() map[string]*Config {
	layers := make(map[string]*Config)
	for _, name := range append([]string{"default", wanPreset}, Profiles...) {
		text, err := profileFiles.ReadFile("profiles/" + name + ".yaml")
		from := Origin{Source: Profile, Name: name}
		if name == "default" {
			from = Origin{Source: Default}
		}
		if err == nil {
			layers[name], err = parse(from, text, true)
		}
		if err != nil {
			panic("maquis: the profile " + name + " is broken: " + err.Error()) // a test reads all
		}
	}
	return layers
})

// Sources are where a configuration comes from, besides the defaults. All of
// them may be left out.
type Sources struct {
	File        string   // path of the cluster file
	Code        *Config  // made by FromCode
	Environ     []string // as of os.Environ
	SkipSecrets bool     // secrets are not looked up: for checks where they are not
}

// Load reads all sources and lays them over each other: default, profile,
// file, code, environment. An error is an *Error with everything that is wrong;
// the Config is then what could be read.
func Load(s Sources) (*Config, error) {
	var list []Problem
	file, err := loadFile(s.File)
	list = add(list, err)
	env, err := Environment(s.Environ)
	list = add(list, err)
	chosen := Merge(file, s.Code, env).Profile
	layers := []*Config{profiles()["default"], profiles()[chosen], file, s.Code, env}
	if Merge(layers...).Failure.Preset == "wan" {
		layers = slices.Insert(layers, 1, profiles()[wanPreset])
	}
	c := Merge(layers...)
	c.settle()
	if unreadable(list) {
		return c, problems(list) // what else would be said, follows from that
	}
	missing := Origin{Source: Code}
	if s.File != "" {
		missing = Origin{Source: File, Name: s.File}
	}
	found := c.together(missing)
	if !s.SkipSecrets {
		found = append(found, c.resolve(lookup(s.Environ))...)
	}
	return c, problems(append(list, news(list, found)...))
}

// unreadable reports whether the file as a whole could not be read.
func unreadable(list []Problem) bool {
	return slices.ContainsFunc(list, func(p Problem) bool { return p.Key == "" && p.Origin.Source == File })
}

// news leaves out what follows from problems that are known: those of the same
// value, of what is in it or of what it is in.
func news(known, found []Problem) []Problem {
	within := func(a, b string) bool { return a == b || strings.HasPrefix(a, b+".") || strings.HasPrefix(a, b+"[") }
	return slices.DeleteFunc(found, func(p Problem) bool {
		return slices.ContainsFunc(known, func(k Problem) bool { return within(p.Key, k.Key) || within(k.Key, p.Key) })
	})
}

func loadFile(path string) (*Config, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, &Error{[]Problem{{Origin{Source: File, Name: path}, "", "the file cannot be read: " + reason(err)}}}
	}
	return Parse(path, text)
}

// reason is an error without the path that the message names already.
func reason(err error) string {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

func add(list []Problem, err error) []Problem {
	var e *Error
	if errors.As(err, &e) {
		list = append(list, e.Problems...)
	}
	return list
}

// lookup finds a variable in "NAME=value" pairs; as in a process, the last one
// of a name counts.
func lookup(environ []string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := len(environ) - 1; i >= 0; i-- {
			if k, v, ok := strings.Cut(environ[i], "="); ok && k == name {
				return v, true
			}
		}
		return "", false
	}
}

// settle drops what a layer overruled without naming it: what another mode of
// security would use.
func (c *Config) settle() {
	if m := c.Security.Mode; m != "secret" {
		c.Security.Secrets = nil
		c.origins.drop("security.secrets")
	}
	if c.Security.Mode != "mtls" {
		c.Security.CertFile, c.Security.KeyFile, c.Security.CAFile = "", "", ""
		for _, k := range []string{"cert_file", "key_file", "ca_file"} {
			c.origins.drop("security." + k)
		}
	}
}

// FromCode makes a layer of what code has set: all values that are not zero.
func FromCode(fill func(*Config)) *Config {
	c := newConfig()
	fill(c)
	var walk func(keys []key, path string)
	walk = func(keys []key, path string) {
		for _, k := range keys {
			at := join(path, k.name)
			if k.sub != nil {
				walk(k.sub, at)
			} else if k.isSet() {
				c.origins[at] = Origin{Source: Code}
				if k.each != nil {
					k.each(func(id string, sub []key) {
						c.origins[at+"."+id] = Origin{Source: Code}
						walk(sub, at+"."+id)
					})
				}
			}
		}
	}
	walk(c.schema(), "")
	for tag := range c.Node.Tags {
		c.origins["node.tags."+tag] = Origin{Source: Code}
	}
	for i := range c.Security.Secrets {
		c.origins[index("security.secrets", i)] = Origin{Source: Code}
	}
	return c
}
