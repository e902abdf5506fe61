package actors_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	maquis "github.com/maquis-go/maquis/actors"
)

// child is a node in a process of its own. It ends when its standard input
// does.
func child() {
	system := quietSystem()
	d, err := maquis.Start(context.Background(), system,
		maquis.WithProfile("test"), maquis.WithName(os.Getenv("MAQUIS_TEST_CHILD")), maquis.WithSecret(os.Getenv("MAQUIS_TEST_SECRET")),
		maquis.WithSeeds(os.Getenv("MAQUIS_TEST_SEED")))
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	_, _ = system.Root.SpawnNamed(echo(), "echo")
	fmt.Println("up", d.Self().Addrs[0])
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		if in.Text() == "leave" {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			_ = d.Stop(ctx)
			cancel()
			return
		}
	}
}

// process is a child that runs.
type process struct {
	*exec.Cmd
	out *bufio.Scanner
	in  interface{ Write([]byte) (int, error) }
}

func startProcess(t *testing.T, name, seed, secret string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "MAQUIS_TEST_CHILD="+name, "MAQUIS_TEST_SEED="+seed, "MAQUIS_TEST_SECRET="+secret)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	p := &process{Cmd: cmd, out: bufio.NewScanner(out), in: in}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	require.True(t, p.out.Scan(), "the child said nothing")
	require.True(t, strings.HasPrefix(p.out.Text(), "up "), p.out.Text())
	return p
}

// The main promise, on real processes: TLS from a secret, Send, Request and
// Watch across them; one is killed, and the other hears Terminated in time.
func TestProcessKilled(t *testing.T) {
	a := startNode(t, "a")
	p := startProcess(t, "b", a.addr(), secret)
	require.NoError(t, a.WaitForMembers(ctxFor(t, 20*time.Second), 2))
	pid := a.PID("b", "echo")
	res, err := a.system.Root.RequestFuture(pid, wrapperspb.String("hi"), 10*time.Second).Result()
	require.NoError(t, err)
	require.Equal(t, "echo hi", res.(*wrapperspb.StringValue).Value)

	var l logActor
	a.system.Root.Spawn(l.props(func(c actor.Context) { c.Watch(pid); c.Request(pid, wrapperspb.String("me")) }))
	require.Eventually(t, func() bool { return len(l.all()) == 1 }, 10*time.Second, time.Millisecond)
	open := a.system.Root.RequestFuture(a.PID("b", "echo"), wrapperspb.Int32(1), time.Minute) // never answered
	events := a.Events(ctxFor(t, time.Minute))
	require.IsType(t, &maquis.Snapshot{}, <-events)

	killed := time.Now()
	require.NoError(t, p.Process.Kill())
	require.Eventually(t, func() bool { return len(l.terminated()) == 1 }, 20*time.Second, time.Millisecond)
	t.Logf("Terminated %v after SIGKILL", time.Since(killed))
	require.Equal(t, actor.TerminatedReason_AddressTerminated, l.terminated()[0].Why)
	require.True(t, l.terminated()[0].Who.Equal(pid))
	_, err = open.Result()
	require.ErrorIs(t, err, actor.ErrDeadLetter)
	for e := range events {
		if down, ok := e.(*maquis.NodeDown); ok {
			require.Equal(t, "b", down.Member.Name)
			break
		}
	}
	require.Len(t, l.terminated(), 1)

	// The name may return at once, as another life. It learns from us that it
	// is the second, and may answer before that.
	startProcess(t, "b", a.addr(), secret)
	require.Eventually(t, func() bool {
		res, err := a.system.Root.RequestFuture(a.PID("b", "echo"), wrapperspb.String("again"), time.Second).Result()
		return err == nil && res.(*wrapperspb.StringValue).Value == "echo again"
	}, 20*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool { m, _ := a.Member("b"); return m.Generation == 2 }, 20*time.Second, 10*time.Millisecond)
}

// A process with another secret is not let in, and both carry on.
func TestProcessWrongSecret(t *testing.T) {
	a := startNode(t, "a")
	startProcess(t, "b", a.addr(), "quite another secret, long enough")
	require.Eventually(t, func() bool { return a.Stats()["handshake_wrong_secret"] >= 2 }, 20*time.Second, time.Millisecond)
	require.Equal(t, []string{"a"}, a.NodeList())
}
