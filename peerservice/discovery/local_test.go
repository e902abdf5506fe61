package discovery

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func selfCtx(ctx context.Context, cluster, name string, addrs ...string) context.Context {
	return WithSelf(ctx, Self{Cluster: cluster, Name: name, Addrs: addrs})
}

// The helper process of TestLocalKilled.
func TestLocalHelper(t *testing.T) {
	dir := os.Getenv("DISCOVERY_LOCAL_DIR")
	if dir == "" {
		t.Skip("run by TestLocalKilled")
	}
	_ = Local{Dir: dir}.Run(selfCtx(t.Context(), "c", "helper", "127.0.0.1:7"), func(Snapshot) {})
}

// Another process is found in under a second, and forgotten when it is killed,
// with its record.
func TestLocalKilled(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rendezvous")
	l := listen(t, selfCtx(t.Context(), "c", "me", "127.0.0.1:1"), Local{Dir: dir})
	l.untilAddrs("127.0.0.1:1")
	cmd := exec.Command(os.Args[0], "-test.run=^TestLocalHelper$")
	cmd.Env = append(os.Environ(), "DISCOVERY_LOCAL_DIR="+dir)
	require.NoError(t, cmd.Start())
	l.untilAddrs("127.0.0.1:1", "127.0.0.1:7")
	files, err := filepath.Glob(dir + "/*/node-*")
	require.NoError(t, err)
	require.Len(t, files, 2)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	l.untilAddrs("127.0.0.1:1")
	files, err = filepath.Glob(dir + "/*/node-*")
	require.NoError(t, err)
	require.Len(t, files, 1)
}

// Two start at once, in either order, and have found each other in a second;
// a third one of another cluster is not among them. Who ends in order leaves
// nothing behind.
func TestLocalInASecond(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		dir := t.TempDir()
		require.NoError(t, os.Chmod(dir, 0o700))
		start := time.Now()
		a := listen(t, selfCtx(ctx, "shop", "a", "127.0.0.1:1", "[::1]:1"), Local{Dir: dir})
		other := listen(t, selfCtx(ctx, "shop/..", "x", "127.0.0.1:9"), Local{Dir: dir})
		b := listen(t, selfCtx(ctx, "shop", "b", "127.0.0.1:2"), Local{Dir: dir})
		want := []string{"127.0.0.1:1", "127.0.0.1:2", "[::1]:1"}
		require.Equal(t, "b", a.untilAddrs(want...).Candidates[indexOf(a, "127.0.0.1:2")].Name)
		b.untilAddrs(want...)
		require.Less(t, time.Since(start), time.Second)
		other.untilAddrs("127.0.0.1:9")
		b.end()
		a.untilAddrs("127.0.0.1:1", "[::1]:1")
		a.end()
		other.end()
		files, err := filepath.Glob(dir + "/*/*")
		require.NoError(t, err)
		require.Empty(t, files)
	})
}

func indexOf(l *listener, addr string) int {
	s, _ := l.last()
	for i, c := range s.Candidates {
		if c.Addr == addr {
			return i
		}
	}
	return -1
}

// Somebody removes the files, or the directory: they come back. Rubbish among
// them is no node.
func TestLocalCleaned(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		dir := filepath.Join(t.TempDir(), "d")
		a := listen(t, selfCtx(ctx, "c", "a", "h:1"), Local{Dir: dir})
		a.untilAddrs("h:1")
		sub, err := filepath.Glob(dir + "/*")
		require.NoError(t, err)
		require.NoError(t, os.RemoveAll(dir))
		time.Sleep(time.Second)
		b := listen(t, selfCtx(ctx, "c", "b", "h:2"), Local{Dir: dir})
		a.untilAddrs("h:1", "h:2")
		for name, text := range map[string]string{"node-empty": "", "node-junk": "{", "node-long": strings.Repeat("x", maxLocalBytes+1), "else": `["h:3"]`, "node-dead": `["h:4"]`} {
			require.NoError(t, os.WriteFile(filepath.Join(sub[0], name), []byte(text), 0o600))
		}
		require.NoError(t, os.Symlink("/dev/zero", filepath.Join(sub[0], "node-link")))
		time.Sleep(time.Second)
		b.untilAddrs("h:1", "h:2")
		files, err := filepath.Glob(sub[0] + "/node-*")
		require.NoError(t, err)
		require.Len(t, files, 3, "the dead are removed; the link is left alone")
	})
}

func TestLocalRefuses(t *testing.T) {
	require.ErrorContains(t, Local{}.Run(t.Context(), nil), "run it under WithSelf")
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	require.ErrorContains(t, Local{Dir: dir}.Validate(), "open to others (mode 755)")
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(dir, link))
	require.ErrorContains(t, Local{Dir: link}.Validate(), "is not a directory")
	if os.Geteuid() == 0 {
		foreign := filepath.Join(t.TempDir(), "foreign")
		require.NoError(t, os.Mkdir(foreign, 0o700))
		require.NoError(t, os.Chown(foreign, 12345, 12345))
		require.ErrorContains(t, Local{Dir: foreign}.Validate(), "belongs to another user")
	}
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	require.NoError(t, Local{}.Validate())
	long := Self{Cluster: "c", Addrs: []string{strings.Repeat("h", maxLocalBytes)}}
	require.NoError(t, os.Chmod(dir, 0o700))
	_, err := newRecord(dir, long)
	require.ErrorContains(t, err, "advertise fewer addresses")
}
