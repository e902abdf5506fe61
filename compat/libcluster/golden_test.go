package libcluster

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files again")

// describe is what Parse and Migrate make of a configuration, as text.
func describe(config []byte) string {
	var b strings.Builder
	list, notes, err := Parse(config)
	for _, t := range list {
		fmt.Fprintf(&b, "%s %s: %s\n", t.Name, t.kind, fields(t.Strategy))
	}
	for _, n := range notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	if err != nil {
		fmt.Fprintf(&b, "error: %s\n", strings.ReplaceAll(err.Error(), "\n", "\nerror: "))
	}
	out, _, err := Migrate(config)
	b.WriteString("----\n")
	if err == nil {
		b.Write(out)
	}
	return b.String()
}

// fields are those of a strategy that are set.
func fields(s any) string {
	v := reflect.ValueOf(s)
	var parts []string
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() && !v.Field(i).IsZero() {
			parts = append(parts, fmt.Sprintf("%s=%v", f.Name, v.Field(i).Interface()))
		}
	}
	return v.Type().String() + "{" + strings.Join(parts, " ") + "}"
}

// Every example of libcluster's documentation becomes the strategy that it
// names, or is refused with what is missing; what Migrate writes means the same.
func TestGolden(t *testing.T) {
	t.Setenv("CLUSTER_DOMAIN", "")
	files, err := filepath.Glob("testdata/*.exs")
	require.NoError(t, err)
	yamls, err := filepath.Glob("testdata/*.yaml")
	require.NoError(t, err)
	for _, f := range append(files, yamls...) {
		t.Run(filepath.Base(f), func(t *testing.T) {
			config, err := os.ReadFile(f)
			require.NoError(t, err)
			got := describe(config)
			golden := f + ".txt"
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), got)

			list, _, err := Parse(config)
			if err != nil {
				return
			}
			written, _, err := Migrate(config)
			require.NoError(t, err)
			again, _, err := Parse(written)
			require.NoError(t, err, "%s", written)
			require.Len(t, again, len(list))
			for i := range list {
				require.Equal(t, list[i].Name, again[i].Name)
				require.Equal(t, list[i].Strategy, again[i].Strategy)
				require.Equal(t, list[i].Port, again[i].Port)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.[ey]*")
	for _, name := range files {
		if b, err := os.ReadFile(name); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, config []byte) {
		list, _, err := Parse(config)
		out, _, merr := Migrate(config)
		if err != nil {
			require.Empty(t, list)
			return
		}
		require.NoError(t, merr)
		again, _, err := Parse(out)
		require.NoError(t, err, "%s", out)
		require.Len(t, again, len(list))
	})
}
