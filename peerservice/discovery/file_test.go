package discovery

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseList(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []Candidate
		errs       []string
	}{
		{"lines", "# head\n10.0.0.7 name=a zone=z # tail\n\n  b:7\r\n[::1]:8\n", []Candidate{{Addr: "10.0.0.7:1", Name: "a", Zone: "z"}, {Addr: "b:7"}, {Addr: "[::1]:8"}}, nil},
		{"erlang", "'super.eua.ericsson.se'.\n'renat.eua.ericsson.se'. % comment\nlocalhost.\n% only\n", ok("super.eua.ericsson.se:1", "renat.eua.ericsson.se:1", "localhost:1").Candidates, nil},
		{"zone", "fe80::1%eth0\n", ok("[fe80::1%eth0]:1").Candidates, nil},
		{"mark", "\xef\xbb\xbfa\n", ok("a:1").Candidates, nil},
		{"bad lines", "a\n'b.\nc port=7\nd:99999\n", ok("a:1").Candidates, []string{`line 2: discovery: address "'b.": the quote`, `line 3: "port=7" after c`, "line 4:"}},
		{"json strings", `["a", "b:2"]`, ok("a:1", "b:2").Candidates, nil},
		{"json objects", `[{"addr": "a", "name": "n", "zone": "z", "terminating": true}]`, []Candidate{{Addr: "a:1", Name: "n", Zone: "z", Terminating: true}}, nil},
		{"json bad", `["a", {"address": "b"}, 7, ""]`, ok("a:1").Candidates, []string{`entry 2: json: unknown field "address"`, "entry 3:", "entry 4: discovery: address"}},
		{"empty", " \n", nil, nil},
		{"no list", strings.Repeat("%$!\n<html>\n", 100), nil, []string{"line 2:", "line 16:", "the rest was not read"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseList([]byte(c.text), 1)
			require.Equal(t, c.want, got)
			if len(c.errs) == 0 {
				require.NoError(t, err)
			}
			for _, e := range c.errs {
				require.ErrorContains(t, err, e)
			}
		})
	}
}

func FuzzParseList(f *testing.F) {
	for _, s := range []string{"a:1 name=x\n'b'.\n", `["a",{"addr":"b"}]`, "fe80::1%e # c", "[::1]:2"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		list, _ := parseList(data, 0)
		for _, c := range list {
			again, err := Address(c.Addr, 1)
			require.NoError(t, err)
			require.Equal(t, c.Addr, again)
		}
	})
}

func TestFile(t *testing.T) {
	require.ErrorContains(t, File{Port: 70000, Reload: 1}.Validate(), "Path is empty")
	bubble(t, func(t *testing.T, ctx context.Context) {
		path := filepath.Join(t.TempDir(), "nodes")
		write := func(text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }
		l := listen(t, ctx, File{Path: path, Port: 1})
		last := func() Snapshot {
			time.Sleep(3 * time.Second)
			synctest.Wait()
			s, _ := l.last()
			return s
		}
		require.ErrorContains(t, last().Err, "there is no file")
		require.Equal(t, 1, l.count(), "said once")
		write("a\n")
		require.Equal(t, ok("a:1"), last())
		write("b\n")
		require.Equal(t, ok("b:1"), last(), "an edit of the same length is seen")
		write("b\n!\n")
		s := last()
		require.Equal(t, []string{"b:1"}, addrs(s))
		require.ErrorContains(t, s.Err, path+": line 2")
		require.True(t, s.Partial)
		require.NoError(t, os.Remove(path))
		require.Error(t, last().Err)
		write("b\n!\n")
		require.Equal(t, []string{"b:1"}, addrs(last()), "back as it was")
		write(strings.Repeat("#\n", maxListSize))
		require.ErrorContains(t, last().Err, "more than 4194304 bytes")
	})
}

func TestHostsFile(t *testing.T) {
	work, home := t.TempDir(), t.TempDir()
	t.Chdir(work)
	t.Setenv("HOME", home)
	bubble(t, func(t *testing.T, ctx context.Context) {
		l := listen(t, ctx, HostsFile{Reload: 10 * time.Millisecond})
		last := func() Snapshot {
			time.Sleep(time.Second)
			synctest.Wait()
			s, _ := l.last()
			return s
		}
		require.ErrorContains(t, last().Err, "no .hosts.erlang in the working directory or in "+home)
		require.NoError(t, os.WriteFile(filepath.Join(home, HostsFileName), []byte("'h.example'.\n"), 0o600))
		require.Equal(t, ok("h.example:6278"), last())
		require.NoError(t, os.WriteFile(HostsFileName, []byte("'w.example'.\n"), 0o600))
		require.Equal(t, ok("w.example:6278"), last(), "the working directory comes first")
	})
	require.Equal(t, "hosts file /x", HostsFile{Path: "/x"}.String())
}
