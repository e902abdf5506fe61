package discovery

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The helper process of TestMulticastNamespaces: it prints whom it finds.
func TestMulticastHelper(t *testing.T) {
	spec := os.Getenv("DISCOVERY_MULTICAST")
	if spec == "" {
		t.Skip("run by TestMulticastNamespaces")
	}
	mode, addr, _ := strings.Cut(spec, " ")
	m := Multicast{Mode: mode, Interval: time.Second}
	ctx := WithSelf(t.Context(), Self{Cluster: "c", Name: addr, Addrs: []string{addr, "127.0.0.1:1"}, Secrets: []string{"a secret"}})
	require.NoError(t, m.Run(ctx, func(s Snapshot) { fmt.Println("found", addrs(s), s.Err) }))
}

// Two hosts on one network, as namespaces: each finds the other, by its
// address there and not by its loopback one. It needs root.
func TestMulticastNamespaces(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, tool := range []string{"ip"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed")
		}
	}
	ns := [2]string{fmt.Sprintf("mqd%da", os.Getpid()), fmt.Sprintf("mqd%db", os.Getpid())}
	t.Cleanup(func() {
		for _, n := range ns {
			exec.Command("ip", "netns", "del", n).Run()
		}
	})
	for _, line := range []string{
		"netns add A", "netns add B", "link add mqda netns A type veth peer name mqdb netns B",
		"-n A addr add 10.77.0.1/24 dev mqda", "-n B addr add 10.77.0.2/24 dev mqdb",
		"-n A link set mqda up", "-n B link set mqdb up",
	} {
		args := strings.Fields(strings.NewReplacer("A", ns[0], "B", ns[1]).Replace(line))
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Skipf("ip %s: %v: %s", line, err, out)
		}
	}
	for _, mode := range []string{"multicast", "broadcast"} {
		t.Run(mode, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			found := make(chan bool, 2)
			for i, n := range ns {
				cmd := exec.CommandContext(ctx, "ip", "netns", "exec", n, os.Args[0], "-test.run=^TestMulticastHelper$")
				cmd.Env = append(os.Environ(), fmt.Sprintf("DISCOVERY_MULTICAST=%s 10.77.0.%d:7", mode, i+1))
				out, err := cmd.StdoutPipe()
				require.NoError(t, err)
				require.NoError(t, cmd.Start())
				want := fmt.Sprintf("found [10.77.0.%d:7] <nil>", 2-i)
				go func() {
					ok := false
					for sc := bufio.NewScanner(out); !ok && sc.Scan(); {
						ok = sc.Text() == want
					}
					found <- ok
				}()
				defer func() { cmd.Process.Kill(); cmd.Wait() }()
			}
			require.True(t, <-found)
			require.True(t, <-found)
		})
	}
}
