package introduce

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/peerservice/discovery"
)

// A hosts file that is edited while the node runs adds a node; one that is
// emptied, broken or removed takes none away.
func TestHostsFileEdited(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		path := filepath.Join(t.TempDir(), "hosts")
		write := func(text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }
		write("'a'.\n'b'.\n")
		a := w.start("a", func(c *Config) { c.Strategies = []discovery.Strategy{discovery.HostsFile{Path: path}} })
		for _, name := range []string{"b", "c"} {
			w.start(name, nil)
		}
		within(t, 5*time.Second, "b", func() bool { return a.size() == 2 })
		write("'a'.\n'b'.\n'c'.\n")
		within(t, 15*time.Second, "c", func() bool { return a.size() == 3 })
		for _, text := range []string{"", "'b\n<html>\n"} {
			write(text)
			time.Sleep(time.Minute)
			require.Equal(t, 3, a.size())
			require.Len(t, a.intro.Status().Candidates, 3)
		}
		require.NoError(t, os.Remove(path))
		time.Sleep(time.Minute)
		require.Len(t, a.intro.Status().Candidates, 3)
		require.Contains(t, a.intro.Explain(), "there is no file")
	})
}

// Without any configuration, nodes of one user on one host have found each
// other in a second, in whatever order they start.
func TestLocalInASecond(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		dir := filepath.Join(t.TempDir(), "run")
		local := func(c *Config) { c.Strategies = []discovery.Strategy{discovery.Local{Dir: dir}} }
		a := w.start("a", local)
		b := w.start("b", local)
		within(t, time.Second, "two", func() bool { return a.size() == 2 })
		time.Sleep(time.Minute)
		c := w.start("c", local)
		within(t, time.Second, "three", func() bool { return c.size() == 3 })
		b.stop()
		within(t, 5*time.Second, "its record is gone", func() bool { return len(a.intro.Status().Candidates) == 2 })
	})
}

// One source that is down does not hide what the other one finds, merged or
// as strategies of their own; a fallback is asked.
func TestMixedStrategies(t *testing.T) {
	none, b := discovery.File{Path: "/no/such/file"}, discovery.Static{Addrs: []string{"b"}}
	for name, list := range map[string][]discovery.Strategy{
		"two":      {none, b},
		"merge":    {discovery.Merge(none, b)},
		"fallback": {discovery.Fallback(none, b)},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, w *world) {
				a := w.start("a", func(c *Config) { c.Strategies = list })
				w.start("b", nil)
				within(t, time.Second, "joined", func() bool { return a.size() == 2 })
				require.Contains(t, a.intro.Explain(), "/no/such/file")
			})
		})
	}
}
