package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMain lets the test binary be the demo: workers are started from it.
func TestMain(m *testing.M) {
	if os.Getenv("MAQUIS_DEMO_TEST") != "" || len(os.Args) == 2 && os.Args[1] == workerCommand {
		os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// demo makes a command that runs the demo in a process of its own.
func demo(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "MAQUIS_DEMO_TEST=1")
	return cmd
}

// text writes a file of words that no chunk boundary shall cut.
func text(t *testing.T, lines int) string {
	t.Helper()
	var b strings.Builder
	for i := range lines {
		fmt.Fprintf(&b, "the quick brown fox %d jumps over Ünïcödé and 日本語, line %d\n", i%97, i)
	}
	b.WriteString(strings.Repeat("longline ", 40000))
	f := filepath.Join(t.TempDir(), "text.txt")
	require.NoError(t, os.WriteFile(f, []byte(b.String()+"\xff\xfe broken \xc3 utf8"), 0o644))
	return f
}

func lastLine(t *testing.T, out []byte) (r result) {
	t.Helper()
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	require.NoError(t, json.Unmarshal(lines[len(lines)-1], &r), "%s", out)
	return r
}

// The sum of many processes is the count of one.
func TestRun(t *testing.T) {
	var errw bytes.Buffer
	cmd := demo("run", "--nodes", "3", "--input", text(t, 20000), "--json")
	cmd.Stderr = &errw
	out, err := cmd.Output()
	require.NoError(t, err, "%s", errw.String())
	r := lastLine(t, out)
	require.True(t, r.Match)
	require.Equal(t, 3, r.Nodes)
	require.Greater(t, r.Chunks, 5)
	require.Zero(t, r.Killed)
	require.NotZero(t, r.Words)
}

// Workers that are killed are noticed, and their chunks are done by others.
func TestRunKill(t *testing.T) {
	var errw bytes.Buffer
	cmd := demo("run", "--nodes", "4", "--kill", "2", "--input", text(t, 60000), "--json")
	cmd.Stderr = &errw
	out, err := cmd.Output()
	require.NoError(t, err, "%s", errw.String())
	r := lastLine(t, out)
	require.True(t, r.Match)
	require.Equal(t, 2, r.Killed)
	require.Equal(t, 2, r.Terminated)
}

// Arguments that cannot be used are named, with the remedy, and status 2.
func TestUsage(t *testing.T) {
	short := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(short, []byte("short"), 0o600))
	for _, k := range []struct {
		args []string
		says string
	}{
		{nil, "a command is missing"},
		{[]string{"dance"}, `"dance"`},
		{[]string{"run", "--nodes", "0"}, "--nodes 0"},
		{[]string{"run", "--nodes", "3", "--kill", "3"}, "--kill 3"},
		{[]string{"run", "--overlay", "ring"}, `"ring"`},
		{[]string{"run", "--input", "/no/such/file"}, "/no/such/file"},
		{[]string{"run", "--wrong"}, "wrong"},
		{[]string{"node", "--listen", "nonsense"}, `"nonsense"`},
		{[]string{"node", "--seed", "nonsense"}, `"nonsense"`},
		{[]string{"node", "--name", "a~b"}, `"a~b"`},
		{[]string{"node", "--secret-file", "/no/such/file"}, "/no/such/file"},
		{[]string{"node", "--secret-file", short, "--listen", "127.0.0.1:0"}, "openssl rand -hex 32"},
		{[]string{"node", "--watch", "x", "--listen", "127.0.0.1:0"}, `"x"`},
	} {
		cmd := demo(k.args...)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, "%v: %s", k.args, out)
		require.Equal(t, exitUsage, exit.ExitCode(), "%v: %s", k.args, out)
		require.Contains(t, string(out), k.says, "%v", k.args)
	}
}

// An interrupt ends every process.
func TestInterrupt(t *testing.T) {
	cmd := demo("run", "--nodes", "3", "--input", text(t, 400000))
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	s := bufio.NewScanner(out)
	require.True(t, s.Scan())
	require.Contains(t, s.Text(), "3 processes")
	children := childrenOf(cmd.Process.Pid)
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	for s.Scan() {
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, exitInterrupted, exit.ExitCode())
	for _, pid := range children {
		require.Eventually(t, func() bool { return syscall.Kill(pid, 0) != nil }, 10*time.Second, 10*time.Millisecond)
	}
}

// childrenOf lists the child processes of a process, where /proc tells.
func childrenOf(pid int) (list []int) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	for _, f := range strings.Fields(string(b)) {
		var n int
		if _, err := fmt.Sscan(f, &n); err == nil {
			list = append(list, n)
		}
	}
	return list
}

