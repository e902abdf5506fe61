package config

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/maquis-go/maquis/internal/nearest"
)

// key is one key of the schema, bound to the value of one Config.
type key struct {
	name  string
	kind  string   // what stands behind it, for people: "text", "list of texts"
	doc   string   // what it means
	words []string // the only values, if it is not empty
	live  bool     // Reload can change it in a running node
	later bool     // what it describes does not exist in this version
	sub   []key    // of a section
	entry []key    // of the entries of a list of mappings, for documentation

	ptr  any                                              // where the value is
	read func(d *decoder, n *yaml.Node, path string) bool // sets it; false: it was not usable
	take func(from any, path string, to, other origins)   // takes the value of another layer
	show func() any                                       // the value as it is written
	each func(do func(id string, keys []key))             // the entries of a list of mappings
	same map[string]rename                                // other names for keys of the section
}

// rename is another name for a key: Partisan's, libcluster's or the seed
// design's. convert, if any, makes our value of what stands behind it.
type rename struct {
	to      string
	convert func(d *decoder, n *yaml.Node, path string) *yaml.Node // nil: a problem was reported
}

// isLive marks a key that Reload can change.
func (k key) isLive() key { k.live = true; return k }

// isSet reports whether the value is other than zero.
func (k key) isSet() bool { return k.ptr != nil && !reflect.ValueOf(k.ptr).Elem().IsZero() }

// leaf makes a key of one value.
func leaf[T any](name, kind, doc string, p *T, parse func(string) (T, string), show func(T) any) key {
	return key{
		name: name, kind: kind, doc: doc, ptr: p,
		read: func(d *decoder, n *yaml.Node, path string) bool {
			s, ok := d.scalar(n, path, kind)
			if !ok {
				return false
			}
			v, why := parse(s)
			if why != "" {
				d.bad(n, path, "%s", why)
				return false
			}
			*p = v
			return true
		},
		take: func(from any, _ string, _, _ origins) { *p = *from.(*T) },
		show: func() any { return show(*p) },
	}
}

func itself[T any](v T) any { return v }

// text is a key of any text that passes the checks.
func text(name string, p *string, doc string, checks ...func(string) string) key {
	return leaf(name, "text", doc, p, func(s string) (string, string) {
		if s == "" {
			return "", "the text is empty; write one or leave the key out"
		}
		for _, check := range checks {
			if why := check(s); why != "" {
				return "", why
			}
		}
		return s, ""
	}, itself[string])
}

// label is a key of a name. Elixir's atoms are written with a colon before them.
func label(name string, p *string, doc string, checks ...func(string) string) key {
	k := text(name, p, doc, checks...)
	read := k.read
	k.read = func(d *decoder, n *yaml.Node, path string) bool {
		ok := read(d, n, path)
		*p = strings.TrimPrefix(*p, ":")
		return ok
	}
	return k
}

// file is a key of the path of a file, relative to the directory of the cluster
// file.
func file(name string, p *string, doc string) key {
	k := text(name, p, doc)
	k.kind = "path"
	read := k.read
	k.read = func(d *decoder, n *yaml.Node, path string) bool {
		ok := read(d, n, path)
		*p = d.beside(*p)
		return ok
	}
	return k
}

// word is a key of one of some words; also maps other words to them.
func word(name string, p *string, doc string, words []string, also map[string]string) key {
	k := leaf(name, strings.Join(words, ", "), doc, p, func(s string) (string, string) {
		if ours, ok := also[s]; ok {
			return ours, ""
		}
		if slices.Contains(words, s) {
			return s, ""
		}
		why := "there is no " + strconv.Quote(s)
		if near := nearest.Word(s, words); near != "" {
			why += "; did you mean " + near + "?"
		}
		return "", why + " (" + strings.Join(words, ", ") + ")"
	}, itself[string])
	k.words = words
	return k
}

// whole is a key of a whole number from lo to hi.
func whole(name string, p *int, lo, hi int, doc string) key {
	return leaf(name, "whole number", doc, p, func(s string) (int, string) {
		n, err := strconv.Atoi(s)
		if err != nil {
			return 0, strconv.Quote(s) + " is no whole number"
		}
		if n < lo || n > hi {
			return 0, s + " is out of range; use " + strconv.Itoa(lo) + " to " + strconv.Itoa(hi)
		}
		return n, ""
	}, itself[int])
}

// size is a key of a number of bytes.
func size(name string, p *int, doc string) key {
	return leaf(name, "size, as 16MiB", doc, p, parseSize, func(n int) any { return formatSize(n) })
}

