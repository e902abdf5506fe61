package discovery

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func sh(script string) []string { return []string{"/bin/sh", "-c", script} }

func TestExecOnce(t *testing.T) {
	for _, c := range []struct {
		name, script string
		want         []string
		err          string
	}{
		{"addresses", "echo a; echo b:2 name=x", []string{"a:6278", "b:2"}, ""},
		{"environment", "echo $WHERE:3", []string{"here:3"}, ""},
		{"fails", "echo a; echo 'no such region' >&2; exit 3", nil, "exec /bin/sh: exit status 3: no such region"},
		{"garbage", "echo a; echo '!'", []string{"a:6278"}, "exec /bin/sh: line 2"},
		{"nothing", "true", nil, ""},
		{"hangs", "sleep 60 & echo a; wait", nil, "did not end within 200ms"},
		{"floods", "head -c 5000000 /dev/zero", nil, "more than 4194304 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x := Exec{Command: sh(c.script), Env: []string{"WHERE=here"}, Timeout: 10 * time.Second}
			if c.name == "hangs" {
				x.Timeout = 200 * time.Millisecond
			}
			s := x.once(t.Context())
			require.Equal(t, c.want, addrs(s))
			if c.err == "" {
				require.True(t, s.OK())
			} else {
				require.ErrorContains(t, s.Err, c.err)
			}
		})
	}
	require.ErrorContains(t, Exec{}.Validate(), "Command is empty")
	require.ErrorContains(t, Exec{Command: []string{"/no/such"}, Interval: 1, Timeout: -1}.Validate(), "no/such")
	require.NotContains(t, Exec{Command: sh("secret")}.String(), "secret")
}

func TestExecRunsAgain(t *testing.T) {
	dir := t.TempDir()
	x := Exec{Command: sh("echo x >>" + dir + "/runs; wc -l <" + dir + "/runs | sed 's/^ *//;s/^/n/'"), Interval: 100 * time.Millisecond}
	l := listen(t, t.Context(), x)
	l.untilAddrs("n3:6278")
}

// The interval doubles while a source fails and is short again when it
// answers; a calm consumer is told rarely, one in a hurry at once.
func TestPoller(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context) {
		pace := new(Pace)
		var asked atomic.Int64
		var down atomic.Bool
		ctx, cancel := context.WithCancel(WithPace(ctx, pace))
		go poller{interval: 5 * time.Second, calm: calmInterval}.run(ctx, func(Snapshot) {}, func(context.Context) (Snapshot, time.Duration) {
			asked.Add(1)
			if down.Load() {
				return failed(context.DeadlineExceeded), 0
			}
			return ok(), 0
		})
		during := func(d time.Duration) int {
			synctest.Wait()
			asked.Store(0)
			time.Sleep(d)
			synctest.Wait()
			return int(asked.Load())
		}
		require.InDelta(t, 120, during(10*time.Minute), 12)
		down.Store(true)
		require.InDelta(t, 13, during(10*time.Minute), 4)
		down.Store(false)
		during(2 * time.Minute)
		require.InDelta(t, 120, during(10*time.Minute), 12)
		pace.SetCalm(true)
		during(time.Minute)
		require.InDelta(t, 6, during(time.Hour), 2)
		pace.SetCalm(false)
		require.Equal(t, 1, during(time.Second), "at once")
		cancel()
		synctest.Wait()
	})
}
