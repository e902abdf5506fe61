package config

import (
	"fmt"
	"strings"
)

// Docs returns the table of all keys, in Markdown.
func Docs() string {
	var b strings.Builder
	b.WriteString("| key | value | default | meaning |\n|---|---|---|---|\n")
	base := profiles()["default"]
	var walk func(keys []key, path string)
	walk = func(keys []key, path string) {
		for _, k := range keys {
			at, doc := join(path, k.name), k.doc
			if k.live {
				doc += " *(live)*"
			}
			switch {
			case k.later:
				fmt.Fprintf(&b, "| `%s` | | | %s: not in this version |\n", at, k.doc)
			case k.sub != nil:
				walk(k.sub, at)
			case k.entry != nil:
				fmt.Fprintf(&b, "| `%s` | list | %s | %s |\n", at, defaultOf(base, at, k), doc)
				walk(k.entry, at+"[]")
			default:
				fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", at, k.kind, defaultOf(base, at, k), doc)
			}
		}
	}
	walk(base.schema(), "")
	return b.String()
}

func defaultOf(base *Config, path string, k key) string {
	if _, ok := base.origins[path]; !ok {
		return ""
	}
	if k.each == nil {
		return "`" + inline(k.show()) + "`"
	}
	w := &writer{c: base}
	k.each(func(id string, sub []key) { w.section(sub, path+"."+id, "") })
	var parts []string
	for _, l := range w.lines {
		parts = append(parts, l.text)
	}
	return "`[{" + strings.Join(parts, ", ") + "}]`"
}
