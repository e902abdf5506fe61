package config

import (
	"reflect"
	"strings"
)

// origins is where values came from, by path.
type origins map[string]Origin

// drop forgets a path and what is below it.
func (o origins) drop(path string) {
	for p := range o {
		if p == path || strings.HasPrefix(p, path+".") || strings.HasPrefix(p, path+"[") {
			delete(o, p)
		}
	}
}

// copy takes over a path and what is below it.
func (o origins) copy(from origins, path string) {
	for p, at := range from {
		if p == path || strings.HasPrefix(p, path+".") || strings.HasPrefix(p, path+"[") {
			o[p] = at
		}
	}
}

// Merge lays layers over each other, the first lowest. Values and lists of a
// later layer replace those of an earlier one; tags are merged by name, and
// channels by name, whole. The layers are left as they are.
func Merge(layers ...*Config) *Config {
	out := newConfig()
	for _, l := range layers {
		if l != nil {
			out.lay(l)
		}
	}
	return out
}

func (c *Config) lay(over *Config) {
	to, from := c.schema(), over.schema()
	var walk func(to, from []key, path string)
	walk = func(to, from []key, path string) {
		for i, k := range from {
			at := join(path, k.name)
			if k.sub != nil {
				walk(to[i].sub, k.sub, at)
				continue
			}
			origin, set := over.origins[at]
			if k.later || !set {
				continue
			}
			if to[i].each == nil && k.kind != "mapping of texts" {
				c.origins.drop(at)
				c.origins.copy(over.origins, at)
			}
			to[i].take(k.ptr, at, c.origins, over.origins)
			c.origins[at] = origin
		}
	}
	walk(to, from, "")
}

// Adopt returns a configuration like c, in which the values at some paths are
// those of another. Both are left as they are.
func Adopt(c, other *Config, paths []string) *Config {
	part := *other
	part.origins = make(origins)
	for _, p := range paths {
		part.origins.copy(other.origins, p)
	}
	out := Merge(c)
	for _, p := range paths {
		out.unset(p)
	}
	out.lay(&part)
	return out
}

// unset makes the value at a path zero.
func (c *Config) unset(path string) {
	c.origins.drop(path)
	c.each(func(at string, k key) {
		if at == path {
			v := reflect.ValueOf(k.ptr).Elem()
			v.Set(reflect.Zero(v.Type()))
		}
	})
}
