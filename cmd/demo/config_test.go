package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const fileSecret = "a secret of the tests, long enough"

// clusterFile writes a cluster file beside its secret.
func clusterFile(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "secret"), []byte(fileSecret), 0o600))
	path := filepath.Join(dir, "maquis.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// call runs the demo in this process.
func call(t *testing.T, args ...string) (status int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	status = run(args, strings.NewReader(""), &o, &e)
	return status, o.String(), e.String()
}

// A good file is checked and printed; a bad one ends with status 2 and all that
// is wrong, and starts nothing.
func TestConfig(t *testing.T) {
	good := clusterFile(t, "profile: test\nnode: {name: a}\nsecurity: {secrets: [\"file:secret\"]}\n")
	status, out, errs := call(t, "config", "check", good)
	require.Equal(t, 0, status, errs)
	require.Equal(t, good+": nothing is wrong\n", out)

	status, out, _ = call(t, "config", "print", good, "--origin")
	require.Equal(t, 0, status)
	require.Regexp(t, `(?m)^  name: a +# .*maquis.yaml:2$`, out)
	require.Regexp(t, `(?m)^  listen: "127.0.0.1:0" +# profile test$`, out)
	require.Contains(t, out, `secrets: ["file:secret"]`)

	t.Setenv("MAQUIS_SECURITY__SECRETS", fileSecret)
	status, out, _ = call(t, "config", "print", "--json", good)
	require.Equal(t, 0, status)
	require.NotContains(t, out, fileSecret)
	var rows []configRow
	require.NoError(t, json.Unmarshal([]byte(out), &rows))
	require.Contains(t, rows, configRow{"security.secrets", []any{"***"}, "MAQUIS_SECURITY__SECRETS"})
	t.Setenv("MAQUIS_SECURITY__SECRETS", "")

	bad := clusterFile(t, "clustr: shop\nsecurity: {secrets: [\"file:nowhere\"]}\nchannels: [{name: control}]\n")
	for _, args := range [][]string{{"config", "check", bad}, {"config", "print", bad}, {"node", "--config", bad}} {
		status, out, errs = call(t, args...)
		require.Equal(t, exitUsage, status)
		require.Empty(t, out)
		require.Equal(t, bad+":1: clustr: unknown key; did you mean cluster?\n"+
			bad+":2: security.secrets[0]: the file of the secret cannot be read: open "+filepath.Join(filepath.Dir(bad), "nowhere")+": no such file or directory\n"+
			bad+":3: channels.control: the name is reserved for the runtime; choose another\n", errs)
	}
	status, _, errs = call(t, "config", "check", "--skip-secrets", bad)
	require.Equal(t, exitUsage, status)
	require.NotContains(t, errs, "nowhere")

	status, out, _ = call(t, "config", "docs")
	require.Equal(t, 0, status)
	require.Contains(t, out, "| `node.name` | text |")
	for _, args := range [][]string{{"config"}, {"config", "dance"}, {"config", "check"}, {"config", "check", good, bad}, {"config", "print", "--wrong"}, {"config", "docs", good}} {
		status, _, errs = call(t, args...)
		require.Equal(t, exitUsage, status, args)
		require.Contains(t, errs, "usage:", args)
	}
}

// Two processes with files form a cluster, and one of them reads its file
// again.
func TestNodesFromFiles(t *testing.T) {
	const common = "profile: test\nsecurity: {secrets: [\"file:secret\"]}\n"
	type process struct {
		in    io.WriteCloser
		lines chan event
	}
	start := func(file string) *process {
		cmd := demo("node", "--config", file, "--json")
		in, err := cmd.StdinPipe()
		require.NoError(t, err)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		p := &process{in, make(chan event, 100)}
		go func() {
			defer close(p.lines)
			for s := bufio.NewScanner(out); s.Scan(); {
				var e event
				_ = json.Unmarshal(s.Bytes(), &e)
				p.lines <- e
			}
		}()
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		return p
	}
	until := func(p *process, what, node string) event {
		t.Helper()
		limit := time.After(20 * time.Second)
		for {
			select {
			case e, ok := <-p.lines:
				require.True(t, ok, "the process ended before %s %s", what, node)
				if e.Event == what && e.Node == node {
					return e
				}
			case <-limit:
				t.Fatalf("no %s %s", what, node)
			}
		}
	}
	a := start(clusterFile(t, common+"node: {name: a}\n"))
	addr := strings.TrimPrefix(until(a, "listening", "a").Detail, "on ")
	file := clusterFile(t, common+"node: {name: b}\njoin: {seeds: [\""+addr+"\"]}\n")
	b := start(file)
	until(a, "up", "b")
	require.NoError(t, os.WriteFile(file, []byte(common+"node: {name: c}\njoin: {seeds: [\""+addr+"\"]}\n"), 0o600))
	_, err := io.WriteString(b.in, "reload\n")
	require.NoError(t, err)
	require.Equal(t, "a restart is needed for node.name", until(b, "reloaded", "").Detail)
	_, err = io.WriteString(b.in, "quit\n")
	require.NoError(t, err)
	until(a, "left", "b")
}