// Two nodes see each other come and go; a second one of a live node's name is
// refused.
func TestNodes(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte("a secret of the demo's test\n"), 0o600))
	a := startNode(t, "--name", "a", "--listen", "127.0.0.1:0", "--secret-file", secret)
	addr := strings.TrimPrefix(a.wait("listening a on "), "listening a on ")
	b := startNode(t, "--name", "b", "--listen", "127.0.0.1:0", "--secret-file", secret, "--seed", addr, "--watch", "a/greeter")
	b.wait("up a", "member a") // in the snapshot, or after it
	a.wait("up b")
	fmt.Fprintln(b.in, "send a it works")
	b.wait("answer a hello, it works")
	a.wait("message it works")

	again := demo("node", "--name", "a", "--listen", "127.0.0.1:0", "--secret-file", secret, "--seed", addr)
	out, err := again.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "another live node has this name")

	require.NoError(t, b.Process.Signal(syscall.SIGTERM))
	a.wait("left b")
	require.NoError(t, b.Wait())
	c := startNode(t, "--name", "b", "--listen", "127.0.0.1:0", "--secret-file", secret, "--seed", addr)
	a.wait("up b generation 2")
	require.NoError(t, c.Process.Kill())
	a.wait("down b")
}

var suspended = flag.Duration("suspended", 12*time.Second, "how long TestSuspend stops a process")

// A process that is suspended for a second is nobody's concern; for longer, it
// is declared down, and back with a new generation when it goes on.
func TestSuspend(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as the process is suspended")
	}
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte("a secret of the demo's test\n"), 0o600))
	a := startNode(t, "--name", "a", "--listen", "127.0.0.1:0", "--secret-file", secret)
	addr := strings.TrimPrefix(a.wait("listening a on "), "listening a on ")
	b := startNode(t, "--name", "b", "--listen", "127.0.0.1:0", "--secret-file", secret, "--seed", addr)
	a.wait("up b")

	require.NoError(t, b.Process.Signal(syscall.SIGSTOP))
	time.Sleep(time.Second)
	require.NoError(t, b.Process.Signal(syscall.SIGCONT))
	fmt.Fprintln(a.in, "send b still there?")
	require.Equal(t, "answer b hello, still there?", a.wait(""), "nothing else is told")

	require.NoError(t, b.Process.Signal(syscall.SIGSTOP))
	over := time.After(*suspended)
	a.wait("down b")
	<-over
	require.NoError(t, b.Process.Signal(syscall.SIGCONT))
	a.wait("up b generation 2")
	fmt.Fprintln(a.in, "send b again?")
	a.wait("answer b hello, again?")
}

type nodeProcess struct {
	*exec.Cmd
	t     *testing.T
	in    interface{ Write([]byte) (int, error) }
	lines chan string
}

func startNode(t *testing.T, args ...string) *nodeProcess {
	t.Helper()
	n := &nodeProcess{Cmd: demo(append([]string{"node"}, args...)...), t: t, lines: make(chan string, 1000)}
	in, err := n.StdinPipe()
	require.NoError(t, err)
	out, err := n.StdoutPipe()
	require.NoError(t, err)
	n.in = in
	require.NoError(t, n.Start())
	t.Cleanup(func() { _ = n.Process.Kill(); _ = n.Wait() })
	go func() {
		defer close(n.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			n.lines <- s.Text()
		}
	}()
	return n
}

// wait waits for a line with one of the beginnings and returns it.
func (n *nodeProcess) wait(prefixes ...string) string {
	n.t.Helper()
	late := time.After(30 * time.Second)
	var seen []string
	for {
		select {
		case l, ok := <-n.lines:
			if !ok {
				n.t.Fatalf("ended without %q: %v", prefixes, seen)
			}
			seen = append(seen, l)
			for _, p := range prefixes {
				if strings.HasPrefix(l, p) {
					return l
				}
			}
		case <-late:
			n.t.Fatalf("no line %q: %v", prefixes, seen)
		}
	}
}

// The two ways to count agree, also on text that is no text.
func TestCount(t *testing.T) {
	f := text(t, 100)
	want, words, err := countFiles([]string{f})
	require.NoError(t, err)
	got := make(map[string]uint64)
	var sum uint64
	_, err = chunks([]string{f}, func(b []byte) error {
		m, n := countChunk(b)
		sum += n
		for k, v := range m {
			got[k] += v
		}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, words, sum)
	require.Equal(t, want, got)
}
