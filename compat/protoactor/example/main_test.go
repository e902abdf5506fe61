package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	if os.Getenv("EXAMPLE_CHILD") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// process is a running example.
type process struct {
	*exec.Cmd
	t     *testing.T
	in    io.WriteCloser
	lines chan string
	addr  string
}

func start(t *testing.T, name, seed string) *process {
	t.Helper()
	p := &process{t: t, Cmd: exec.Command(os.Args[0], "-name", name, "-seed", seed), lines: make(chan string, 16)}
	p.Env = append(os.Environ(), "EXAMPLE_CHILD=1")
	p.Stderr = os.Stderr
	var err error
	p.in, err = p.StdinPipe()
	require.NoError(t, err)
	out, err := p.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.Start())
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = p.in.Close()
		_ = p.Process.Kill()
		_ = p.Wait()
	})
	p.addr = strings.TrimPrefix(p.line(), "up ")
	return p
}

func (p *process) line() string {
	p.t.Helper()
	select {
	case s, ok := <-p.lines:
		require.True(p.t, ok, "the process has ended")
		return s
	case <-time.After(30 * time.Second):
		require.FailNow(p.t, "the process says nothing")
		return ""
	}
}

func (p *process) ask(format string, args ...any) string {
	p.t.Helper()
	_, err := fmt.Fprintf(p.in, format+"\n", args...)
	require.NoError(p.t, err)
	return p.line()
}

// where is the node that a greeter says it is on.
func where(answer string) string {
	_, rest, _ := strings.Cut(answer, " on ")
	node, _, _ := strings.Cut(rest, ",")
	return node
}

// Grains over three processes: each identity has one, wherever it is called
// from; one process is killed, and its grains are found elsewhere. No process
// listens or connects but for Maquis.
func TestKilled(t *testing.T) {
	a := start(t, "a", "")
	b, c := start(t, "b", a.addr), start(t, "c", a.addr)
	all := []*process{a, b, c}
	for _, p := range all {
		require.Eventually(t, func() bool { return strings.HasPrefix(p.ask("members"), "3 ") }, 20*time.Second, 50*time.Millisecond)
	}
	const grains = 30
	hosts := map[string][]int{}
	for i := range grains {
		for n, p := range all {
			got := p.ask("say g%d", i)
			require.Contains(t, got, fmt.Sprintf("hello g%d (g%d on ", i, i))
			require.True(t, strings.HasSuffix(got, fmt.Sprintf(", %d)", n+1)), "one greeter for all: %s", got)
			if n == 0 {
				hosts[where(got)] = append(hosts[where(got)], i)
			}
		}
	}
	require.Len(t, hosts, 3, "grains are on all nodes: %v", hosts)
	for _, p := range all {
		sockets(t, p, all)
	}

	require.NoError(t, c.Process.Kill())
	began := time.Now()
	for _, i := range hosts["c"] {
		require.Eventually(t, func() bool {
			got := a.ask("say g%d", i)
			return !strings.HasPrefix(got, "failed") && where(got) != "c"
		}, 20*time.Second, 50*time.Millisecond)
	}
	t.Logf("%d grains of the killed process were reached elsewhere within %v", len(hosts["c"]), time.Since(began).Round(time.Millisecond))
	for _, i := range hosts["a"] {
		require.Contains(t, b.ask("say g%d", i), fmt.Sprintf("(g%d on a, ", i), "those on the others stay where they are")
	}
	sockets(t, a, []*process{a, b})
}

// sockets asserts that a process listens once, on Maquis's port, and has no
// connection but to and from such ports of others.
func sockets(t *testing.T, p *process, all []*process) {
	t.Helper()
	mine := map[string]bool{}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.Process.Pid))
	if err != nil {
		t.Log("sockets are not checked: ", err)
		return
	}
	for _, fd := range fds {
		to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", p.Process.Pid, fd.Name()))
		if inode, ok := strings.CutPrefix(to, "socket:["); ok {
			mine[strings.TrimSuffix(inode, "]")] = true
		}
	}
	ports := map[string]bool{}
	for _, q := range all {
		var port int
		_, err := fmt.Sscanf(q.addr[strings.LastIndexByte(q.addr, ':')+1:], "%d", &port)
		require.NoError(t, err)
		ports[fmt.Sprintf("%04X", port)] = true
	}
	listening, connected := 0, 0
	for _, table := range []string{"tcp", "tcp6"} {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", p.Process.Pid, table))
		for _, line := range strings.Split(string(b), "\n") {
			f := strings.Fields(line)
			if len(f) < 10 || !mine[f[9]] {
				continue
			}
			local, remote := f[1][strings.LastIndexByte(f[1], ':')+1:], f[2][strings.LastIndexByte(f[2], ':')+1:]
			switch f[3] {
			case "0A":
				listening++
				require.True(t, ports[local], "a port that is not Maquis's: %s", line)
			case "01":
				connected++
				require.True(t, ports[local] || ports[remote], "a connection that is not Maquis's: %s", line)
			}
		}
	}
	require.Equal(t, 1, listening)
	require.NotZero(t, connected)
}
