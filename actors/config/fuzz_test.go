package config

import (
	"os"
	"path/filepath"
	"testing"
)

// No text makes the parser panic, hang or accept what it cannot print and read
// again.
func FuzzParse(f *testing.F) {
	examples, _ := filepath.Glob("../../docs/examples/*.yaml")
	for _, name := range append(examples, "testdata/bad.txt") {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("a: &a [*a, *a]\nchannels: [*a, *a]\n"))
	f.Add([]byte("channels: [&c {name: x}, *c]\nnode: {tags: {a: b}}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("maquis.yaml", text)
		if err != nil {
			if err.Error() == "" {
				t.Fatal("an error that says nothing")
			}
			return
		}
		printed := c.YAML(true)
		again, err := parse(Origin{Source: File, Name: "maquis.yaml"}, []byte(printed), false)
		if err != nil {
			t.Fatalf("%v\nof\n%s", err, printed)
		}
		if paths, _ := Diff(c, again); len(paths) > 0 {
			t.Fatalf("%v differ in\n%s", paths, printed)
		}
		_ = Merge(c, again).together(Origin{})
	})
}

// No environment does either.
func FuzzEnvironment(f *testing.F) {
	f.Add("MAQUIS_NODE__NAME", "a")
	f.Add("MAQUIS_CHANNELS", "[{name: bulk, lanes: 2}]")
	f.Add("MAQUIS_NODE", "{tags: {a: b}}")
	f.Add("MAQUIS_SECURITY__SECRETS", "[file:x, env:y]")
	f.Fuzz(func(t *testing.T, name, value string) {
		if c, err := Environment([]string{name + "=" + value}); err == nil {
			_ = c.YAML(true)
		}
	})
}