// span is a key of a duration above zero.
func span(name string, p *time.Duration, doc string) key {
	return leaf(name, "duration, as 5s", doc, p, parseSpan, func(t time.Duration) any { return formatSpan(t) })
}

// texts is a key of a list of texts. One text stands for a list of one.
func texts(name string, p *[]string, doc string, check func(string) string) key {
	return key{
		name: name, kind: "list of texts", doc: doc, ptr: p,
		read: func(d *decoder, n *yaml.Node, path string) bool {
			list, good := make([]string, 0), true
			for i, e := range d.items(n, path, "a list of texts") {
				s, ok := d.scalar(e, index(path, i), "text")
				why := ""
				switch {
				case !ok:
				case s == "":
					why = "the text is empty"
				case slices.Contains(list, s):
					why = strconv.Quote(s) + " stands here twice"
				case check != nil:
					why = check(s)
				}
				if why != "" {
					d.bad(e, index(path, i), "%s", why)
				}
				good = good && ok && why == ""
				list = append(list, s)
			}
			*p = list
			return good
		},
		take: func(from any, _ string, _, _ origins) { *p = slices.Clone(*from.(*[]string)) },
		show: func() any { return *p },
	}
}

// pairs is a key of names with texts. Layers are merged name by name.
func pairs(name string, p *map[string]string, doc string, check func(name string) string) key {
	return key{
		name: name, kind: "mapping of texts", doc: doc, ptr: p,
		read: func(d *decoder, n *yaml.Node, path string) bool {
			m, good := make(map[string]string), true
			for _, e := range d.pairs(n, path) {
				s, ok := d.scalar(e.value, path+"."+e.name, "text")
				if why := check(e.name); why != "" {
					d.bad(e.node, path+"."+e.name, "%s", why)
					ok = false
				}
				if ok {
					m[e.name] = s
					d.mark(e.node, path+"."+e.name)
				}
				good = good && ok
			}
			*p = m
			return good
		},
		take: func(from any, path string, to, other origins) {
			all := make(map[string]string)
			for k, v := range *p {
				all[k] = v
			}
			for k, v := range *from.(*map[string]string) {
				all[k] = v
				to.copy(other, path+"."+k)
			}
			*p = all
		},
		show: func() any { return *p },
	}
}

// section is a key of further keys.
func section(name, doc string, sub ...key) key {
	return key{name: name, kind: "section", doc: doc, sub: sub}
}

// later is a key of what does not exist in this version.
func later(name, doc string) key { return key{name: name, doc: doc, later: true} }

// entries is a key of a list of mappings with keys of their own, each of which
// has an id. With merged, a layer replaces entries by id; else it replaces the
// list. An entry without id has the id fallback, if that is not empty.
func entries[T any](name string, p *[]T, merged bool, fallback, doc string, id func(*T) *string, keys func(*T) (sub []key, same map[string]rename)) key {
	var none T
	entry, _ := keys(&none)
	k := key{name: name, kind: "list", doc: doc, ptr: p, entry: entry}
	k.read = func(d *decoder, n *yaml.Node, path string) bool {
		var list []T
		good := true
		for i, e := range d.items(n, path, "a list") {
			var v T
			sub, same := keys(&v)
			at := d.entryPath(e, path, sub[0].name, fallback, i)
			ok := d.mapping(e, sub, same, at)
			if *id(&v) == "" {
				*id(&v) = fallback
			}
			if ok && *id(&v) == "" {
				d.bad(e, at, "%s is missing", sub[0].name)
				ok = false
			}
			if ok && slices.ContainsFunc(list, func(x T) bool { return *id(&x) == *id(&v) }) {
				d.bad(e, at, "%s %q stands in the list twice", sub[0].name, *id(&v))
				ok = false
			}
			if ok {
				d.mark(e, at)
				list = append(list, v)
			}
			good = good && ok
		}
		*p = list
		return good
	}
	k.take = func(from any, path string, to, other origins) {
		var list []T
		if merged {
			list = slices.Clone(*p)
		} else {
			to.drop(path)
		}
		for _, v := range *from.(*[]T) {
			at := path + "." + *id(&v)
			to.drop(at)
			to.copy(other, at)
			if i := slices.IndexFunc(list, func(x T) bool { return *id(&x) == *id(&v) }); i >= 0 {
				list[i] = v
			} else {
				list = append(list, v)
			}
		}
		*p = list
	}
	k.each = func(do func(string, []key)) {
		for i := range *p {
			sub, _ := keys(&(*p)[i])
			do(*id(&(*p)[i]), sub)
		}
	}
	return k
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
