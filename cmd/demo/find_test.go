package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/peerservice/discovery"
)

// secretArgs are flags of a node that stands by itself: any port, a secret, no
// profile and so none of the seeds that profile dev has.
func secretArgs(t *testing.T) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(file, []byte("a secret of "+t.Name()+", long enough"), 0o600))
	return []string{"--listen", "127.0.0.1:0", "--secret-file", file}
}

func named(args []string, name string, more ...string) []string {
	return slices.Concat(args, []string{"--name", name}, more)
}

// pair starts nodes a and b one after the other and waits until they are one
// cluster. It tells how long b took, from its start as a process and from when it
// listened.
func pair(t *testing.T, argsA, argsB []string) (a, b *nodeProcess) {
	t.Helper()
	a = startNode(t, argsA...)
	a.wait("listening a on ")
	start := time.Now()
	b = startNode(t, argsB...)
	b.wait("listening b on ")
	listening := time.Now()
	b.wait("up a", "member a")
	took, since := time.Since(start), time.Since(listening)
	a.wait("up b")
	t.Logf("b has found a %v after it listened, %v after its process was started", since, took)
	return a, b
}

// needsMulticast skips where packets to a group do not come back on this host.
func needsMulticast(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	m := discovery.Multicast{Port: freeUDP(t), Interval: time.Second}
	heard := make(chan struct{})
	done := make(chan struct{}, 2)
	for i, name := range []string{"x", "y"} {
		go func() {
			defer func() { done <- struct{}{} }()
			self := discovery.Self{Cluster: "probe", Name: name, Addrs: []string{fmt.Sprint("127.0.0.1:", i+1)}}
			_ = m.Run(discovery.WithSelf(ctx, self), func(s discovery.Snapshot) {
				if name == "x" && len(s.Candidates) > 0 {
					select {
					case <-heard:
					default:
						close(heard)
					}
				}
			})
		}()
	}
	select {
	case <-heard:
	case <-done:
	}
	cancel()
	<-done
	select {
	case <-heard:
	default:
		t.Skip("multicast is not possible here: of two that announce themselves on this host one does not hear the other")
	}
}

func freeUDP(t *testing.T) int {
	t.Helper()
	c, err := net.ListenPacket("udp4", ":0")
	require.NoError(t, err)
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port
}

// Two processes with Multicast and nothing else form a cluster, from a file and by
// flags.
func TestNodesByMulticast(t *testing.T) {
	needsMulticast(t)
	t.Run("file", func(t *testing.T) {
		text := fmt.Sprintf("profile: test\ncluster: %s\nsecurity: {secrets: [\"file:secret\"]}\njoin: {discovery: [multicast: {port: %d}]}\n", strings.ReplaceAll(t.Name(), "/", "-"), freeUDP(t))
		file := clusterFile(t, text)
		a, _ := pair(t, []string{"--config", file, "--name", "a"}, []string{"--config", file, "--name", "b"})
		status, out, errs := call(t, "doctor", "--config", file, "--name", "c")
		require.Equal(t, 0, status, errs)
		require.Contains(t, out, "ok, node a")
		require.Contains(t, out, "ok, node b")
		fmt.Fprintln(a.in, "members")
		a.wait("member a")
		require.Equal(t, "member b alive", a.wait(""), "and nobody by the doctor")
	})
	t.Run("flags", func(t *testing.T) { // on the common port, apart from others by the secret
		args := append(secretArgs(t), "--discovery", "multicast")
		pair(t, named(args, "a"), named(args, "b"))
	})
}

// The same by Local, which on a quiet machine takes less than a second.
func TestNodesByLocal(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	t.Run("file", func(t *testing.T) {
		file := clusterFile(t, "profile: test\nsecurity: {secrets: [\"file:secret\"]}\njoin: {discovery: [local]}\n")
		pair(t, []string{"--config", file, "--name", "a"}, []string{"--config", file, "--name", "b"})
	})
	t.Run("flags", func(t *testing.T) {
		args := append(secretArgs(t), "--discovery", "local")
		a, b := pair(t, named(args, "a"), named(args, "b"))
		require.NoError(t, b.Process.Kill()) // its record has no lock any more
		a.wait("down b")
		startNode(t, named(args, "b")...).wait("up a", "member a")
	})
}

// A hosts file that is edited while a node runs adds another; what is then wrong with
// the file takes nobody away.
func TestNodesByHostsFile(t *testing.T) {
	hosts := filepath.Join(t.TempDir(), ".hosts.erlang")
	write := func(text string) { require.NoError(t, os.WriteFile(hosts, []byte(text), 0o600)) }
	write("'127.0.0.1:1'.\n")
	args := secretArgs(t)
	a := startNode(t, named(args, "a", "--discovery", "hosts:"+hosts)...)
	a.wait("listening a on ")
	b := startNode(t, named(args, "b")...)
	at := strings.TrimPrefix(b.wait("listening b on "), "listening b on ")
	write("'127.0.0.1:1'.\n'" + at + "'.\n")
	start := time.Now()
	a.wait("up b")
	t.Logf("added %v after the file was written", time.Since(start))
	b.wait("up a", "member a")
	write("'not closed\n")
	fmt.Fprintln(a.in, "send b hello")
	a.wait("answer b hello, hello")
	c := startNode(t, named(args, "c")...)
	write("'" + strings.TrimPrefix(c.wait("listening c on "), "listening c on ") + "'.\n")
	a.wait("up c")
	b.wait("up c")
	fmt.Fprintln(a.in, "send b again")
	require.Equal(t, "answer b hello, again", a.wait("answer", "down", "left"), "who is named no more stays")
}
